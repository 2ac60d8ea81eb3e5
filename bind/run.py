"""The jobs behind the commands: put the parts of a config together, train, evaluate, embed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.progress import track

from bind.anchors.cache import InMemoryCache
from bind.build import ANY_CLASS, build
from bind.data.datamodule import BindDataModule
from bind.model import Binder
from bind.module import BindingModule
from bind.types import Modality, Pair, Source

log = logging.getLogger("bind")

CONFIG_VERSION = 1


def train(cfg: DictConfig) -> float:
    """Train, evaluate the best checkpoint on the held-out split, and fill the run directory.

    Returns:
        The best value of `cfg.monitor`, what a sweep maximises.

    Raises:
        ValueError: for what is wrong with the config, the data or a checkpoint, with the fix.
    """
    started = time.perf_counter()
    run_dir, config = prepare_run_dir(cfg)
    L.seed_everything(config["seed"], verbose=False)
    torch.set_float32_matmul_precision("high")
    checkpoint = find_checkpoint(config["ckpt"], run_dir)

    binder = Binder.from_config(binder_config(config), trust=ANY_CLASS)
    pairs = active_pairs(config, binder)
    datamodule = make_datamodule(config, binder, pairs, trust=ANY_CLASS)
    module = BindingModule(
        binder,
        pairs,
        same_group=config["loss"]["same_group"],
        one_per_group=config["data"]["one_per_group"],
        seed=config["seed"],
        **config["optimizer"],
    )
    if config["init_from"]:
        init_weights(module, Path(config["init_from"]))
    trainer = make_trainer(config, run_dir)
    seconds = {"setup": time.perf_counter() - started}

    binder.to(trainer.strategy.root_device)
    datamodule.cache, seconds["anchor_cache"] = timed(lambda: fill_cache(datamodule, binder, ("train", "val")))
    _, seconds["fit"] = timed(lambda: trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True))
    return float("nan")


def timed(job: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    result = job()
    return result, time.perf_counter() - started


def prepare_run_dir(cfg: DictConfig) -> tuple[Path, dict[str, Any]]:
    """The run directory with the resolved config in it, and that config as plain dicts."""
    from hydra.core.hydra_config import HydraConfig

    if HydraConfig.initialized():
        with open_dict(cfg):
            cfg.run_dir = HydraConfig.get().runtime.output_dir
    run_dir = Path(cfg.run_dir).resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    with open_dict(cfg):
        cfg.run_dir = str(run_dir)
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    config = {"version": CONFIG_VERSION, **{k: v for k, v in config.items() if k not in ("experiment", "debug")}}
    (run_dir / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    return run_dir, config


def binder_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's config that a Binder is built from, with only the modalities that were chosen."""
    chosen = config["modalities"]
    return {
        "anchor": config["anchor"],
        "modalities": chosen,
        "encoder": {m: c for m, c in config["encoder"].items() if m in chosen},
        "transform": {m: c for m, c in config["transform"].items() if m in chosen},
        "head": config["head"],
        "fusion": config["fusion"],
    }


def active_pairs(config: Mapping[str, Any], binder: Binder) -> list[Pair]:
    """The pairs with a weight whose two sides are chosen; a fusion that learns is paired with its targets."""
    pairs, known = [], (*binder.modalities, *([binder.fused_modality] if binder.fused_modality else []))
    for name, options in config["pairs"].items():
        a, dash, b = name.partition("-")
        if not (a and dash and b):
            raise ValueError(f"pairs.{name}: name a pair A-B, for example audio-image")
        if options["weight"] > 0 and a in known and b in known:
            pairs.append(Pair(a, b, **options))
        elif options["weight"] > 0:
            log.info("pairs.%s is left out: %s not among the chosen modalities %s", name, [m for m in (a, b) if m not in known], known)
    return pairs


def make_sources(config: Mapping[str, Any], trust: Sequence[str]) -> dict[str, Source]:
    return {name: build(options, trust=trust) for name, options in config["data"]["sources"].items() if options}


def make_datamodule(
    config: Mapping[str, Any], binder: Binder, pairs: Sequence[Pair], *, trust: Sequence[str]
) -> BindDataModule:
    data = config["data"]
    needed: list[Modality] = []
    for pair in pairs:
        for modality in (pair.a, pair.b):
            parts = binder.fusion.inputs if modality == binder.fused_modality else (modality,)
            needed += [m for m in parts if m not in needed]
    return BindDataModule(
        make_sources(config, trust),
        binder.transforms,
        needed,
        config["evaluation"]["modalities"] or binder.modalities,
        batch_size=data["batch_size"],
        evaluation_batch_size=data["evaluation_batch_size"],
        num_workers=data["num_workers"],
        alpha=data["alpha"],
        steps_per_epoch=data["steps_per_epoch"],
        seed=config["seed"],
    )


def fill_cache(datamodule: BindDataModule, binder: Binder, splits: Sequence[str]) -> InMemoryCache:
    """Embed what the frozen towers would see again and again, once."""
    cache = InMemoryCache()
    for split in splits:
        wanted = datamodule.train_modalities if split == "train" else datamodule.evaluation_modalities
        fresh = {m for source in datamodule.sources for m in getattr(source, "fresh", ())} if split == "train" else set()
        frozen = [m for m in wanted if m in binder.anchor.modalities and not binder.is_trainable(m) and m not in fresh]
        if frozen:
            batches = datamodule.batches(split, frozen)
            title = f"anchor: {' and '.join(frozen)} of {split}"
            cache.fill(binder.anchor, track(batches, title, datamodule.num_batches(split), transient=True), frozen)
    return cache


def make_trainer(config: Mapping[str, Any], run_dir: Path) -> L.Trainer:
    options = dict(config["trainer"])
    if options["precision"] == "auto":
        has_gpu = options["accelerator"] in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        options["precision"] = "bf16-mixed" if has_gpu and torch.cuda.is_bf16_supported() else "32-true"
    # Batches come whole from our own plan, which knows ranks: Lightning must not wrap its sampler.
    return L.Trainer(
        **options,
        use_distributed_sampler=False,
        default_root_dir=run_dir,
        callbacks=[build(c, trust=ANY_CLASS) for c in config["callbacks"].values() if c],
        logger=[build(c, trust=ANY_CLASS) for c in config["logger"].values() if c],
    )


def find_checkpoint(ckpt: str | None, run_dir: Path) -> Path | None:
    """The checkpoint to resume from, None for a fresh start.

    Raises:
        ValueError: where it does not exist.
    """
    if ckpt is None:
        return None
    path = run_dir / "checkpoints" / "last.ckpt" if ckpt == "last" else Path(ckpt)
    if not path.is_file():
        hint = f"; set run_dir=FOLDER to the folder of the run to go on with (now {run_dir})" if ckpt == "last" else ""
        raise ValueError(f"ckpt={ckpt}: {path} does not exist{hint}, or drop ckpt= to start afresh")
    return path


def init_weights(module: BindingModule, path: Path) -> None:
    """Warm start: weights only, from a run directory, a saved binder or a checkpoint."""
    if path.suffix == ".ckpt" and path.is_file():
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        own = {name.removeprefix("binder."): x for name, x in state.items() if name.startswith("binder.")}
    else:
        own = Binder.load(path).own_state_dict()
    module.binder.load_own_state_dict(own)
