"""Retrieval of a pool by unit vectors, or by any score: figures from what stands before the relevant items.

Shapes: Nq queries, Np pool, D embedding.

Ties are pessimistic: an irrelevant item that scores as high as a relevant one stands before it. A matrix product rounds
equal vectors differently in different columns, so "as high" for cosines means within `COSINE_TIE_TOLERANCE`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bind.metrics import tiles
from bind.metrics.cosine import COSINE_TIE_TOLERANCE, check_query_and_pool, check_unit, cosines, unit_fp32
from bind.metrics.ranking import Ranking

__all__ = ["check_unit", "rank_by_cosine", "rank_by_scores", "retrieval", "top_k"]

ScoreRows = Callable[[int, int], Tensor]
"""`score_rows(start, stop)` → (stop - start, Np) scores of these queries against the whole pool, higher is better."""

HiddenIds = tuple[Tensor, Tensor]
"""Integer ids (Nq,) and (Np,): a query's pool is without the items of its own id, such as itself or its owner's."""


def retrieval(
    z_query: Tensor,
    z_pool: Tensor,
    query_groups: Tensor,
    pool_groups: Tensor,
    ks: Sequence[int] = (1, 5, 10),
    *,
    hidden: HiddenIds | None = None,
    clusters: np.ndarray | None = None,
    pool_items: Tensor | None = None,
) -> dict[str, Any]:
    """Figures of queries (Nq, D) against a pool (Np, D) of unit vectors, as in `metrics.json`.

    A pool item is relevant to a query when their integer group ids (Nq,), (Np,) are equal. `R@k` is the share of
    queries with any relevant item among the first k, `recall@k` the mean share of a query's relevant items that are
    among the first k. Ties count against the query. Queries without a relevant item are left out and counted in
    `queries_without_relevant`. Works on the vectors' device, in fp32 whatever the surrounding autocast, in memory
    O(Nq + Np) beyond the vectors.

    Args:
        hidden: `(query_ids, pool_ids)`; items of a query's own id are not in its pool.
        clusters: (Nq,), queries of one cluster are resampled together for the intervals.
        pool_items: int64 (E,), where an item may be of several groups: the item of each of the E entries of
            `pool_groups`, every pair once; None: entry i is that of item i.

    Raises:
        ValueError: shapes that do not match, vectors that are not unit length or not finite, ids that are not
            integers, or no query with a relevant item.

    Examples:
        Groups say what belongs together: queries of groups `[0, 0, 1, 1]` and a pool of groups `[0, 1]` mean that the
        first two queries look for the first item of the pool, the other two for the second. Here the last query lies
        where the wrong item is.

        >>> z_pool = torch.eye(2)
        >>> z_query = z_pool[[0, 0, 1, 0]]
        >>> figures = retrieval(z_query, z_pool, torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1]), ks=(1,))
        >>> figures["R@1"], figures["chance_R@1"], figures["queries"], figures["pool"]
        (0.75, 0.5, 4, 2)
        >>> figures["mean_rank"], figures["mrr"]  # three first places and one second
        (1.25, 0.875)

        Groups of several items have several answers: with queries and pool of groups `[0, 0, 1, 1]` each query has two,
        one of which is enough for `R@1`, while `recall@1` asks for both.

        >>> z, groups = torch.eye(4)[[0, 0, 1, 1]], torch.tensor([0, 0, 1, 1])
        >>> figures = retrieval(z, z, groups, groups, ks=(1, 2))
        >>> figures["R@1"], figures["recall@1"], figures["recall@2"]
        (1.0, 0.5, 1.0)
    """
    ranking = rank_by_cosine(z_query, z_pool, query_groups, pool_groups, ks, hidden=hidden, pool_items=pool_items)
    return ranking.summary(clusters)


@torch.no_grad()
def rank_by_cosine(
    z_query: Tensor,
    z_pool: Tensor,
    query_groups: Tensor,
    pool_groups: Tensor,
    ks: Sequence[int] = (1, 5, 10),
    *,
    hidden: HiddenIds | None = None,
    pool_items: Tensor | None = None,
) -> Ranking:
    """Rank unit vectors by cosine, for results per query; arguments and errors as in `retrieval`."""
    check_query_and_pool(z_query, z_pool)
    _check_ids(len(z_query), len(z_pool), query_groups, pool_groups, hidden, pool_items)
    device = z_pool.device
    pool_items = None if pool_items is None else pool_items.to(device)
    query_groups, query_order = query_groups.to(device).sort(stable=True)
    if hidden is not None:
        hidden = hidden[0].to(device)[query_order], hidden[1].to(device)
    relevance = tiles.Relevance.of(query_groups, pool_groups.to(device), hidden, pool_items)
    _check_any_relevant(relevance)
    scores = tiles.CosineScores(z_query, query_order, z_pool, relevance)
    counted = tiles.count_places(scores, relevance, _depths(ks), COSINE_TIE_TOLERANCE)
    unsorted = query_order.argsort()
    return _make_ranking({name: x[unsorted] for name, x in counted.items()}, relevance, unsorted, ks)


@torch.no_grad()
def rank_by_scores(
    score_rows: ScoreRows,
    num_queries: int,
    query_groups: Tensor,
    pool_groups: Tensor,
    ks: Sequence[int] = (1, 5, 10),
    *,
    tie_tolerance: float = 0.0,
    hidden: HiddenIds | None = None,
    pool_items: Tensor | None = None,
) -> Ranking:
    """Rank by any score that comes in tiles of rows; -inf stands for "no score", the last place.

    `tie_tolerance`: scores this close are tied. Where scores are sums of w × cosine, pass the sum of the weights times
    `COSINE_TIE_TOLERANCE`; where equal items have exactly equal scores, 0.

    Raises:
        ValueError: wrong shapes, NaN scores, ids that are not integers, or no query with a relevant item.
    """
    num_pool = len(pool_groups) if pool_items is None else int(pool_items.max()) + 1
    _check_ids(num_queries, num_pool, query_groups, pool_groups, hidden, pool_items)
    relevance = tiles.Relevance.of(query_groups, pool_groups, hidden, pool_items)
    _check_any_relevant(relevance)
    rows_at_once = max(1, tiles.SCORES_AT_ONCE // num_pool)
    scores = tiles.RowScores(score_rows, relevance)
    counted = tiles.count_places(scores, relevance, _depths(ks), tie_tolerance, rows_at_once)
    return _make_ranking(counted, relevance, torch.arange(num_queries, device=pool_groups.device), ks)


@torch.no_grad()
def top_k(z_query: Tensor, z_pool: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` best pool items of a few queries: cosines and int64 positions, (Nq, k) each; ties in pool order.

    Raises:
        ValueError: vectors as in `retrieval`, or `k` outside 1 … Np.
    """
    check_query_and_pool(z_query, z_pool)
    if not 1 <= k <= len(z_pool):
        raise ValueError(f"k must lie between 1 and the pool size {len(z_pool)}, got {k}")
    z_query, z_pool = unit_fp32(z_query), unit_fp32(z_pool)
    best = [cosines(row[None], z_pool)[0].sort(descending=True, stable=True) for row in z_query]
    return torch.stack([s.values[:k] for s in best]), torch.stack([s.indices[:k] for s in best])


