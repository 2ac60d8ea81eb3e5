"""Rankings of one modality's pool for another's queries, by embeddings or by the scores of a late fusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bind.evaluation.fused import stack_inputs
from bind.evaluation.queries import Items, items_at
from bind.evaluation.relevance import Holders, relevance_ids
from bind.evaluation.split import Evaluation
from bind.fusion.late import LateFusion
from bind.metrics import COSINE_TIE_TOLERANCE, Ranking, rank_by_cosine, rank_by_scores
from bind.types import Modality


@dataclass(frozen=True)
class RankedSide:
    """The queries or the pool of a ranking: their items, and their positions among the vectors of their modality.

    `positions` is None where each item is made of several modalities.
    """

    items: Items
    positions: Tensor | None


def rank_pair(evaluation: Evaluation, query: Modality, pool: Modality) -> tuple[Ranking, RankedSide, RankedSide]:
    """Rank every distinct pool value for every query; relevant are those of the query's groups."""
    split, fusion = evaluation.split, evaluation.binder.fusion
    if isinstance(fusion, LateFusion) and fusion.name in (query, pool):
        return rank_late(evaluation, fusion, query, pool)
    query_rows, pool_rows = split.query_and_pool_rows(query, pool, one_per_group=evaluation.one_per_group)
    query_side, pool_side = (
        RankedSide(items_at(split, m, positions), positions)
        for m, positions in ((query, query_rows), (pool, pool_rows))
    )
    query_groups, pool_groups, entry_items = relevance_ids(
        split.holders(query, query_rows), split.holders(pool, pool_rows, one_per_group=evaluation.one_per_group)
    )
    z_query, z_pool = split.vectors(query, query_rows), split.vectors(pool, pool_rows)
    ranking = rank_by_cosine(z_query, z_pool, query_groups, pool_groups, pool_items=entry_items)
    return ranking.cpu(), query_side, pool_side


def rank_late(
    evaluation: Evaluation, fusion: LateFusion, query: Modality, pool: Modality
) -> tuple[Ranking, RankedSide, RankedSide]:
    """Rank by combined scores: the side that is the fusion has the vectors of its inputs, the other its own."""
    split, one_per_group = evaluation.split, evaluation.one_per_group

    def side(
        modality: Modality, rows: Tensor | None, keep_N: Tensor, *, is_pool: bool
    ) -> tuple[dict[Modality, Tensor], dict[Modality, Tensor], RankedSide, Holders]:
        if rows is None:
            z, present, sample_rows = stack_inputs(split, fusion.inputs, keep_N)
            items = Items(sample_rows.numpy(), np.zeros(len(sample_rows), dtype=np.int64))
            z, present = ({m: x.to(split.device) for m, x in of_inputs.items()} for of_inputs in (z, present))
            return z, present, RankedSide(items, None), Holders.distinct(split.group_ids_N[sample_rows])
        return (
            {modality: split.vectors(modality, rows)},
            {modality: torch.ones(len(rows), dtype=torch.bool, device=split.device)},
            RankedSide(items_at(split, modality, rows), rows),
            split.holders(modality, rows, one_per_group=one_per_group and is_pool),
        )

    is_query_N, in_pool_N = evaluation.query_and_pool_masks(pool)
    of_pool = evaluation.inputs_of(pool)
    query_rows = None if query == fusion.name else split.query_rows(query, of_pool, one_per_group=one_per_group)
    pool_rows = None if pool == fusion.name else split.pool_rows(pool, one_per_group=one_per_group)
    z_q, present_q, query_side, query_holders = side(query, query_rows, is_query_N, is_pool=False)
    z_p, present_p, pool_side, pool_holders = side(pool, pool_rows, in_pool_N, is_pool=True)
    query_groups, pool_groups, entry_items = relevance_ids(query_holders, pool_holders)

    def score_rows(start: int, stop: int) -> Tensor:
        tile = {m: z[start:stop] for m, z in z_q.items()}
        return fusion.scores(tile, z_p, {m: p[start:stop] for m, p in present_q.items()}, present_p)

    ranking = rank_by_scores(
        score_rows,
        len(query_groups),
        query_groups.to(split.device),
        pool_groups.to(split.device),
        pool_items=None if entry_items is None else entry_items.to(split.device),
        tie_tolerance=COSINE_TIE_TOLERANCE if fusion.method == "sum" else 0.0,
    )
    return ranking.cpu(), query_side, pool_side
