"""Galleries: queries of a split with the nearest items of a pool."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bind.evaluation.embedded import EmbeddedSplit
from bind.metrics import top_k
from bind.types import Modality, Pair

NUM_RESULTS = 5
NUM_GALLERIES = 3


@dataclass(frozen=True)
class GalleryHit:
    """A pool item at `position` among its modality's vectors, its cosine, and whether it is of the query's group."""

    position: int
    score: float
    relevant: bool


@dataclass(frozen=True)
class GalleryQuery:
    """A query at `position` among its modality's vectors, with its nearest pool items, best first."""

    position: int
    hits: Sequence[GalleryHit]


@dataclass(frozen=True)
class Gallery:
    """Some queries of one modality to the pool of another; with `words` these are the pool, and hits are of them."""

    query: Modality
    pool: Modality
    rows: Sequence[GalleryQuery]
    words: Sequence[str] = ()


def galleries(
    split: EmbeddedSplit,
    encoded: Sequence[Modality],
    pairs: Sequence[Pair],
    num_queries: int,
    *,
    one_per_group: bool,
    fused: Collection[Modality] = (),
) -> list[Gallery]:
    """The nearest pool items of queries spread evenly over the split, for a few telling pairs.

    Args:
        encoded: the modalities with an encoder.
        pairs: the trained pairs.
        num_queries: of each pair; without queries there is no gallery.
        fused: fused modalities, which have no values to show.
    """
    return [
        Gallery(query, pool, _nearest(split, query, pool, num_queries, one_per_group))
        for query, pool in (telling_pairs(split, encoded, pairs, fused) if num_queries else ())
    ]


def telling_pairs(
    split: EmbeddedSplit, encoded: Sequence[Modality], pairs: Sequence[Pair], fused: Collection[Modality] = ()
) -> list[tuple[Modality, Modality]]:
    """Up to three (query, pool): trained pairs first, then encoded modalities that never met; none with a fused one.

    Where no group has both there is nothing to be found, as between a table of sounds and another of sentences.
    """
    shown = [m for m in split.z if m not in fused]
    trained = [(p.a, p.b) for p in pairs if p.a in shown and p.b in shown and not p.has_views]
    new = [m for m in encoded if m in shown]
    emergent = [(a, b) for a in new for b in new if a != b] + [(m, "text") for m in new if "text" in shown]
    chosen = [*trained, *(pair for pair in emergent if pair not in trained)]
    return [pair for pair in chosen if share_groups(split, *pair)][:NUM_GALLERIES]


def share_groups(split: EmbeddedSplit, a: Modality, b: Modality) -> bool:
    """Whether any group has both modalities, so that something of one is relevant to something of the other."""
    groups_a, groups_b = (split.group_ids_N[split.rows[modality]] for modality in (a, b))
    return bool(torch.isin(groups_a, groups_b).any())


def _nearest(
    split: EmbeddedSplit, query: Modality, pool: Modality, num_queries: int, one_per_group: bool
) -> list[GalleryQuery]:
    query_rows, pool_rows = split.query_and_pool_rows(query, pool, one_per_group=one_per_group)
    drawn = spread_evenly(query_rows, num_queries)
    scores, nearest = top_k(split.z[query][drawn], split.z[pool][pool_rows], min(NUM_RESULTS, len(pool_rows)))
    positions = pool_rows[nearest]
    groups_of_hits = [[split.groups_of(pool, i) for i in of_query] for of_query in positions.tolist()]
    relevant = [
        [bool(split.groups_of(query, i) & groups) for groups in of_query]
        for i, of_query in zip(drawn.tolist(), groups_of_hits, strict=True)
    ]
    return gallery_queries(drawn.tolist(), positions.tolist(), scores.tolist(), relevant)


def spread_evenly(rows: Tensor, num: int) -> Tensor:
    """`num` of these rows at most, from the first to the last at equal distances."""
    evenly = torch.linspace(0, len(rows) - 1, min(num, len(rows))).round().long()
    return rows[torch.unique(evenly)]


def gallery_queries(
    drawn: Sequence[int],
    positions: Sequence[Sequence[int]],
    scores: Sequence[Sequence[float]],
    relevant: Sequence[Sequence[bool]],
) -> list[GalleryQuery]:
    """The queries at `drawn`, each with the hits whose positions, cosines and relevance stand in one row."""
    return [
        GalleryQuery(position, [GalleryHit(*hit) for hit in zip(*hits, strict=True)])
        for position, *hits in zip(drawn, positions, scores, relevant, strict=True)
    ]
