"""Every query of one modality against every pool item of another, by embeddings or by the scores of a late fusion."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bind.evaluation.fused import stacked
from bind.evaluation.queries import Items, items
from bind.evaluation.split import Evaluation
from bind.fusion.late import LateFusion
from bind.metrics import COSINE_TIE_TOLERANCE, Ranking, rank_by_cosine, rank_by_scores
from bind.types import Modality


def rank_pair(evaluation: Evaluation, query: Modality, pool: Modality) -> tuple[Ranking, Items, Items]:
    """Every query against every pool item; relevant are those of the query's group."""
    split, fusion = evaluation.split, evaluation.binder.fusion
    if isinstance(fusion, LateFusion) and fusion.name in (query, pool):
        return rank_late(evaluation, fusion, query, pool)
    asking, asked = split.query_and_pool_rows(query, pool, one_per_group=evaluation.one_per_group)
    query_items, pool_items = items(split, query, asking), items(split, pool, asked)
    groups = split.group_ids_N
    ranking = rank_by_cosine(
        split.z[query][asking], split.z[pool][asked], groups[query_items.rows], groups[pool_items.rows]
    )
    return ranking, query_items, pool_items


def rank_late(
    evaluation: Evaluation, fusion: LateFusion, query: Modality, pool: Modality
) -> tuple[Ranking, Items, Items]:
    """Ranking by combined scores: the side named like the fusion has all of its inputs, the other has itself."""
    split, one_per_group = evaluation.split, evaluation.one_per_group

    def side(name: Modality, positions: Tensor | None, keep_N: Tensor) -> tuple[dict, dict, Items]:
        if positions is None:
            z, present, rows = stacked(split, fusion.inputs, keep_N)
            return z, present, Items(rows.numpy(), np.zeros(len(rows), dtype=np.int64))
        return (
            {name: split.z[name][positions]},
            {name: torch.ones(len(positions), dtype=torch.bool)},
            items(split, name, positions),
        )

    asks_N, pool_N = evaluation.query_and_pool_rows(pool)
    of_pool = evaluation.inputs_of(pool)
    asking = None if query == fusion.name else split.query_rows(query, of_pool, one_per_group=one_per_group)
    asked = None if pool == fusion.name else split.pool_rows(pool, one_per_group=one_per_group)
    z_q, present_q, query_items = side(query, asking, asks_N)
    z_p, present_p, pool_items = side(pool, asked, pool_N)

    def score_rows(start: int, stop: int) -> Tensor:
        tile = {m: z[start:stop] for m, z in z_q.items()}
        return fusion.scores(tile, z_p, {m: p[start:stop] for m, p in present_q.items()}, present_p)

    ranking = rank_by_scores(
        score_rows,
        len(query_items.rows),
        split.group_ids_N[query_items.rows],
        split.group_ids_N[pool_items.rows],
        tie_tolerance=COSINE_TIE_TOLERANCE if fusion.method == "sum" else 0.0,
    )
    return ranking, query_items, pool_items
