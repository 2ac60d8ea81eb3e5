"""Evaluate a run's split and write metrics, plots and report."""

from __future__ import annotations

import contextlib
import functools
import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bind.data.counts import count_samples
from bind.data.same_values import values_in_both
from bind.evaluation import QueryResults, as_json, evaluate_split, fused_modalities
from bind.evaluation.embed import embed_split
from bind.evaluation.embedded import EmbeddedSplit
from bind.evaluation.label_sets import known_texts, labels_in_order
from bind.files.writing import write_text
from bind.report.data_table import data_cells
from bind.report.gallery_notes import gallery_notes
from bind.report.html import write_report
from bind.report.nearest import galleries
from bind.report.page_media import page_media
from bind.report.plots import draw_run
from bind.report.queries import write_queries
from bind.report.tables import print_tables
from bind.report.values import SplitValues
from bind.report.words import word_galleries
from bind.runs.figures import robustness_figures
from bind.runs.gallery_captions import caption_queries
from bind.runs.gallery_concepts import gallery_concepts
from bind.runs.leakage import audit_run, parts_of_run, without_leaked
from bind.runs.ownership import unmarked
from bind.runs.parts import Parts
from bind.runs.results import suffix_of
from bind.runs.stopwatch import Stopwatch
from bind.training.resume import invocation
from bind.types import Modality

if TYPE_CHECKING:
    from bind.bridge.bridge import Bridge


def evaluate_run(
    parts: Parts,
    run_dir: Path,
    split_name: str,
    watch: Stopwatch,
    *,
    trust: Sequence[str] = (),
    weights: Path | None = None,
    hardware: Mapping[str, Any] | None = None,
    bridge: Bridge | None = None,
) -> dict[str, Any]:
    """Figures of a split into `metrics.json`, plots and `report.html`; the tables and the directory to the terminal.

    Args:
        watch: the clock of the job; what it has measured stands in `metrics.json` as `seconds`.
        trust: packages besides bind whose classes the configs of earlier runs may name.
        weights: where the binder lies whose run this folder is not; None: it was trained in `run_dir`.
        hardware: what the training ran on, where that is known; stands in `metrics.json`.
        bridge: over the binder of `parts`; what it says of the gallery's queries stands in the page.

    Returns:
        What `metrics.json` holds.

    Raises:
        ValueError: where the split is empty or its files can't be read.
    """
    with watch.part("evaluate"):
        split = embed_split(parts.datamodule, parts.binder, split_name)
        metrics, queries = figures_of(parts, weights or run_dir, split, split_name, trust=trust)
    metrics["seconds"] = watch.seconds()
    if hardware:
        metrics["hardware"] = dict(hardware)
    # The split a run was made for has the plain names; others and other tables stand beside it.
    suffix = suffix_of(split_name, parts.config)
    if not parts.is_own_data:
        [(name, metrics["manifest"])] = parts.config["data"]["manifests"].items()
        suffix = "" if weights else suffix_of(split_name, parts.config, name)
    write_text(run_dir / f"metrics{suffix}.json", json.dumps(as_json(metrics), indent=2) + "\n")
    write_queries(run_dir / f"queries{suffix}.parquet", split_name, queries)
    page = write_pictures(parts, run_dir, split, metrics, suffix=suffix, bridge=bridge)
    print_tables(metrics, fused=fused_modalities(parts.binder))
    print(f"page: {page}")
    print(f"run directory: {run_dir}")
    return as_json(metrics)


def figures_of(
    parts: Parts, run_dir: Path, split: EmbeddedSplit, split_name: str, *, trust: Sequence[str]
) -> tuple[dict[str, Any], dict[str, QueryResults]]:
    """The figures of `evaluate_split` with those of leakage, and the results of every query.

    `run_dir` is where the weights were trained.
    """
    data = parts.config["data"]
    metrics, queries = evaluate_split(
        split,
        parts.binder,
        parts.pairs,
        parts.datamodule.sources,
        split_name,
        one_per_group=data["one_per_group"],
        label_sets=data["zero_shot"],
        trained_values=trained_values(parts, run_dir, split_name, trust=trust),
    )
    audit = audit_run(parts, run_dir, split_name, trust=trust, embedded=split)
    metrics["leakage"] = audit.figures()
    if audit.leaked:
        metrics["leakage"]["without_leaked"] = without_leaked(queries, audit.leaked)
    return metrics, queries


