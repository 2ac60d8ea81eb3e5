"""Retrieval figures by counting what stands before the relevant items; no Nq × Np matrix is ever held.

Shapes: Nq queries, Np pool, D embedding, Q queries of one tile, R relevant items of one query.

Ties are pessimistic: an irrelevant item that scores as high as a relevant one stands before it. A matrix product rounds
equal vectors differently in different columns, so "as high" for cosines means within `COSINE_TIE_TOLERANCE`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from bind.metrics.bootstrap import bootstrap_ci

COSINE_TIE_TOLERANCE = 1e-6
"""Cosines closer than this are tied. In fp32 one ulp below 1 is 6e-8, and the product of a query with copies of one
vector (D = 64 … 2048) was seen to spread over up to 5.4e-7, depending on the copy's column and the tile's shape."""

_UNIT_TOLERANCE = 4e-3  # two roundings to bfloat16; such vectors are normalised again in fp32
_SCORES_AT_ONCE = 1 << 22  # per tile, or one row of the pool where that is more

ScoreRows = Callable[[int, int], Tensor]
"""`score_rows(start, stop)` → (stop - start, Np) scores of these queries against the whole pool, higher is better."""


@dataclass(frozen=True)
class Ranking:
    """Where the relevant items stand, per query; the Q queries with no relevant item in the pool are left out.

    Attributes:
        queries_Q: int64 (Q,), positions in the queries that were given.
        ranks_Q: int64 (Q,), rank of the best relevant item, 1 is the top.
        average_precision_Q: float64 (Q,), over all relevant items of the query.
        num_relevant_Q: int64 (Q,), relevant items in the pool.
        num_queries: queries that were given.
        num_pool: candidates, Np.
    """

    queries_Q: Tensor
    ranks_Q: Tensor
    average_precision_Q: Tensor
    num_relevant_Q: Tensor
    num_queries: int
    num_pool: int

    def hits(self, k: int) -> np.ndarray:
        """float64 (Q,): 1 where a relevant item stands among the first `k`, else 0."""
        return (self.ranks_Q <= k).double().cpu().numpy()

    def chance(self, k: int) -> float:
        """Expected R@k of a random order: the mean over queries of 1 - C(Np - R, k) / C(Np, k)."""
        counts, weights = np.unique(self.num_relevant_Q.cpu().numpy(), return_counts=True)
        miss = np.ones(len(counts))
        for drawn in range(min(k, self.num_pool)):
            miss *= np.clip((self.num_pool - counts - drawn) / (self.num_pool - drawn), 0, 1)
        return float(np.average(1 - miss, weights=weights))

    def summary(self, ks: Sequence[int] = (1, 5, 10), *, num_resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
        """The figures of `metrics.json`, plain numbers: recall, median rank, MRR, mAP, chance and the R@1 interval.

        With k at or beyond the pool size R@k is 1 by definition, and `chance_R@k` beside it is 1 as well.
        """
        if not ks or min(ks) < 1:
            raise ValueError(f"ks must be one or more positive integers, got {tuple(ks)}")
        ranks = self.ranks_Q.double().cpu().numpy()
        figures: dict[str, Any] = {f"R@{k}": float(self.hits(k).mean()) for k in ks}
        figures |= {
            "median_rank": float(np.median(ranks)),
            "mrr": float((1 / ranks).mean()),
            "map": float(self.average_precision_Q.mean()),
            "queries": len(ranks),
            "queries_without_relevant": self.num_queries - len(ranks),
            "pool": self.num_pool,
            "ci95_R@1": list(bootstrap_ci(self.hits(1), num_resamples=num_resamples, seed=seed)),
        }
        return figures | {f"chance_R@{k}": self.chance(k) for k in sorted({1, *ks})}


def retrieval(
    z_query: Tensor, z_pool: Tensor, query_groups: Tensor, pool_groups: Tensor, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, Any]:
    """Any-hit R@k, median rank, MRR and mAP of queries (Nq, D) against a pool (Np, D) of unit vectors.

    A pool item is relevant to a query when their integer group ids (Nq,), (Np,) are equal. Ties count against the
    query. Queries without a relevant item are left out and counted in `queries_without_relevant`. Works on the vectors'
    device, in fp32 whatever the surrounding autocast, in memory O((Nq + Np) D).

    Raises:
        ValueError: shapes that do not match, vectors that are not unit length or not finite, group ids that are not
            integers, or no query with a relevant item.
    """
    return rank_by_cosine(z_query, z_pool, query_groups, pool_groups).summary(ks)


def retrieval_from_scores(
    score_rows: ScoreRows,
    num_queries: int,
    query_groups: Tensor,
    pool_groups: Tensor,
    ks: Sequence[int] = (1, 5, 10),
    *,
    tie_tolerance: float = 0.0,
) -> dict[str, Any]:
    """The figures of `retrieval` for any score, such as a late fusion of several modalities (see `rank_by_scores`)."""
    return rank_by_scores(score_rows, num_queries, query_groups, pool_groups, tie_tolerance=tie_tolerance).summary(ks)


def rank_by_cosine(z_query: Tensor, z_pool: Tensor, query_groups: Tensor, pool_groups: Tensor) -> Ranking:
    """Rank unit vectors by cosine; arguments and errors as in `retrieval`, per-query results for whoever needs them."""
    z_query, z_pool = _checked(z_query, z_pool)
    return rank_by_scores(
        lambda start, stop: _cosines(z_query[start:stop], z_pool),
        len(z_query),
        query_groups.to(z_pool.device),
        pool_groups.to(z_pool.device),
        tie_tolerance=COSINE_TIE_TOLERANCE,
    )


@torch.no_grad()
def rank_by_scores(
    score_rows: ScoreRows, num_queries: int, query_groups: Tensor, pool_groups: Tensor, *, tie_tolerance: float = 0.0
) -> Ranking:
    """Rank by any score that comes in tiles of rows; -inf stands for "no score", the last place.

    `tie_tolerance`: scores this close are tied. Where scores are sums of w × cosine, pass the sum of the weights times
    `COSINE_TIE_TOLERANCE`; where equal items have exactly equal scores, 0.

    Raises:
        ValueError: wrong shapes, NaN scores, group ids that are not integers, or no query with a relevant item.
    """
    num_pool = len(pool_groups)
    for name, groups, expected in (("query_groups", query_groups, num_queries), ("pool_groups", pool_groups, num_pool)):
        if groups.shape != (expected,) or groups.is_floating_point() or groups.is_complex():
            found = f"{groups.dtype} of shape {tuple(groups.shape)}"
            raise ValueError(f"{name} must be integer ids, one for each of the {expected} vectors, got {found}")
    sorted_groups, order = pool_groups.sort()
    first = torch.searchsorted(sorted_groups, query_groups)
    num_relevant = torch.searchsorted(sorted_groups, query_groups, right=True) - first
    if not bool(num_relevant.any()):
        raise ValueError(f"none of the {num_queries} queries has an item of its group in the pool of {num_pool}")

    ranks, precisions = [], []
    step = max(1, _SCORES_AT_ONCE // num_pool)
    for start in range(0, num_queries, step):
        stop = min(start + step, num_queries)
        scores = score_rows(start, stop)
        if scores.shape != (stop - start, num_pool):
            raise ValueError(f"score_rows({start}, {stop}) gave {tuple(scores.shape)}, not {(stop - start, num_pool)}")
        if bool(scores.isnan().any()):
            raise ValueError(
                f"score_rows({start}, {stop}) gave NaN: check the embeddings of these queries and the pool"
            )
        tile_ranks, tile_precisions = _rank_tile(
            scores.to(torch.promote_types(scores.dtype, torch.float32)),
            first[start:stop],
            num_relevant[start:stop],
            order,
            tie_tolerance,
        )
        ranks.append(tile_ranks)
        precisions.append(tile_precisions)
    kept = num_relevant.nonzero().flatten()
    return Ranking(
        queries_Q=kept,
        ranks_Q=torch.cat(ranks)[kept],
        average_precision_Q=torch.cat(precisions)[kept],
        num_relevant_Q=num_relevant[kept],
        num_queries=num_queries,
        num_pool=num_pool,
    )


@torch.no_grad()
def top_k(z_query: Tensor, z_pool: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` best pool items of a few queries: cosines and int64 positions, (Nq, k) each; ties in pool order.

    Raises:
        ValueError: vectors as in `retrieval`, or `k` outside 1 … Np.
    """
    z_query, z_pool = _checked(z_query, z_pool)
    if not 1 <= k <= len(z_pool):
        raise ValueError(f"k must lie between 1 and the pool size {len(z_pool)}, got {k}")
    best = [_cosines(row[None], z_pool)[0].sort(descending=True, stable=True) for row in z_query]
    return torch.stack([s.values[:k] for s in best]), torch.stack([s.indices[:k] for s in best])


