"""The jobs behind the commands: put the parts of a config together, train, evaluate, embed."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.progress import track

from bind.anchors.cache_build import CacheOptions
from bind.build import ANY_CLASS, build
from bind.data.coverage import Side
from bind.data.datamodule import BindDataModule
from bind.data.mixture import seen_pairs, seen_sources
from bind.data.shards.patterns import absolute
from bind.embedded import EmbeddedSplit
from bind.evaluation import QueryResults, evaluate_split, parts_of
from bind.fit import fit, keep_best, make_trainer, one_job_of_a_sweep
from bind.leakage import audit_run, without_leaked
from bind.model import Binder
from bind.module import BindingModule
from bind.parts import (
    active_pairs,
    binder_config,
    fill_cache,
    find_checkpoint,
    init_weights,
    last_checkpoint,
    make_datamodule,
    refuse_unusable_data,
    sides_of,
)
from bind.report.exhibit import exhibit
from bind.report.html import write_report
from bind.report.mixture import mixture_cells
from bind.report.nearest import galleries
from bind.report.queries import read_queries, write_queries
from bind.report.showcase import draw_run
from bind.report.tables import leakage_cells, leakage_note, print_cells, print_tables
from bind.report.values import SplitValues
from bind.resume import changes, stops_are_told
from bind.sharding import whole
from bind.types import Embeddings, Pair

log = logging.getLogger("bind")

CONFIG_VERSION = 2


def train(cfg: DictConfig) -> float:
    """Train, evaluate the best checkpoint on the held-out split, and fill the run directory.

    Returns:
        The best value of `cfg.monitor`, what a sweep maximises.

    Raises:
        ValueError: for what is wrong with the config, the data or a checkpoint, with the fix.
        Stopped: by a signal; it ends the process with exit status 0.
    """
    started = time.perf_counter()
    run_dir, config = prepare_run_dir(cfg)
    with stops_are_told(run_dir):
        return train_in(run_dir, config, started)


def train_in(run_dir: Path, config: dict[str, Any], started: float) -> float:
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
        write_atomically(run_dir / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)))
        if checkpoint is None:
            (run_dir / "logs" / "metrics.csv").unlink(missing_ok=True)
            if (earlier := last_checkpoint(run_dir)).is_file():  # ckpt=last would go on with another run
                earlier.replace(earlier.with_suffix(".ckpt.earlier"))
        tell_mixture(trainer, datamodule, sides_of(pairs, binder))
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
        module.binder = binder = whole(binder).to(trainer.strategy.root_device)
    score = keep_best(trainer, module, config["monitor"])
    if trainer.is_global_zero:
        binder.save(run_dir / "binder")
        if binder.anchor.trainable:
            binder.anchor.save(run_dir / "anchor")
        evaluate_run(config, binder, datamodule, pairs, run_dir, config["evaluation"]["split"], seconds, started, ())
    return score


def tell_mixture(trainer: L.Trainer, datamodule: BindDataModule, pairs: Mapping[str, tuple[Side, Side]]) -> None:
    """Print how often each source and pair will be seen in this training; in one epoch where it has no end."""
    plan = datamodule.train_plan(world_size=trainer.world_size)
    limit = trainer.limit_train_batches
    per_epoch = min(limit, len(plan)) if isinstance(limit, int) else int(limit * len(plan))
    num_batches = per_epoch * max(1, trainer.max_epochs or 1)
    if trainer.max_steps > 0:
        num_batches = min(num_batches, trainer.max_steps * trainer.accumulate_grad_batches)
    if num_batches:
        sources = seen_sources(plan, datamodule.source_names, num_batches, per_epoch)
        print_cells(mixture_cells(sources, seen_pairs(datamodule.sources, sources, pairs), plan.global_batch))


def evaluate(cfg: DictConfig) -> None:
    """Evaluate a run directory again, on other label sets if any are given: `bindspace evaluate run=PATH`.

    Raises:
        ValueError: where the run directory is incomplete, or the data has changed so that it can't be read.
    """
    started = time.perf_counter()
    run_dir, config = open_run(cfg.run)
    if cfg.data.zero_shot:
        config["data"]["zero_shot"] = OmegaConf.to_container(cfg.data.zero_shot, resolve=True)
    trust = list(cfg.trust)
    binder = Binder.load(run_dir, trust=trust)
    pairs = active_pairs(config, binder)
    datamodule = make_datamodule(config, binder, pairs, trust=trust)
    main_file = run_dir / "metrics.json"
    of_training = json.loads(main_file.read_text())["seconds"] if main_file.is_file() else {}
    is_main = cfg.split == config["evaluation"]["split"]
    seconds = of_training if is_main else {"setup": time.perf_counter() - started}
    evaluate_run(config, binder.to(best_device()), datamodule, pairs, run_dir, cfg.split, seconds, started, trust)


def leakage(cfg: DictConfig) -> None:
    """What a split shares with all that a run was trained on, in full: `bindspace leakage run=PATH`.

    Raises:
        ValueError: where the run directory is incomplete, or the data has changed so that it can't be read.
    """
    run_dir, config = open_run(cfg.run)
    trust = list(cfg.trust)
    binder = Binder.load(run_dir, trust=trust)
    datamodule = make_datamodule(config, binder, active_pairs(config, binder), trust=trust)
    anchor = binder.anchor.to(best_device())
    audit = audit_run(config, run_dir, datamodule, anchor, cfg.split, open_run, trust, thorough=True)
    found = audit.figures() | {"keys": {kind: list(leaks) for kind, leaks in audit.leaks.items()}}
    suffix = "" if cfg.split == config["evaluation"]["split"] else f"_{cfg.split}"
    queries = run_dir / f"queries{suffix}.parquet"
    if audit.leaked and queries.is_file():
        found["without_leaked"] = without_leaked(read_queries(queries)[1], audit.leaked)
    path = run_dir / f"leakage{suffix}.json"
    write_atomically(path, json.dumps({"split": cfg.split, **found}, indent=2) + "\n")
    for cells in leakage_cells({"split": cfg.split, "leakage": found}):
        print_cells(cells)
    print(leakage_note(found))
    print(f"all of it: {path}")


def embed(cfg: DictConfig) -> None:
    """Write vectors of a manifest's samples: `bindspace embed run=PATH manifest=FILE out=FILE.parquet`.

    One row per value: `key`, `split`, `modality`, `group`, `label` and `embedding` (D,) float32; the file's metadata
    names the run and the anchor's fingerprint. A fused modality is written where all of its inputs are.

    Raises:
        ValueError: for a run, a manifest or a modality that can't be used.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bind.data.manifest import ManifestSource

    out = Path(cfg.out)
    if out.suffix != ".parquet":
        raise ValueError(f"out={out}: choose a name that ends in .parquet")
    run_dir, _ = open_run(cfg.run)
    binder = Binder.load(run_dir, trust=list(cfg.trust)).to(best_device())
    source = ManifestSource(cfg.manifest)
    fused = [binder.fused_modality or ""] if isinstance(binder.fusion, torch.nn.Module) else []
    known = [*binder.modalities, *fused]
    possible = [m for m in known if set(parts_of(m, binder)) <= set(source.modalities())]
    modalities = list(cfg.modalities or possible)
    if unknown := [m for m in modalities if m not in known]:
        raise ValueError(f"modalities: {', '.join(unknown)} unknown to {run_dir}; it embeds {', '.join(known)}")
    inputs = list(dict.fromkeys(part for m in modalities for part in parts_of(m, binder)))
    source.require_modalities(inputs or known)
    columns: dict[str, list[Any]] = {name: [] for name in ("key", "split", "modality", "group", "label", "embedding")}
    for split_name in source.splits:
        datamodule = BindDataModule({"manifest": source}, binder.transforms, [], inputs, batch_size=64)
        split = embed_split(datamodule, binder, split_name)
        for modality in modalities:
            samples = [source.samples(split_name)[row] for row in split.rows[modality].tolist()]
            columns["key"] += [sample.key for sample in samples]
            columns["split"] += [split_name] * len(samples)
            columns["modality"] += [modality] * len(samples)
            columns["group"] += [sample.group for sample in samples]
            columns["label"] += [sample.label for sample in samples]
            columns["embedding"] += list(split.z[modality].numpy())
    kinds = {name: pa.string() for name in columns} | {"embedding": pa.list_(pa.float32(), binder.dim)}
    facts = {"run": str(run_dir), "anchor": binder.anchor.name, "anchor_fingerprint": binder.anchor.fingerprint}
    schema = pa.schema([pa.field(name, kind) for name, kind in kinds.items()], metadata=facts)
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, schema=schema), out)
    print(f"{len(columns['key'])} vectors of {binder.dim} dimensions: {out}")