def trained_values(
    parts: Parts, run_dir: Path, split_name: str, *, trust: Sequence[str]
) -> dict[Modality, set[tuple[str, int]]]:
    """Modality of `evaluation.known` → the values of the split that are trained on: key of the sample, and which."""
    datamodule = parts.datamodule
    if not datamodule.known:
        return {}
    if parts.is_own_data:
        trained = [source for source, weight in zip(datamodule.sources, datamodule.weights, strict=True) if weight]
    else:
        try:
            trained = [part.source for part in parts_of_run(run_dir, trust)[0] if part.split == "train"]
        except (ValueError, OSError):  # the audit of leakage says that it can't be read
            return {}
    return {
        modality: values_in_both(
            [(source, split_name) for source in datamodule.sources if modality in source.modalities()],
            [(source, "train") for source in trained if modality in source.modalities()],
            modality,
        )
        for modality in datamodule.known
    }


def write_pictures(
    parts: Parts,
    run_dir: Path,
    split: EmbeddedSplit,
    metrics: dict[str, Any],
    *,
    suffix: str = "",
    bridge: Bridge | None = None,
) -> Path:
    """The plots of a split and the page, which is returned, that shows them with its tables and samples."""
    config, binder = parts.config, parts.binder
    options, fused = config["evaluation"], fused_modalities(binder)
    shown = galleries(
        split,
        list(binder.encoders),
        parts.pairs,
        options["num_gallery_queries"],
        one_per_group=config["data"]["one_per_group"],
        fused=fused,
    )
    values = SplitValues(split, parts.datamodule.sources, metrics["split"], binder.transforms)
    shown += word_galleries(
        split,
        list(binder.encoders),
        [values.sample(row).label for row in range(len(split.keys))],
        config["data"]["zero_shot"],
        embed_text=functools.partial(binder.embed, "text"),
        known=known_texts(binder.anchor),
        templates={m: entry["templates"] for m, entry in metrics["zero_shot"].items() if "templates" in entry},
        num_queries=options["num_gallery_queries"],
    )
    pngs = draw_run(run_dir, metrics, shown, values, suffix, fused=fused) | robustness_figures(run_dir, suffix)
    splits = dict.fromkeys(("train", "val", options["split"], metrics["split"]))
    modalities = [m for m in dict.fromkeys((*binder.modalities, *split.z)) if m in split.z]
    counts = count_samples(parts.datamodule.sources, splits, parts.datamodule.weights)
    concepts = gallery_concepts(parts, shown, split, metrics["split"])
    captions = None if bridge is None else caption_queries(bridge, values, shown)
    media = page_media(
        values,
        modalities,
        shown,
        options["num_scatter_samples"],
        fused=fused,
        concepts=concepts,
        captions=captions,
        notes=gallery_notes(metrics["retrieval"], parts.datamodule.sources, fused),
        labels=labels_in_order(config["data"]["zero_shot"] or {}),
    )
    page = run_dir / f"report{suffix}.html"
    write_report(
        page,
        metrics,
        pngs,
        media,
        title=config.get("title") or "",
        data=data_cells(counts, tuple(dict.fromkeys((*binder.modalities, *split.z)))),
        fused=fused,
        config_yaml=unmarked((run_dir / "config.yaml").read_text(encoding="utf-8")),
        seed=config["seed"],
        command=invocation(),
        versions=versions(),
    )
    return page


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers."""
    names = ("bindspace", "torch", "torchaudio", "lightning", "transformers", "hydra-core", "numpy")
    known = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            known[name] = metadata.version(name)
    return known
