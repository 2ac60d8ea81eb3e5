"""Queries: words, files and values of one or several modalities become the vectors that a pool is asked with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bind.fusion.inputs import check_weights
from bind.model.binder import Binder
from bind.search.pools import Pool
from bind.search.query_values import require_queries
from bind.types import Modality

Fusion = Literal["early", "late"]
Query = str | Mapping[Modality, Any]
"""A text, or modality → text, file or value."""


def embed_query(binder: Binder, query: Query, where: str) -> dict[Modality, Tensor]:
    """Modality → unit vector (1, D) of one query.

    Raises:
        ValueError: for an empty query, a modality that the binder lacks, or a file that can't be read.
    """
    values = {"text": query} if isinstance(query, str | Path) else dict(query)
    require_queries(values, binder.modalities, where)
    return {m: binder.embed(m, [value]).float().cpu() for m, value in values.items()}


def require_vectors(vectors: Mapping[Modality, Tensor], dim: int, where: str) -> dict[Modality, Tensor]:
    """Vectors of queries as unit vectors (Q, D) fp32 on the CPU; ValueError for those of another length, or of none."""
    checked = {}
    for name, tensor in vectors.items():
        z = torch.as_tensor(tensor).detach().float().cpu()
        z = z[None] if z.ndim == 1 else z
        if z.ndim != 2 or z.shape[1] != dim:
            raise ValueError(f"{where}: holds vectors of length {dim}, the query's have the shape {tuple(z.shape)}")
        if not bool((z.norm(dim=1) > 0).all()) or not bool(torch.isfinite(z).all()):
            raise ValueError(f"the {name} query has a vector that is not finite, or zero")
        checked[name] = normalize(z, dim=1)
    if len({len(z) for z in checked.values()}) != 1:
        raise ValueError(f"queries of {', '.join(checked)} differ in number; give one of each modality per query")
    return checked


class QueryVectors:
    """Several vectors per query, and how they are made one for a pool.

    Args:
        vectors: modality → unit vectors (Q, D).
        fusion: `early`: their weighted sum is asked with. `late`: each is asked with, and the scores, standardised by
            the mean and the spread of each one's scores in the pool, are summed with their weights.
        weights: modality → weight, 1 where it is not named.
        is_standardised: whether late fusion standardises; where it does not, it ranks as early fusion does.

    Raises:
        ValueError: for a fusion that there is not, or weights that are not above 0 or of no query.
    """

    def __init__(
        self,
        vectors: Mapping[Modality, Tensor],
        fusion: Fusion = "early",
        weights: Mapping[str, float] | None = None,
        *,
        is_standardised: bool = True,
    ) -> None:
        if fusion not in ("early", "late"):
            raise ValueError(f"fusion={fusion}: choose early or late")
        if any(not math.isfinite(weight) for weight in (weights or {}).values()):
            raise ValueError(f"weights={dict(weights or {})}: give numbers above 0")
        self.vectors, self.fusion, self.is_standardised = dict(vectors), fusion, is_standardised
        self.weights = check_weights(list(vectors), weights)

    def for_pool(self, pool: Pool) -> Tensor:
        """The vectors (Q, D) that a pool is scanned with.

        A standardised score is linear in the vector of the pool, so a weighted sum of them is the product with one sum
        of the queries, each divided by the spread of its scores: one exact scan ranks by it.
        """
        if len(self.vectors) == 1:
            return next(iter(self.vectors.values()))
        total = torch.zeros_like(next(iter(self.vectors.values())))
        for modality, z_QD in self.vectors.items():
            spread_Q = torch.ones(len(z_QD))
            if self.fusion == "late" and self.is_standardised:
                _, spread_Q = pool.score_spread(z_QD)
            total += self.weights[modality] * z_QD / spread_Q[:, None]
        return normalize(total, dim=1, eps=1e-6)

    def mean_score(self) -> Tensor:
        """What a vector is multiplied by for the weighted mean (Q, D) of its cosines with the queries."""
        if len(self.vectors) > 1 and self.fusion == "early":
            return normalize(
                sum((self.weights[m] * z for m, z in self.vectors.items()), torch.zeros(1)), dim=1, eps=1e-6
            )
        sum_of_weights = sum(self.weights.values())
        return sum((self.weights[m] / sum_of_weights * z for m, z in self.vectors.items()), torch.zeros(1))