def check_unit(name: str, z: Tensor) -> None:
    """ValueError unless `z` is a non-empty (N, D) floating-point tensor of unit vectors."""
    if z.ndim != 2 or len(z) == 0 or not z.is_floating_point():
        raise ValueError(f"{name} must be floating-point vectors (N, D) with N > 0, got {z.dtype} {tuple(z.shape)}")
    norms = torch.linalg.vector_norm(z, dim=-1, dtype=torch.float32)
    wrong = (~((norms - 1).abs() <= _UNIT_TOLERANCE)).nonzero().flatten()  # NaN compares false
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"{name}: {len(wrong)} of {len(z)} vectors are not of unit length; row {row} has "
            f"norm {float(norms[row]):.6g}: normalise them (torch.nn.functional.normalize), or find what made them NaN"
        )


def _checked(z_query: Tensor, z_pool: Tensor) -> tuple[Tensor, Tensor]:
    check_unit("z_query", z_query)
    check_unit("z_pool", z_pool)
    if z_query.shape[1] != z_pool.shape[1] or z_query.device != z_pool.device:
        raise ValueError(
            "z_query and z_pool must have one dimension and one device, got "
            f"{z_query.shape[1]} on {z_query.device} and {z_pool.shape[1]} on {z_pool.device}"
        )
    return normalize(z_query.detach().float(), dim=-1), normalize(z_pool.detach().float(), dim=-1)


