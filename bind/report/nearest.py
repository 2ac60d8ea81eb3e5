"""Queries of a split with what they found: what a gallery shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bind.evaluation.embedded import EmbeddedSplit
from bind.metrics import top_k
from bind.types import Modality, Pair

NUM_RESULTS = 5
NUM_GALLERIES = 3


@dataclass(frozen=True)
class Hit:
    """A pool item at `position` among its modality's vectors, its cosine, and whether it is of the query's group."""

    position: int
    score: float
    relevant: bool


@dataclass(frozen=True)
class GalleryQuery:
    """A query at `position` among its modality's vectors, with its nearest pool items, best first."""

    position: int
    found: Sequence[Hit]


@dataclass(frozen=True)
class Gallery:
    """Some queries of one modality to the pool of another."""

    query: Modality
    pool: Modality
    rows: Sequence[GalleryQuery]


def galleries(
    split: EmbeddedSplit, encoded: Sequence[Modality], pairs: Sequence[Pair], num_queries: int, *, one_per_group: bool
) -> list[Gallery]:
    """The nearest pool items of queries spread evenly over the split, for a few telling pairs.

    `encoded` are the modalities with an encoder; `pairs` may name fused ones, of which there is nothing to show.
    """
    return [
        Gallery(query, pool, _nearest(split, query, pool, num_queries, one_per_group))
        for query, pool in (telling_pairs(split, encoded, pairs) if num_queries else ())
    ]


def telling_pairs(
    split: EmbeddedSplit, encoded: Sequence[Modality], pairs: Sequence[Pair]
) -> list[tuple[Modality, Modality]]:
    """What was trained first, then pairs of encoded modalities that never met."""
    new = [m for m in encoded if m in split.z]
    trained = [(p.a, p.b) for p in pairs if p.a in split.z and p.b in split.z and not _fused(p)]
    emergent = [(a, b) for a in new for b in new if a != b] + [(m, "text") for m in new if "text" in split.z]
    chosen = [*trained, *(pair for pair in emergent if pair not in trained)]
    return chosen[:NUM_GALLERIES]


def _fused(pair: Pair) -> bool:
    return any("_and_" in side for side in (pair.a, pair.b))


def _nearest(
    split: EmbeddedSplit, query: Modality, pool: Modality, num_queries: int, one_per_group: bool
) -> list[GalleryQuery]:
    queries, candidates = split.query_and_pool_rows(query, pool, one_per_group=one_per_group)
    asked = queries[torch.linspace(0, len(queries) - 1, min(num_queries, len(queries))).round().long().unique()]
    scores, found = top_k(split.z[query][asked], split.z[pool][candidates], min(NUM_RESULTS, len(candidates)))
    positions = candidates[found]
    groups = split.group_ids_N
    relevant = groups[split.rows[pool][positions]] == groups[split.rows[query][asked]][:, None]
    return [
        GalleryQuery(position, [Hit(*each) for each in zip(*row, strict=True)])
        for position, *row in zip(asked.tolist(), positions.tolist(), scores.tolist(), relevant.tolist(), strict=True)
    ]
