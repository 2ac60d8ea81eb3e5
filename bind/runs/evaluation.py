"""What a run has come to: the figures of a split, and the tables, plots and page that show them."""

from __future__ import annotations

import contextlib
import json
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from bind.data.datamodule import BindDataModule
from bind.evaluation import evaluate_split, fusion_inputs
from bind.evaluation.embed import embed_split
from bind.files import write_text
from bind.model.binder import Binder
from bind.report.html import write_report
from bind.report.nearest import galleries
from bind.report.page_media import page_media
from bind.report.plots import draw_run
from bind.report.queries import write_queries
from bind.report.tables import print_tables
from bind.report.values import SplitValues
from bind.runs.figures import robustness_figures
from bind.runs.leakage import audit_run, without_leaked
from bind.types import Pair


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
    began, data = time.perf_counter(), config["data"]
    split = embed_split(datamodule, binder, split_name)
    options = {"one_per_group": data["one_per_group"], "label_sets": data["zero_shot"] or {}}
    metrics, queries = evaluate_split(split, binder, pairs, datamodule.sources, split_name, **options)
    audit = audit_run(config, run_dir, datamodule, binder.anchor, split_name, trust, embedded=split)
    metrics["leakage"] = audit.figures()
    if audit.leaked:
        metrics["leakage"]["without_leaked"] = without_leaked(queries, audit.leaked)
    ended = time.perf_counter()
    seconds["evaluate"] = ended - began
    seconds.setdefault("total", ended - started)
    metrics["seconds"] = {name: round(value, 1) for name, value in seconds.items()}
    # The split a run was made for has the plain names; others stand beside it.
    suffix = "" if split_name == config["evaluation"]["split"] else f"_{split_name}"
    write_text(run_dir / f"metrics{suffix}.json", json.dumps(metrics, indent=2) + "\n")
    write_queries(run_dir / f"queries{suffix}.parquet", split_name, queries)
    shown = config["evaluation"]
    num_queries = shown["num_gallery_queries"]
    asked = galleries(split, list(binder.encoders), pairs, num_queries, one_per_group=data["one_per_group"])
    values = SplitValues(split, datamodule.sources, split_name, binder.transforms)
    pngs = draw_run(run_dir, metrics, asked, values, suffix) | robustness_figures(run_dir, suffix)
    parts = {m: fusion_inputs(m, binder) for m in (*binder.modalities, *split.z) if m in split.z}
    on_page = page_media(values, parts, asked, shown["num_scatter_samples"])
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