def _cosines(z_query: Tensor, z_pool: Tensor) -> Tensor:
    with torch.autocast(z_pool.device.type, enabled=False), _full_fp32():
        return z_query @ z_pool.T


@contextmanager
def _full_fp32() -> Iterator[None]:
    """No TF32 or bf16 inside matrix products, whatever the trainer allowed: their rounding is larger than real gaps."""
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def _rank_tile(
    scores_QN: Tensor, first_Q: Tensor, num_relevant_Q: Tensor, order_N: Tensor, tie_tolerance: float
) -> tuple[Tensor, Tensor]:
    """Best rank (Q,) and average precision (Q,) of a tile; a query's relevant items are order_N[first:][:num_relevant].

    For each relevant item count all scores that reach it (one binary search per score among the R bars of its row, then
    a histogram), and take off the relevant ones among them: no sort of the pool.
    """
    num_queries, max_relevant = len(scores_QN), max(1, int(num_relevant_Q.max()))
    slot_R = torch.arange(max_relevant, device=scores_QN.device)
    real_QR = slot_R < num_relevant_Q[:, None]
    columns_QR = order_N[(first_Q[:, None] + slot_R).clamp(max=len(order_N) - 1)]
    relevant_QR = scores_QN.gather(1, columns_QR).masked_fill(~real_QR, torch.inf)
    relevant_QR = relevant_QR.sort(dim=1).values  # ascending, padding last
    bars_QR = relevant_QR - tie_tolerance

    def num_reaching(scores: Tensor) -> Tensor:
        num_bars = torch.searchsorted(bars_QR, scores, right=True)
        num_bars += torch.arange(num_queries, device=scores.device)[:, None] * (max_relevant + 1)
        histogram = torch.bincount(num_bars.flatten(), minlength=num_queries * (max_relevant + 1))
        at_least = histogram.view(num_queries, -1).flip(1).cumsum(1).flip(1)
        return at_least[:, 1:]  # column j: scores that reach bar j

    # Padding reaches every bar of its row: take it off. Only real bars are read below.
    relevant_ahead_QR = num_reaching(relevant_QR) - (max_relevant - num_relevant_Q)[:, None]
    ahead_QR = num_reaching(scores_QN.contiguous()) - relevant_ahead_QR
    place_QR = num_relevant_Q[:, None] - slot_R  # ascending order: slot 0 is the last of the relevant items
    precision_QR = (place_QR.double() / (place_QR + ahead_QR)).masked_fill(~real_QR, 0)
    best_Q = (num_relevant_Q - 1).clamp(min=0)
    ranks_Q = 1 + ahead_QR.gather(1, best_Q[:, None])[:, 0]
    return ranks_Q, precision_QR.sum(1) / num_relevant_Q.clamp(min=1)
