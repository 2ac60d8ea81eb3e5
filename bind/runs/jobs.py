"""Jobs behind `train` and `evaluate`: build the parts of a config, prepare, fit, and evaluate what was trained."""

from __future__ import annotations

import functools
import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig, OmegaConf

from bind.build import ANY_CLASS, build
from bind.cache.build import CacheOptions
from bind.data.mixture import pair_exposures, source_exposures
from bind.data.sources.rows import require_table
from bind.data.sources.splits import require_split
from bind.evaluation.figures import read_metrics
from bind.files.writing import write_text
from bind.model.device import best_device
from bind.report.mixture import mixture_cells
from bind.report.terminal_table import print_cells
from bind.runs.auto_sizes import auto_keys, describe_sizes, fixed, make_auto_batch
from bind.runs.captions import warn_of_cut_captions
from bind.runs.directory import owned_run_dir, prepare_run_dir
from bind.runs.evaluation import evaluate_run
from bind.runs.gallery_captions import load_bridge
from bind.runs.hardware import describe_hardware
from bind.runs.other_table import load_with_table, table_name
from bind.runs.ownership import marked
from bind.runs.parts import Parts
from bind.runs.results import owned_results, suffix_of
from bind.runs.run_config import open_run, run_or_binder
from bind.runs.saved_binder import evaluate_binder
from bind.runs.shared_values import warn_of_shared_values
from bind.runs.start import parts_to_start_from, warn_of_other_settings
from bind.runs.stopwatch import Stopwatch
from bind.training.callbacks.forecast import ForecastCosts
from bind.training.checkpoints import find_checkpoint, init_weights, last_checkpoint
from bind.training.lightning_private import silence_remarks
from bind.training.module import BindingModule
from bind.training.resume import changes, evaluation_failure_hint, print_resume_hint_on_stop, refuse_changed_data
from bind.training.sharding import unshard
from bind.training.trainer import fit, isolated_job, keep_best, make_trainer

log = logging.getLogger("bind")


def train(cfg: DictConfig, *, callbacks: Sequence[L.Callback] = (), script: Sequence[str] | None = None) -> float:
    """Train, evaluate the best checkpoint on the held-out split, and fill the run directory.

    Args:
        callbacks: of Lightning, besides those of the config.
        script: the command line that further processes of this training are started with; None: this process's own.

    Returns:
        The best value of `cfg.monitor`, what a sweep maximises.

    Raises:
        ValueError: for what is wrong with the config, the data or a checkpoint, with the fix.
        TrainingStopped: by a signal; it ends the process with exit status 0.
    """
    watch = Stopwatch()
    silence_remarks()
    with owned_run_dir(cfg):
        run_dir, config = prepare_run_dir(cfg)
        with print_resume_hint_on_stop(run_dir):
            with watch.part("setup"):
                training = prepare(config, run_dir, callbacks)
            with watch.part("anchor_cache"):
                training.fill_cache()
            with isolated_job(run_dir, script):
                with watch.part("fit"):
                    parts = training.parts
                    fit(training.trainer, training.module, parts.datamodule, training.checkpoint, parts.config)
                training.take_whole_weights()
            return finish(training, watch)


@dataclass(frozen=True)
class Training:
    """A training that is ready to begin.

    Attributes:
        parts: what its config was built into.
        run_dir: what it fills.
        trainer: of Lightning.
        module: the Lightning module around the Binder.
        splits: what it trains and validates on.
        checkpoint: where it goes on; None: it starts afresh.
    """

    parts: Parts
    run_dir: Path
    trainer: L.Trainer
    module: BindingModule
    splits: Sequence[str]
    checkpoint: Path | None

    @property
    def device(self) -> torch.device:
        return self.trainer.strategy.root_device

    def fill_cache(self) -> None:
        """Have the frozen towers' vectors of all that is trained and validated on; compile the encoders if asked."""
        config, binder = self.parts.config, self.parts.binder.to(self.device)
        options = CacheOptions.from_config(config["cache"])
        show = self.trainer.is_global_zero
        self.parts.datamodule.cache = self.parts.fill_cache(self.splits, options, show=show)
        if config["compile"]:
            for encoder in binder.encoders.values():
                encoder.compile()  # in place: names of weights stay what they are

    def settle_sizes(self, batch_size: int, chunk_size: int | None) -> None:
        """Have the config of the run hold the sizes that were found for `auto`, as if they had been given."""
        config = self.parts.config
        names = auto_keys(config["data"])
        config["data"].update(batch_size=batch_size, chunk_size=chunk_size)
        if self.trainer.is_global_zero:
            print(describe_sizes(names, batch_size, chunk_size))
            write_config(self.run_dir, config)
            for logger in self.trainer.loggers:
                logger.log_hyperparams(dict(config))
            print_mixture_table(self.trainer, self.parts)

    def take_whole_weights(self) -> None:
        """Bring together what a strategy has sharded; Lightning leaves the weights on the CPU."""
        self.module.binder = unshard(self.module.binder).to(self.device)


