"""The pictures of a run: curves, retrieval, confusion of classes, and galleries of queries with their results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bind.evaluation.fused import NO_FUSION, FusedModalities, modality_title, pair_title
from bind.evaluation.queries import retrieval_key
from bind.report.confusion import plot_confusion
from bind.report.curves import plot_curves
from bind.report.gallery import Query, Result, plot_gallery
from bind.report.matrix import plot_matrix
from bind.report.nearest import NUM_RESULTS, Gallery, GalleryQuery
from bind.report.values import SplitValues
from bind.types import Modality

TRAINING = "Training"
"""Caption of the curves."""


def draw_run(
    run_dir: Path,
    metrics: Mapping[str, Any],
    galleries: Sequence[Gallery],
    values: SplitValues,
    suffix: str = "",
    *,
    fused: FusedModalities = NO_FUSION,
) -> dict[str, Path]:
    """Draw what the run has figures for into `run_dir`; caption → PNG of all but the galleries, which stand alone."""
    pngs: dict[str, Path] = {}
    if metrics["retrieval"]:
        pngs["R@1 between modalities"] = plot_matrix(metrics, run_dir / f"matrix{suffix}.png", fused)
    log = run_dir / "logs" / "metrics.csv"
    if log.is_file():
        pngs[TRAINING] = plot_curves(log, run_dir / "curves.png", log_titles(metrics["retrieval"], fused))
    # The page has the first figures open: those of what was trained come before the anchor's own.
    for key, entry in sorted(metrics["zero_shot"].items(), key=lambda item: item[1].get("kind") == "anchor"):
        if "top1" in entry:
            png = run_dir / f"confusion_{key.replace('/', '_')}{suffix}.png"
            pngs[f"What classes were taken for: {key}"] = plot_confusion(key, entry, metrics["split"], png, fused)
    for gallery in galleries:
        png = run_dir / f"gallery_{retrieval_key(gallery.query, gallery.pool)}{suffix}.png"
        title = f"{gallery.query} → {gallery.pool}: top {NUM_RESULTS} of the pool"
        plot_gallery([_with_values(query, gallery, values) for query in gallery.rows], png, title=title)
    return pngs


def log_titles(pairs: Iterable[tuple[Modality, Modality]], fused: FusedModalities) -> dict[str, str]:
    """What a legend calls the pairs and modalities of the training's log.

    Examples:
        >>> log_titles([("audio", "image")], {})
        {'audio': 'audio', 'image': 'image', 'audio-image': 'audio-image', 'audio_to_image': 'audio → image'}
    """
    titles: dict[str, str] = {}
    for pair in pairs:
        titles |= {modality: modality_title(modality, fused) for modality in pair}
        titles["-".join(pair)] = "-".join(modality_title(modality, fused) for modality in pair)
        titles[retrieval_key(*pair)] = pair_title(*pair, fused)
    return titles


def _with_values(query: GalleryQuery, gallery: Gallery, values: SplitValues) -> Query:
    rows = values.split.rows
    if gallery.words:
        results = [Result(gallery.words[hit.position], hit.score, hit.relevant) for hit in query.hits]
    else:
        hit_values = values.fetch(gallery.pool, [hit.position for hit in query.hits])
        results = [
            Result(value, hit.score, hit.relevant, values.caption(int(rows[gallery.pool][hit.position])))
            for hit, value in zip(query.hits, hit_values, strict=True)
        ]
    [value] = values.fetch(gallery.query, [query.position])
    return Query(value, results, values.caption(int(rows[gallery.query][query.position])))
