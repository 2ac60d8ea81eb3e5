"""The jobs behind `train` and `evaluate`: put the parts of a config together, fit, and see what has come of it."""

from __future__ import annotations

import functools
import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig, OmegaConf

from bind.build import ANY_CLASS, build
from bind.cache.build import CacheOptions
from bind.data.coverage import Side
from bind.data.datamodule import BindDataModule
from bind.data.mixture import pair_exposures, source_exposures
from bind.evaluation.embed import best_device
from bind.files import write_text
from bind.model.binder import Binder
from bind.report.mixture import mixture_cells
from bind.report.tables import print_cells
from bind.runs.directory import open_run, prepare_run_dir
from bind.runs.evaluation import evaluate_run
from bind.runs.parts import active_pairs, binder_config, fill_cache, make_datamodule, refuse_unusable_data, sides_of
from bind.training.checkpoints import find_checkpoint, init_weights, last_checkpoint
from bind.training.module import BindingModule
from bind.training.resume import changes, evaluation_failure_hint, print_resume_hint_on_stop
from bind.training.sharding import unshard
from bind.training.trainer import fit, keep_best, make_trainer, one_job_of_a_sweep

log = logging.getLogger("bind")


def train(cfg: DictConfig) -> float:
    """Train, evaluate the best checkpoint on the held-out split, and fill the run directory.

    Returns:
        The best value of `cfg.monitor`, what a sweep maximises.

    Raises:
        ValueError: for what is wrong with the config, the data or a checkpoint, with the fix.
        TrainingStopped: by a signal; it ends the process with exit status 0.
    """
    started = time.perf_counter()
    run_dir, config = prepare_run_dir(cfg)
    with print_resume_hint_on_stop(run_dir):
        return train_in(run_dir, config, started)


def train_in(run_dir: Path, config: dict[str, Any], started: float) -> float:
    if not isinstance(config["seed"], int) or not 0 <= config["seed"] < 2**32:
        raise ValueError(f"seed={config['seed']}: give a whole number from 0 to 2**32 - 1")
    L.seed_everything(config["seed"], verbose=False)
    torch.set_float32_matmul_precision("high")
    checkpoint = find_checkpoint(config["ckpt"], run_dir)
    cache_options = CacheOptions.of(config["cache"])

    binder = Binder.from_config(binder_config(config), trust=ANY_CLASS)
    pairs = active_pairs(config, binder)
    datamodule = make_datamodule(config, binder, pairs, trust=ANY_CLASS)
    data = config["data"]
    options = {
        "loss": functools.partial(build, config["loss"], trust=ANY_CLASS),
        "chunk_size": data["chunk_size"],
        "one_per_group": data["one_per_group"],
    }
    try:
        module = BindingModule(binder, pairs, seed=config["seed"], **options, **config["optimizer"])
    except TypeError as error:
        raise ValueError(f"optimizer: {error}; configs/train.yaml shows what can be set") from error
    splits = ("train",) if config["trainer"]["limit_val_batches"] == 0 else ("train", "val")
    refuse_unusable_data(datamodule, sides_of(pairs, binder), splits)
    for source in datamodule.sources:
        source.samples(config["evaluation"]["split"])
    if start := checkpoint or config["init_from"]:  # of a checkpoint, the rest is the trainer's to restore
        init_weights(module, Path(start))
    trainer = make_trainer(config, run_dir)
    if trainer.is_global_zero:
        if checkpoint and (run_dir / "config.yaml").is_file():
            for change in changes(open_run(str(run_dir))[1], config):
                log.warning("going on with another setting than before: %s", change)
        # Only now that all is well: what an earlier run left in the folder stays true until this one starts.
        write_text(run_dir / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)))
        if checkpoint is None:
            (run_dir / "logs" / "metrics.csv").unlink(missing_ok=True)
            if (earlier := last_checkpoint(run_dir)).is_file():  # ckpt=last would go on with another run
                earlier.replace(earlier.with_suffix(".ckpt.earlier"))
        print_mixture_table(trainer, datamodule, sides_of(pairs, binder))
    seconds = {"setup": time.perf_counter() - started}

    binder.to(trainer.strategy.root_device)
    datamodule.cache, seconds["anchor_cache"] = timed(
        lambda: fill_cache(datamodule, binder, splits, cache_options, trainer.is_global_zero)
    )
    if config["compile"]:
        for encoder in binder.encoders.values():
            encoder.compile()  # in place: names of weights stay what they are
    with one_job_of_a_sweep(run_dir):
        _, seconds["fit"] = timed(lambda: fit(trainer, module, datamodule, checkpoint))
        # Lightning leaves the weights on the CPU.
        module.binder = binder = unshard(binder).to(trainer.strategy.root_device)
    score = keep_best(trainer, module, config["monitor"])
    if trainer.is_global_zero:
        binder.save(run_dir / "binder")
        if binder.anchor.trainable:
            binder.anchor.save(run_dir / "anchor")
        split = config["evaluation"]["split"]
        with evaluation_failure_hint(run_dir, split):
            evaluate_run(config, binder, datamodule, pairs, run_dir, split, seconds, started, ())
    return score


def print_mixture_table(trainer: L.Trainer, datamodule: BindDataModule, pairs: Mapping[str, tuple[Side, Side]]) -> None:
    """Print how often each source and pair will be seen in this training; in one epoch where it has no end."""
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
        print_cells(mixture_cells(sources, pair_exposures(datamodule.sources, sources, pairs), plan.global_batch))


def evaluate(cfg: DictConfig) -> None:
    """Evaluate a run directory again, on other label sets if any are given: `bindspace evaluate run=PATH`.

    Raises:
        ValueError: where the run directory is incomplete, or the data has changed so that it can't be read.
    """
    run_dir, config = open_run(cfg.run)
    if cfg.data.zero_shot:
        config["data"]["zero_shot"] = OmegaConf.to_container(cfg.data.zero_shot, resolve=True)
    trust = list(cfg.trust)
    binder = Binder.load(run_dir, trust=trust)
    pairs = active_pairs(config, binder)
    datamodule = make_datamodule(config, binder, pairs, trust=trust)
    main_file = run_dir / "metrics.json"
    seconds: dict[str, float] = {}
    if cfg.split == config["evaluation"]["split"] and main_file.is_file():  # this takes the place of its evaluation
        of_training = json.loads(main_file.read_text())["seconds"]
        seconds = {name: took for name, took in of_training.items() if name not in ("evaluate", "total")}
    started = time.perf_counter() - sum(seconds.values())
    evaluate_run(config, binder.to(best_device()), datamodule, pairs, run_dir, cfg.split, seconds, started, trust)


def timed(job: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    result = job()
    return result, time.perf_counter() - started