def prepare(config: dict[str, Any], run_dir: Path, callbacks: Sequence[L.Callback] = ()) -> Training:
    """Build and check everything that a training needs; only when all is well, write to the run directory.

    Raises:
        ValueError: for what is wrong with the config, the data or a checkpoint, with the fix.
    """
    if not isinstance(config["seed"], int) or not 0 <= config["seed"] < 2**32:
        raise ValueError(f"seed={config['seed']}: give a whole number from 0 to 2**32 - 1")
    L.seed_everything(config["seed"], verbose=False)
    torch.set_float32_matmul_precision("high")
    checkpoint = find_checkpoint(config["ckpt"], run_dir)
    CacheOptions.from_config(config["cache"])
    auto_batch = make_auto_batch(config, checkpoint)
    init_parts = parts_to_start_from(config)
    parts = Parts.build(config, trust=ANY_CLASS)
    module = make_module(parts)
    refuse_unseen_monitor(parts)
    splits = ("train",) if config["trainer"]["limit_val_batches"] == 0 else ("train", "val")
    parts.require_data(splits)
    split = config["evaluation"]["split"]
    require_split(parts.datamodule.sources, split, "Set evaluation.split to what is to be evaluated in the end")
    if checkpoint:
        refuse_changed_data(checkpoint, parts.datamodule, allow=config["allow_changed_data"])
    if start := checkpoint or config["init_from"]:  # of a checkpoint, the rest is the trainer's to restore
        init_weights(module, Path(start), exact=checkpoint is not None, parts=None if checkpoint else init_parts)
        if not checkpoint:
            warn_of_other_settings(config, Path(start), init_parts)
    callbacks = [*callbacks, *([auto_batch] if auto_batch else [])]
    training = Training(parts, run_dir, make_trainer(config, run_dir, callbacks), module, splits, checkpoint)
    if auto_batch:
        auto_batch.on_fit = training.settle_sizes
    if training.trainer.is_global_zero:
        begin_run_dir(training)
        if not auto_keys(config["data"]):
            print_mixture_table(training.trainer, parts)
        warn_of_cut_captions(parts.datamodule, dict.fromkeys((*splits, split)))
        warn_of_shared_values(parts.datamodule)
    return training


def make_module(parts: Parts) -> BindingModule:
    """The Lightning module around the parts' Binder; ValueError for options of the optimizer that it does not take."""
    config = parts.config
    try:
        return BindingModule(
            parts.binder,
            parts.pairs,
            masked=parts.masked,
            seed=config["seed"],
            loss=functools.partial(build, config["loss"], trust=ANY_CLASS),
            chunk_size=fixed(config["data"], "chunk_size"),
            one_per_group=config["data"]["one_per_group"],
            equal_values=functools.partial(parts.datamodule.equal_values, "val"),
            **config["optimizer"],
        )
    except TypeError as error:
        raise ValueError(f"optimizer: {error}; configs/train.yaml shows what can be set") from error


def refuse_unseen_monitor(parts: Parts) -> None:
    """Raise ValueError where retrieval would choose the best checkpoint of a training that has no pairs."""
    validates = parts.config["trainer"]["limit_val_batches"] != 0
    if validates and not parts.pairs and "R@" in str(parts.config["monitor"]):
        raise ValueError(
            f"monitor={parts.config['monitor']}: there is no pair, so nothing is searched for; set "
            f"monitor=val/{parts.masked[0].name}/explained, or give a pair a weight"
        )


def begin_run_dir(training: Training) -> None:
    """Write the config, and put aside what an earlier run left, which stayed true until this one starts."""
    run_dir, config = training.run_dir, training.parts.config
    if training.checkpoint and (run_dir / "config.yaml").is_file():
        for change in changes(open_run(str(run_dir))[1], config):
            log.warning("going on with another setting than before: %s", change)
    write_config(run_dir, config)
    if training.checkpoint is None:
        (run_dir / "logs" / "metrics.csv").unlink(missing_ok=True)
        if (earlier := last_checkpoint(run_dir)).is_file():  # ckpt=last would go on with another run
            earlier.replace(earlier.with_suffix(".ckpt.earlier"))
        for name in ("metrics.json", "report.html"):  # or a run that is killed would seem to have finished
            (run_dir / name).unlink(missing_ok=True)
        shutil.rmtree(run_dir / "binder", ignore_errors=True)


def write_config(run_dir: Path, config: Mapping[str, Any]) -> None:
    write_text(run_dir / "config.yaml", marked(OmegaConf.to_yaml(OmegaConf.create(dict(config)))))


def finish(training: Training, watch: Stopwatch) -> float:
    """Save the best Binder, evaluate it on the held-out split, and give its score by the monitored metric."""
    parts, run_dir, module = training.parts, training.run_dir, training.module
    score = keep_best(training.trainer, module, parts.config["monitor"])
    if training.trainer.is_global_zero:
        module.binder.save(run_dir / "binder")
        module.binder.merge_adapters()  # what is evaluated is what was saved
        if module.binder.anchor.trainable:
            module.binder.anchor.save(run_dir / "anchor")
        print_costs(training.trainer)
        split = parts.config["evaluation"]["split"]
        trained = replace(parts, binder=module.binder)
        with evaluation_failure_hint(run_dir, split):
            hardware = describe_hardware(training.device, training.trainer.world_size)
            evaluate_run(trained, run_dir, split, watch, hardware=hardware)
    return score