def open_run(run: str) -> tuple[Path, dict[str, Any]]:
    """A finished run's directory and its resolved config."""
    path = Path(run) / "config.yaml"
    if not path.is_file():
        raise ValueError(f"run={run}: no config.yaml there; pass a run directory, the last line that training printed")
    config: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[assignment]
    if config.get("version") != CONFIG_VERSION:
        raise ValueError(f"{path} has version {config.get('version')}; this bind reads {CONFIG_VERSION}")
    return Path(run).resolve(), config


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def embed_split(datamodule: BindDataModule, binder: Binder, split_name: str) -> EmbeddedSplit:
    """Every sample of a split through the Binder, in this process, with a progress bar."""
    device = next(binder.parameters()).device
    binder.eval()
    loader = datamodule.evaluation_dataloader(split_name)
    parts = []
    with torch.inference_mode():
        for batch in track(loader, f"embed {split_name}", len(loader), transient=True):
            embeddings = binder(batch.to(device))
            parts.append(
                (batch, Embeddings({m: z.cpu() for m, z in embeddings.z.items()}, embeddings.rows, len(batch)))
            )
    return EmbeddedSplit.collect(parts)


def evaluate_run(
    config: Mapping[str, Any],
    binder: Binder,
    datamodule: BindDataModule,
    pairs: Sequence[Pair],
    run_dir: Path,
    split_name: str,
    seconds: dict[str, float],
    started: float,
    trust: Sequence[str],
) -> dict[str, Any]:
    """Figures of a split into `metrics.json`, plots and `report.html`; the tables and the directory to the terminal."""
    data = config["data"]

    def figures() -> tuple[EmbeddedSplit, dict[str, Any], dict[str, QueryResults]]:
        split = embed_split(datamodule, binder, split_name)
        options = {"one_per_group": data["one_per_group"], "label_sets": data["zero_shot"] or {}}
        metrics, queries = evaluate_split(split, binder, pairs, datamodule.sources, split_name, **options)
        audit = audit_run(config, run_dir, datamodule, binder.anchor, split_name, open_run, trust, embedded=split)
        metrics["leakage"] = audit.figures()
        if audit.leaked:
            metrics["leakage"]["without_leaked"] = without_leaked(queries, audit.leaked)
        return split, metrics, queries

    (split, metrics, queries), seconds["evaluate"] = timed(figures)
    seconds.setdefault("total", time.perf_counter() - started)
    metrics["seconds"] = {name: round(value, 1) for name, value in seconds.items()}
    # The split a run was made for has the plain names; others stand beside it.
    suffix = "" if split_name == config["evaluation"]["split"] else f"_{split_name}"
    write_atomically(run_dir / f"metrics{suffix}.json", json.dumps(metrics, indent=2) + "\n")
    write_queries(run_dir / f"queries{suffix}.parquet", split_name, queries)
    shown = config["evaluation"]
    num_queries = shown["num_gallery_queries"]
    asked = galleries(split, list(binder.encoders), pairs, num_queries, one_per_group=data["one_per_group"])
    values = SplitValues(split, datamodule.sources, split_name, binder.transforms)
    pngs = draw_run(run_dir, metrics, asked, values, suffix)
    parts = {m: parts_of(m, binder) for m in (*binder.modalities, *split.z) if m in split.z}
    on_page = exhibit(values, parts, asked, shown["num_scatter_samples"])
    config_yaml = (run_dir / "config.yaml").read_text()
    page = run_dir / f"report{suffix}.html"
    write_report(page, metrics, pngs, on_page, config_yaml, config["seed"], shlex.join(sys.argv), versions())
    print_tables(metrics)
    print(f"run directory: {run_dir}")
    return metrics


def versions() -> dict[str, str]:
    names = ("bindspace", "torch", "torchaudio", "lightning", "transformers", "hydra-core", "numpy")
    found = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def write_atomically(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text)
    beside.replace(path)


def timed(job: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    result = job()
    return result, time.perf_counter() - started


def prepare_run_dir(cfg: DictConfig) -> tuple[Path, dict[str, Any]]:
    """The run directory, and the resolved config as plain dicts."""
    from hydra.core.hydra_config import HydraConfig

    if HydraConfig.initialized():
        with open_dict(cfg):
            cfg.run_dir = HydraConfig.get().runtime.output_dir
    run_dir = Path(cfg.run_dir).resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    with open_dict(cfg):
        cfg.run_dir = str(run_dir)
        if cfg.data.get("manifest"):  # a run can be evaluated again from any folder
            cfg.data.manifest = str(Path(cfg.data.manifest).resolve())
        for name, path in cfg.data.get("manifests", {}).items():
            cfg.data.manifests[name] = str(Path(path).resolve())
        if cfg.data.get("shards"):
            cfg.data.shards = absolute(cfg.data.shards)
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    config = {"version": CONFIG_VERSION, **{k: v for k, v in config.items() if k not in ("experiment", "debug")}}
    return run_dir, config
