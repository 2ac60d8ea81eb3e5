"""A ranking of a pool for each query: where the relevant items stand, and figures with intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from bind.metrics.bootstrap import interval, resampled_means, resampled_medians, share_interval


@dataclass(frozen=True)
class Ranking:
    """Where the relevant items stand, per query; queries with no relevant item in their pool are left out.

    Attributes:
        ks: the K depths of `num_found_QK`.
        queries_Q: int64 (Q,), positions among all queries.
        ranks_Q: int64 (Q,), place of the best relevant item, 1 is the top.
        average_precision_Q: float64 (Q,), over all relevant items of the query.
        ndcg_Q: float64 (Q,), over the whole ranking, gains of 0 and 1.
        num_found_QK: int64 (Q, K), relevant items among the first k.
        num_relevant_Q: int64 (Q,), relevant items in the query's pool.
        num_pool_Q: int64 (Q,), candidates: the pool less what is hidden from the query.
        num_queries: all queries, also those without a relevant item.
    """

    ks: tuple[int, ...]
    queries_Q: Tensor
    ranks_Q: Tensor
    average_precision_Q: Tensor
    ndcg_Q: Tensor
    num_found_QK: Tensor
    num_relevant_Q: Tensor
    num_pool_Q: Tensor
    num_queries: int

    def cpu(self) -> Ranking:
        """The same ranking, its tensors on the CPU."""
        tensors: dict[str, Any] = {name: x.cpu() for name, x in vars(self).items() if isinstance(x, Tensor)}
        return replace(self, **tensors)

    def hits(self, k: int) -> np.ndarray:
        """float64 (Q,): 1 where a relevant item stands among the first `k`, else 0."""
        return (self.ranks_Q <= k).double().cpu().numpy()

    def per_query(self) -> dict[str, np.ndarray]:
        """Figure → float64 (Q,) whose mean is the figure; `mean_rank` holds the ranks."""
        ranks = self.ranks_Q.double().cpu().numpy()
        recall_QK = (self.num_found_QK.double() / self.num_relevant_Q[:, None]).cpu().numpy()
        return {
            **{f"R@{k}": self.hits(k) for k in self.ks},
            **{f"recall@{k}": recall_QK[:, column] for column, k in enumerate(self.ks)},
            "mean_rank": ranks,
            "mrr": 1 / ranks,
            "map": self.average_precision_Q.cpu().numpy(),
            "ndcg": self.ndcg_Q.cpu().numpy(),
        }

    def chance(self, k: int) -> float:
        """Expected R@k of a random order: the mean over queries of 1 - C(Np - R, k) / C(Np, k)."""
        sizes, weights = np.unique(
            np.stack([self.num_relevant_Q.cpu().numpy(), self.num_pool_Q.cpu().numpy()]), axis=1, return_counts=True
        )
        num_relevant, num_pool = sizes
        miss = np.ones(len(weights))
        for drawn in range(min(k, int(num_pool.max()))):
            miss *= np.clip((num_pool - num_relevant - drawn) / np.maximum(num_pool - drawn, 1), 0, 1)
        return float(np.average(1 - miss, weights=weights))

    def summary(
        self, clusters: np.ndarray | None = None, *, num_resamples: int = 1000, seed: int = 0
    ) -> dict[str, Any]:
        """The figures of `metrics.json`, plain numbers: each with chance or its 95 % bootstrap interval beside it.

        `clusters` (num_queries,), of any type: queries of one cluster are resampled together; without it each alone.
        Without resamples there are no intervals.
        With k at or beyond the pool size R@k is 1 by definition, and `chance_R@k` beside it is 1 as well.
        """
        per_query = self.per_query()
        ranks = per_query["mean_rank"]
        names_Q = np.arange(len(ranks)) if clusters is None else np.asarray(clusters)[self.queries_Q.cpu().numpy()]
        names, cluster_Q = np.unique(names_Q, return_inverse=True)
        draws = {"num_clusters": len(names), "num_resamples": num_resamples, "seed": seed}
        figures: dict[str, Any] = {name: float(values.mean()) for name, values in per_query.items()}
        bounds: dict[str, tuple[float, float]] = {}
        if num_resamples:
            means_BM = resampled_means(np.stack(list(per_query.values()), axis=1), cluster_Q, **draws)
            by_definition = {f"{kind}@{k}" for kind in ("R", "recall") for k in self.ks if k >= self.num_pool_Q.max()}
            bounds = {
                name: interval(draws_B, len(names))
                if name == "mean_rank" or name in by_definition
                else share_interval(draws_B, figures[name], len(ranks), len(names))
                for name, draws_B in zip(per_query, means_BM.T, strict=True)
            }
            bounds["median_rank"] = interval(resampled_medians(ranks, cluster_Q, **draws), len(names))
        figures |= {
            "median_rank": float(np.median(ranks)),
            "queries": len(ranks),
            "queries_without_relevant": self.num_queries - len(ranks),
            "pool": int(self.num_pool_Q.max()),
            "resampled": "queries" if clusters is None else "clusters",
            "clusters": len(names),
        }
        figures |= {f"ci95_{name}": list(ends) for name, ends in bounds.items()}
        return figures | {f"chance_R@{k}": self.chance(k) for k in sorted({1, *self.ks})}
