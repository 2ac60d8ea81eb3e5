"""The pictures of a run: curves, pair matrix, and a gallery of queries with what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bind.report.confusion import plot_confusion
from bind.report.curves import plot_curves
from bind.report.gallery import Query, Result, plot_gallery
from bind.report.matrix import plot_matrix
from bind.report.nearest import NUM_RESULTS, Gallery, GalleryQuery
from bind.report.values import SplitValues


def draw_run(
    run_dir: Path, metrics: Mapping[str, Any], galleries: Sequence[Gallery], values: SplitValues, suffix: str = ""
) -> dict[str, Path]:
    """Draw what the run has figures for into `run_dir`; caption → PNG of all but the galleries, which stand alone."""
    pngs: dict[str, Path] = {}
    if metrics["retrieval"]:
        pngs["R@1 between modalities"] = plot_matrix(metrics, run_dir / f"matrix{suffix}.png")
    log = run_dir / "logs" / "metrics.csv"
    if log.is_file():
        pngs["Training"] = plot_curves(log, run_dir / "curves.png")
    for key, entry in metrics["zero_shot"].items():
        if "top1" in entry:
            png = run_dir / f"confusion_{key.replace('/', '_')}{suffix}.png"
            pngs[f"What classes were taken for: {key}"] = plot_confusion(key, entry, metrics["split"], png)
    for gallery in galleries:
        png = run_dir / f"gallery_{gallery.query}_to_{gallery.pool}{suffix}.png"
        title = f"{gallery.query} → {gallery.pool}: top {NUM_RESULTS} of the pool"
        plot_gallery([_drawn(row, gallery, values) for row in gallery.rows], png, title=title)
    return pngs


def _drawn(row: GalleryQuery, gallery: Gallery, values: SplitValues) -> Query:
    rows = values.split.rows
    found = values.fetch(gallery.pool, [item.position for item in row.found])
    results = [
        Result(value, item.score, item.relevant, values.caption(int(rows[gallery.pool][item.position])))
        for item, value in zip(row.found, found, strict=True)
    ]
    [value] = values.fetch(gallery.query, [row.position])
    return Query(value, results, values.caption(int(rows[gallery.query][row.position])))
