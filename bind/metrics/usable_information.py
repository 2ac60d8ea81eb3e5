"""Usable information: how many bits an embedding holds about which pool item belongs to it.

Shapes: Nq queries, Np pool, D embedding, Q queries of a tile, K candidate scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bind.metrics.cosine import check_query_and_pool, cosines, unit_fp32

SCALES = (0.0, *(2.0 ** (eighth / 8) for eighth in range(-16, 57)))
"""What the cosine may be multiplied by: 0, which ignores the query, then 0.25 to 128 in steps of 9 %."""

_LOGITS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class UsableInformation:
    """`bits_Q` of each query that has a relevant item; `queries_Q` are their positions among those that were given."""

    bits_Q: Tensor
    queries_Q: Tensor
    scales: tuple[float, float]

    @property
    def bits(self) -> float:
        """The mean over queries."""
        return float(self.bits_Q.mean())


@torch.no_grad()
def usable_information(z_query: Tensor, z_pool: Tensor, query_groups: Tensor, pool_groups: Tensor) -> UsableInformation:
    """Usable information of unit vectors (Nq, D) about their place in a pool of unit vectors (Np, D), in bits.

    A query with R relevant items (equal integer groups) is worth log2(Np / R) bits of surprise to who guesses, and
    -log2 of the probability of all its relevant items together to who takes the softmax of `scale` · cosine over the
    pool; the difference is the usable information. With one relevant item each it is InfoNCE's bound in bits, so at
    most log2(Np), and never far below 0: the scale, one number, is chosen among `SCALES` as the best for the other
    half of the groups, never for the query's own, and 0 ignores the query. A scale learned in training stands for other
    negatives and for memorised samples. Memory grows with Nq + Np.

    Raises:
        ValueError: shapes that do not match, vectors of another length, or queries with relevant items of fewer than
            two groups.

    Source: predictive V-information, Xu et al. 2020 (arXiv 2002.10689), definition 2; the bound: van den Oord et al.
    2018 (arXiv 1807.03748), section 2.3.
    """
    check_query_and_pool(z_query, z_pool)
    if query_groups.shape != z_query.shape[:1] or pool_groups.shape != z_pool.shape[:1]:
        raise ValueError(
            f"groups {tuple(query_groups.shape)} and {tuple(pool_groups.shape)} must be one integer per row of "
            f"{tuple(z_query.shape)} and {tuple(z_pool.shape)}"
        )
    queries_Q = torch.isin(query_groups, pool_groups).nonzero().flatten()
    _, group_Q = query_groups[queries_Q].unique(return_inverse=True)
    half_Q = group_Q % 2
    if not half_Q.any():
        raise ValueError(
            f"usable information needs queries of two groups or more that have an item in the pool: "
            f"{len(queries_Q)} of {len(query_groups)} queries have one, of {len(group_Q.unique())} groups"
        )
    step = max(1, _LOGITS_AT_ONCE // len(z_pool))
    pool = unit_fp32(z_pool)
    bits_KQ = torch.cat(
        [
            _bits(unit_fp32(z_query[queries]), pool, query_groups[queries], pool_groups)
            for queries in queries_Q.split(step)
        ],
        dim=1,
    )
    best_of_half = [int(bits_KQ[:, half_Q != half].mean(dim=1).argmax()) for half in (0, 1)]
    bits_Q = torch.where(half_Q == 0, bits_KQ[best_of_half[0]], bits_KQ[best_of_half[1]])
    return UsableInformation(bits_Q.cpu(), queries_Q.cpu(), (SCALES[best_of_half[0]], SCALES[best_of_half[1]]))


def _bits(z_QD: Tensor, pool_ND: Tensor, groups_Q: Tensor, groups_N: Tensor) -> Tensor:
    """Bits (K, Q) of a tile at every scale; in fp64, where exp(-2 · 128) is not yet 0."""
    below_one_QN = cosines(z_QD, pool_ND).double() - 1
    relevant_QN = groups_Q[:, None] == groups_N
    guessed_Q = (relevant_QN.sum(dim=1) / len(pool_ND)).double().log2()
    bits = []
    for scale in SCALES:
        odds_QN = (below_one_QN * scale).exp()
        bits.append(((odds_QN * relevant_QN).sum(dim=1) / odds_QN.sum(dim=1)).log2() - guessed_Q)
    return torch.stack(bits)
