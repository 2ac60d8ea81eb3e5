"""Ceilings: the best retrieval that is possible where two modalities share only some factors behind the samples.

A picture shows a colour, a sound does not: a ranker from sound to picture can at best put the pictures that agree
on what a sound carries in front, in a random order among themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def carried_factors(inputs: Sequence[str], carries: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The factors that the modalities `inputs` carry together: those of one, or of all that a fusion is made of.

    Raises:
        ValueError: a modality that `carries` does not name.
    """
    if unknown := sorted(set(inputs) - set(carries)):
        raise ValueError(f"what {unknown} carries is not known; give it beside {sorted(carries)}")
    return frozenset(factor for modality in inputs for factor in carries[modality])


def ceiling_recall(
    query_factors: np.ndarray, pool_factors: np.ndarray, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """The highest expected R@k of a ranker that reads every shared factor without error.

    Each query has one relevant pool item, which agrees with it on all the shared factors. With m pool items that
    agree, nothing in either modality tells the relevant one from the other m - 1, so it is equally likely to take
    each of the first m ranks, and R@k is min(k, m) / m, here averaged over the queries. The ranker is taken not to
    know which combinations of factors the pool was drawn from: knowledge of the pool's make-up could break some ties
    (a sharp query may be likelier under one of the agreeing combinations than another), so a finite
    sample may also exceed the figure by chance.

    Args:
        query_factors: (Nq, F) integers, only the columns that both modalities carry; F may be 0.
        pool_factors: (Np, F) integers, the same columns.
        ks: the depths of the ranking.

    Returns:
        `{"ceiling_R@1": …, …}`, each in [0, 1].

    Raises:
        ValueError: tables of different width, an empty one, or a query that agrees with no pool item.

    Examples:
        Sounds tell the shape (0 or 1), pictures the shape and the colour; only the column of the shape is shared. Of
        four pictures two agree with each sound, so that even a perfect ranker finds the right one in one of two tries.

        >>> pictures = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])  # shape, colour
        >>> ceiling_recall(pictures[:, :1], pictures[:, :1], ks=(1, 2))
        {'ceiling_R@1': 0.5, 'ceiling_R@2': 1.0}
    """
    query_factors, pool_factors = np.asarray(query_factors), np.asarray(pool_factors)
    if query_factors.ndim != 2 or pool_factors.ndim != 2 or query_factors.shape[1] != pool_factors.shape[1]:
        raise ValueError(
            f"query and pool factors must be (Nq, F) and (Np, F) over the same shared factors, "
            f"not {query_factors.shape} and {pool_factors.shape}"
        )
    if not len(query_factors) or not len(pool_factors):
        raise ValueError(f"a ceiling needs queries and a pool, not {len(query_factors)} and {len(pool_factors)} rows")
    stacked = np.concatenate([query_factors, pool_factors])
    if stacked.shape[1]:
        _, pattern = np.unique(stacked, axis=0, return_inverse=True)
        pattern = pattern.reshape(-1)
    else:
        pattern = np.zeros(len(stacked), dtype=np.int64)
    in_pool = np.bincount(pattern[len(query_factors) :], minlength=pattern.max() + 1)
    agreeing_Nq = in_pool[pattern[: len(query_factors)]]
    if (agreeing_Nq == 0).any():
        row = int(np.argmin(agreeing_Nq))
        raise ValueError(f"query row {row} agrees with no pool item: its relevant item is missing from the pool")
    return {f"ceiling_R@{k}": float(np.mean(np.minimum(k, agreeing_Nq) / agreeing_Nq)) for k in ks}


def pair_ceiling(
    query_table: np.ndarray,
    pool_table: np.ndarray,
    *,
    factors: Sequence[str],
    query_inputs: Sequence[str],
    pool_inputs: Sequence[str],
    carries: Mapping[str, Sequence[str]],
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """`ceiling_recall` of two sides, from their full factor tables (N, len(factors)).

    Args:
        query_table: factors of the queries, (Nq, len(factors)).
        pool_table: factors of the pool, (Np, len(factors)).
        factors: the name of each column.
        query_inputs: the modalities that the queries are made of, several for a fusion.
        pool_inputs: the same for the pool.
        carries: modality → the names of the factors that can be read off it.
        ks: the depths of the ranking.

    Raises:
        ValueError: a modality or factor that is not named, or what `ceiling_recall` refuses.
    """
    shared = carried_factors(query_inputs, carries) & carried_factors(pool_inputs, carries)
    if unknown := sorted(shared - set(factors)):
        raise ValueError(f"the factor tables have no column for {unknown}; their columns are {list(factors)}")
    columns = [column for column, factor in enumerate(factors) if factor in shared]
    return ceiling_recall(np.asarray(query_table)[:, columns], np.asarray(pool_table)[:, columns], ks)


def share_of_ceiling(score: float, chance: float, ceiling: float) -> float:
    """(score - chance) / (ceiling - chance): 0 is chance, 1 the best that is possible.

    Raises:
        ValueError: a ceiling that is not above chance leaves nothing to share.
    """
    if not ceiling > chance:
        raise ValueError(f"the ceiling ({ceiling:g}) must be above chance ({chance:g}): the modalities share no factor")
    return (score - chance) / (ceiling - chance)
