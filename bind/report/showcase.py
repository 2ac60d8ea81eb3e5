"""The pictures of a run: curves, pair matrix, and a gallery of queries with what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bind.anchors.processors import open_image
from bind.embedded import EmbeddedSplit
from bind.metrics import top_k
from bind.model import Binder
from bind.report.curves import plot_curves
from bind.report.gallery import Query, Result, plot_gallery
from bind.report.matrix import plot_matrix
from bind.types import Clip, Modality, Pair, SensorRecording, Source, Transform, Waveform

NUM_RESULTS = 5
NUM_GALLERIES = 3
LARGEST_PICTURE_PX = 224


def draw_run(
    run_dir: Path,
    metrics: Mapping[str, Any],
    split: EmbeddedSplit,
    binder: Binder,
    sources: Sequence[Source],
    pairs: Sequence[Pair],
    num_gallery_queries: int,
    one_per_group: bool,
    suffix: str = "",
) -> dict[str, Path]:
    """Draw what the run has figures for into `run_dir`; caption → PNG."""
    pngs: dict[str, Path] = {}
    if metrics["retrieval"]:
        pngs["R@1 between modalities"] = plot_matrix(metrics, run_dir / f"matrix{suffix}.png")
    log = run_dir / "logs" / "metrics.csv"
    if log.is_file():
        pngs["Training"] = plot_curves(log, run_dir / "curves.png")
    for query, pool in gallery_pairs(split, binder, pairs) if num_gallery_queries else ():
        rows = gallery_rows(split, binder, sources, metrics["split"], query, pool, num_gallery_queries, one_per_group)
        png = run_dir / f"gallery_{query}_to_{pool}{suffix}.png"
        pngs[f"{query} → {pool}"] = plot_gallery(rows, png, title=f"{query} → {pool}: top {NUM_RESULTS} of the pool")
    return pngs


def gallery_pairs(split: EmbeddedSplit, binder: Binder, pairs: Sequence[Pair]) -> list[tuple[Modality, Modality]]:
    """A few telling pairs: what was trained first, then pairs of new modalities that never met."""
    new = [m for m in binder.encoders if m in split.z]
    trained = [
        (p.a, p.b) for p in pairs if p.a in split.z and p.b in split.z and binder.fused_modality not in (p.a, p.b)
    ]
    emergent = [(a, b) for a in new for b in new if a != b] + [(m, "text") for m in new if "text" in split.z]
    chosen = [*trained, *(pair for pair in emergent if pair not in trained)]
    return chosen[:NUM_GALLERIES]


def gallery_rows(
    split: EmbeddedSplit,
    binder: Binder,
    sources: Sequence[Source],
    split_name: str,
    query: Modality,
    pool: Modality,
    num_queries: int,
    one_per_group: bool,
) -> list[Query]:
    """Queries spread evenly over the split, each with its nearest pool items."""
    queries, candidates = split.query_and_pool(query, pool, one_per_group=one_per_group)
    asked = queries[torch.linspace(0, len(queries) - 1, min(num_queries, len(queries))).round().long().unique()]
    scores, found = top_k(split.z[query][asked], split.z[pool][candidates], min(NUM_RESULTS, len(candidates)))
    values = _Values(sources, split_name, binder)
    rows = []
    for position, query_scores, query_found in zip(asked.tolist(), scores, found, strict=True):
        sample = int(split.rows[query][position])
        results = []
        for score, item in zip(query_scores.tolist(), candidates[query_found].tolist(), strict=True):
            other = int(split.rows[pool][item])
            relevant = bool(split.group_ids_N[other] == split.group_ids_N[sample])
            results.append(Result(values(pool, other, split, item), score, relevant, values.caption(other)))
        rows.append(Query(values(query, sample, split, position), results, values.caption(sample)))
    return rows


class _Values:
    """Raw values of a split's samples, ready to be drawn."""

    def __init__(self, sources: Sequence[Source], split_name: str, binder: Binder) -> None:
        self.split_name, self.binder = split_name, binder
        self.places = [(s, i) for s in sources for i in range(len(s.samples(split_name)))]

    def __call__(self, modality: Modality, sample: int, split: EmbeddedSplit, item: int) -> Any:
        source, index = self.places[sample]
        values = source.fetch(self.split_name, [index], [modality], None)[0][modality]
        # Several captions are several vectors with consecutive positions.
        first = int((split.rows[modality] == sample).nonzero()[0])
        return drawable(modality, values[item - first], self.binder.transforms[modality])

    def caption(self, sample: int) -> str:
        source, index = self.places[sample]
        metadata = source.samples(self.split_name)[index]
        return metadata.group or metadata.label or metadata.key


def drawable(modality: Modality, value: Any, transform: Transform) -> Any:
    """A value that the gallery can draw: recordings on disk are read as the encoder gets them."""
    if modality == "image":
        picture = open_image(value)
        picture.thumbnail((LARGEST_PICTURE_PX, LARGEST_PICTURE_PX))
        return np.asarray(picture)
    if not isinstance(value, Clip):
        return value
    x = transform(value, None)
    rate = getattr(transform, "sample_rate_hz", None)
    channels, units = getattr(transform, "channels", None), getattr(transform, "units", None)
    if rate and x.ndim == 1:
        return Waveform(x.numpy(), rate)
    if rate and channels and x.ndim == 2:
        return SensorRecording(x.T.numpy(), rate, tuple(channels), tuple(units or ("",) * len(channels)))
    if x.ndim == 3 and len(x) == 1:
        return x[0].numpy()
    return str(value)
