"""Rankings of one modality's pool for another's queries, by embeddings or by the scores of a late fusion."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bind.evaluation.fused import stack_inputs
from bind.evaluation.queries import Items, items_at
from bind.evaluation.split import Evaluation
from bind.fusion.late import LateFusion
from bind.metrics import COSINE_TIE_TOLERANCE, Ranking, rank_by_cosine, rank_by_scores
from bind.types import Modality


def rank_pair(evaluation: Evaluation, query: Modality, pool: Modality) -> tuple[Ranking, Items, Items]:
    """Rank every pool item for every query; relevant are those of the query's group."""
    split, fusion = evaluation.split, evaluation.binder.fusion
    if isinstance(fusion, LateFusion) and fusion.name in (query, pool):
        return rank_late(evaluation, fusion, query, pool)
    query_rows, pool_rows = split.query_and_pool_rows(query, pool, one_per_group=evaluation.one_per_group)
    query_items, pool_items = items_at(split, query, query_rows), items_at(split, pool, pool_rows)
    groups = split.group_ids_N
    ranking = rank_by_cosine(
        split.z[query][query_rows], split.z[pool][pool_rows], groups[query_items.rows], groups[pool_items.rows]
    )
    return ranking, query_items, pool_items


def rank_late(
    evaluation: Evaluation, fusion: LateFusion, query: Modality, pool: Modality
) -> tuple[Ranking, Items, Items]:
    """Rank by combined scores: the side that is the fusion has the vectors of its inputs, the other its own."""
    split, one_per_group = evaluation.split, evaluation.one_per_group

    def side(
        modality: Modality, rows: Tensor | None, keep_N: Tensor
    ) -> tuple[dict[Modality, Tensor], dict[Modality, Tensor], Items]:
        if rows is None:
            z, present, sample_rows = stack_inputs(split, fusion.inputs, keep_N)
            return z, present, Items(sample_rows.numpy(), np.zeros(len(sample_rows), dtype=np.int64))
        return (
            {modality: split.z[modality][rows]},
            {modality: torch.ones(len(rows), dtype=torch.bool)},
            items_at(split, modality, rows),
        )

    is_query_N, in_pool_N = evaluation.query_and_pool_masks(pool)
    of_pool = evaluation.inputs_of(pool)
    query_rows = None if query == fusion.name else split.query_rows(query, of_pool, one_per_group=one_per_group)
    pool_rows = None if pool == fusion.name else split.pool_rows(pool, one_per_group=one_per_group)
    z_q, present_q, query_items = side(query, query_rows, is_query_N)
    z_p, present_p, pool_items = side(pool, pool_rows, in_pool_N)

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
