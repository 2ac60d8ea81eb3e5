"""Evaluation of a saved binder on a table, without the run that made it: `bindspace evaluate binder=… manifest=…`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from bind.data.sources.splits import require_split
from bind.files.writing import write_text
from bind.model.binder import Binder
from bind.model.device import best_device
from bind.runs.captions import warn_of_cut_captions
from bind.runs.evaluation import evaluate_run
from bind.runs.gallery_captions import load_bridge
from bind.runs.other_table import label_sets_of, table_name
from bind.runs.ownership import marked
from bind.runs.parts import Parts
from bind.runs.results import owned_results
from bind.runs.run_config import CONFIG_VERSION
from bind.runs.stopwatch import Stopwatch


def evaluate_binder(
    place: str,
    manifest: Path,
    split_name: str,
    *,
    out: Path | None = None,
    label_sets: Mapping[str, Mapping[str, Any]] | None = None,
    trust: Sequence[str] = (),
    bridge: Path | None = None,
) -> dict[str, Any]:
    """Evaluate a saved binder on a table and write figures, plots and page into a folder; what `metrics.json` holds.

    Which pairs it was trained on is not in a binder: those of its encoders with pictures count as trained.

    Args:
        place: what `Binder.load` takes.
        out: the folder; None: `runs/BINDER_TABLE`.
        bridge: over this binder; what it says of the gallery's queries stands in the page.

    Raises:
        ValueError: for a binder or a table that can't be read, a split that it has not, or nothing that both have.
    """
    manifest = manifest.expanduser().resolve()
    table = table_name(manifest)
    out = (out or Path("runs") / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', Path(place).name)}_{table}").resolve()
    if (out / "checkpoints").exists() or (out / "binder").exists():
        raise ValueError(
            f"out={out} holds a run: choose another folder, or evaluate the run: run={out} manifest={manifest}"
        )
    watch = Stopwatch()
    binder = Binder.load(place, trust=trust).to(best_device())
    loaded = load_bridge(bridge, binder)
    parts = Parts.build(table_config(binder, manifest, split_name), binder, trust=[*trust, str(manifest)])
    [source] = parts.datamodule.sources
    require_split([source], split_name, "Name another with split=")
    if not parts.datamodule.evaluation_modalities:
        raise ValueError(
            f"{manifest}: it has {', '.join(source.modalities())}, and {place} embeds {', '.join(binder.modalities)}: "
            "name a column after one of these"
        )
    samples = source.samples(split_name)
    data = parts.config["data"] | {
        "zero_shot": label_sets_of(label_sets or {}, samples, manifest),
        "one_per_group": False,
    }
    parts = Parts({**parts.config, "data": data}, binder, parts.pairs, parts.datamodule, is_own_data=False)
    warn_of_cut_captions(parts.datamodule, [split_name])
    out.mkdir(parents=True, exist_ok=True)
    with owned_results(out, "metrics"):
        described = {**parts.config, "init_from": str(place), "data": {**data, "manifests": {}}}
        write_text(out / "config.yaml", marked(OmegaConf.to_yaml(OmegaConf.create(described))))
        return evaluate_run(parts, out, split_name, watch, trust=trust, weights=Path(place), bridge=loaded)


def table_config(binder: Binder, manifest: Path, split_name: str) -> dict[str, Any]:
    """The config of a run that evaluates a binder on one table, and trains nothing."""
    assert binder.config is not None
    pairs = {f"{m}-image": {"weight": 1.0} for m in binder.encoders if "image" in binder.anchor.modalities}
    return {
        "version": CONFIG_VERSION,
        **{
            name: binder.config.get(name) for name in ("anchor", "modalities", "encoder", "transform", "head", "fusion")
        },
        "pairs": pairs,
        "loss": {"_target_": "bind.losses.info_nce.InfoNCE", "temperature": 0.07, "learn_temperature": False},
        "data": {
            "sources": {},
            "manifests": {table_name(manifest): str(manifest)},
            "weights": {},
            "batch_size": 1,
            "evaluation_batch_size": 64,
            "num_workers": 0,
            "alpha": 1.0,
            "steps_per_epoch": None,
            "chunk_size": None,
            "one_per_group": False,
            "zero_shot": {},
        },
        "evaluation": {
            "split": split_name,
            "modalities": None,
            "known": [],
            "num_gallery_queries": 4,
            "num_scatter_samples": 300,
            "leakage_gb": 1.0,
        },
        "cache": {"dir": None, "views": 1, "build": True, "verify": False},
        "seed": 0,
        "title": None,
    }