def print_costs(trainer: L.Trainer) -> None:
    """Print what the training took beside what was expected of it, where there was a forecast."""
    callbacks: Sequence[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks:
        if isinstance(callback, ForecastCosts):
            callback.compare()


def print_mixture_table(trainer: L.Trainer, parts: Parts) -> None:
    """Print how often each source and pair will be seen in this training; in one epoch where it has no end."""
    datamodule = parts.datamodule
    plan = datamodule.train_plan(world_size=trainer.world_size)
    limit = trainer.limit_train_batches
    per_epoch = min(limit, len(plan)) if isinstance(limit, int) else int(limit * len(plan))
    is_endless = (trainer.max_epochs or 0) < 1
    num_batches = per_epoch if is_endless else per_epoch * (trainer.max_epochs or 1)
    if trainer.max_steps > 0:
        limit_by_steps = trainer.max_steps * trainer.accumulate_grad_batches
        num_batches = limit_by_steps if is_endless else min(num_batches, limit_by_steps)
        steps = math.ceil(per_epoch / trainer.accumulate_grad_batches) * (trainer.max_epochs or 0)
        if 0 < steps < trainer.max_steps:
            print(
                f"stops at trainer.max_epochs={trainer.max_epochs}, step {steps}, before "
                f"trainer.max_steps={trainer.max_steps}; raise trainer.max_epochs for more"
            )
    if num_batches:
        sources = source_exposures(plan, datamodule.source_names, num_batches, per_epoch)
        print_cells(mixture_cells(sources, pair_exposures(datamodule.sources, sources, parts.sides), plan.global_batch))


def evaluate(cfg: DictConfig) -> None:
    """Evaluate a run directory again, on other label sets or another table if given: `bindspace evaluate run=PATH`.

    Or a saved binder on a table, without a run: `bindspace evaluate binder=PATH manifest=FILE`.

    Raises:
        ValueError: where the run directory is incomplete, or the data has changed so that it can't be read.
    """
    bridge = None if cfg.bridge is None else Path(cfg.bridge)
    if run_or_binder(cfg) == "binder":
        if cfg.manifest is None:
            raise ValueError("binder= has no data of its own: add manifest=FILE, the table that it is evaluated on")
        label_sets = OmegaConf.to_container(cfg.data.zero_shot, resolve=True)
        evaluate_binder(
            cfg.binder,
            Path(cfg.manifest),
            cfg.split,
            out=None if cfg.out is None else Path(cfg.out),
            label_sets=label_sets,  # type: ignore[arg-type]
            trust=list(cfg.trust),
            bridge=bridge,
        )
        return
    if cfg.out is not None:
        raise ValueError("out= is for binder=; the figures of a run are written into its folder")
    run_dir, config = open_run(cfg.run)
    if cfg.data.zero_shot:
        config["data"]["zero_shot"] = OmegaConf.to_container(cfg.data.zero_shot, resolve=True)
    manifest = None if cfg.manifest is None else Path(cfg.manifest)
    if manifest is not None:
        require_table(manifest.expanduser())
    evaluate_again(run_dir, config, cfg.split, trust=list(cfg.trust), manifest=manifest, bridge=bridge)


def evaluate_again(
    run_dir: Path,
    config: Mapping[str, Any],
    split_name: str,
    *,
    trust: Sequence[str],
    manifest: Path | None = None,
    bridge: Path | None = None,
) -> dict[str, Any]:
    """Evaluate the Binder of a finished run, on the table `manifest` if given; what `metrics.json` holds then.

    What a `bridge` says of the gallery's queries stands in the page.

    Raises:
        ValueError: also where another process trains in the run's folder, or evaluates the same split of it.
    """
    suffix = suffix_of(split_name, config, "" if manifest is None else table_name(manifest))
    with owned_results(run_dir, "metrics", suffix):
        device = best_device()
        if manifest is None:
            parts = Parts.load(run_dir, config, trust=trust, device=device)
        else:
            parts = load_with_table(run_dir, config, manifest, split_name, trust=trust, device=device)
        warn_of_cut_captions(parts.datamodule, [split_name])
        main_file = run_dir / "metrics.json"
        earlier: dict[str, float] = {}
        hardware: Mapping[str, Any] | None = None
        if not suffix and main_file.is_file():  # this takes the place of its evaluation
            metrics = read_metrics(main_file)
            seconds, hardware = metrics.get("seconds", {}), metrics.get("hardware")
            earlier = {name: took for name, took in seconds.items() if name not in ("evaluate", "total")}
        loaded = load_bridge(bridge, parts.binder)
        watch = Stopwatch(earlier)
        return evaluate_run(parts, run_dir, split_name, watch, trust=trust, hardware=hardware, bridge=loaded)