def _check_ids(
    num_queries: int,
    num_pool: int,
    query_groups: Tensor,
    pool_groups: Tensor,
    hidden: HiddenIds | None,
    pool_items: Tensor | None,
) -> None:
    named = [("query_groups", query_groups, num_queries)]
    if pool_items is None:
        named += [("pool_groups", pool_groups, num_pool)]
    else:
        named += [("pool_groups", pool_groups, len(pool_items)), ("pool_items", pool_items, len(pool_groups))]
        if not len(pool_items) or int(pool_items.min()) < 0 or int(pool_items.max()) != num_pool - 1:
            raise ValueError(f"pool_items must name items 0 to {num_pool - 1} of the pool")
    if hidden is not None:
        named += [("hidden[0]", hidden[0], num_queries), ("hidden[1]", hidden[1], num_pool)]
    for name, ids, expected in named:
        if ids.shape != (expected,) or ids.is_floating_point() or ids.is_complex():
            raise ValueError(
                f"{name} must be integer ids, one for each of the {expected} vectors, "
                f"got {ids.dtype} of shape {tuple(ids.shape)}"
            )


def _depths(ks: Sequence[int]) -> tuple[int, ...]:
    if not ks or min(ks) < 1:
        raise ValueError(f"ks must be one or more positive integers, got {tuple(ks)}")
    return tuple(ks)


def _check_any_relevant(relevance: tiles.Relevance) -> None:
    if not bool(relevance.num_Q.any()):
        raise ValueError(
            f"none of the {len(relevance.num_Q)} queries has an item of its group in the pool of "
            f"{len(relevance.order_N)}"
        )


def _make_ranking(counted: dict[str, Tensor], relevance: tiles.Relevance, order: Tensor, ks: Sequence[int]) -> Ranking:
    """Queries that have something relevant; `order` puts what `relevance` knows of them into the order of `counted`."""
    kept = counted["num_relevant"].nonzero().flatten()
    if not len(kept):
        raise ValueError("all that is relevant is hidden from the queries: check hidden=(query_ids, pool_ids)")
    num_pool = torch.full_like(counted["num_relevant"], len(relevance.order_N))
    if relevance.hidden_num_Q is not None:
        num_pool -= relevance.hidden_num_Q[order]
    return Ranking(
        ks=tuple(ks),
        queries_Q=kept,
        ranks_Q=counted["ranks"][kept],
        average_precision_Q=counted["average_precision"][kept],
        ndcg_Q=counted["ndcg"][kept],
        num_found_QK=counted["num_found"][kept],
        num_relevant_Q=counted["num_relevant"][kept],
        num_pool_Q=num_pool[kept],
        num_queries=len(order),
    )
