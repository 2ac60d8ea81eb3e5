"""Clusters of samples that depend on each other, so that a resample has to take or leave them together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def owner_clusters(owners: Sequence[Sequence[str]]) -> np.ndarray:
    """Cluster (N,) of each sample: those that share an owner, directly or through others, have one number.

    A sample without an owner is a cluster by itself.
    """
    first_with: dict[str, int] = {}
    parent = list(range(len(owners)))

    def root(sample: int) -> int:
        while parent[sample] != sample:
            parent[sample] = parent[parent[sample]]
            sample = parent[sample]
        return sample

    for sample, names in enumerate(owners):
        for name in names:
            ours, theirs = root(sample), root(first_with.setdefault(name, sample))
            parent[max(ours, theirs)] = min(ours, theirs)
    return np.unique([root(sample) for sample in range(len(owners))], return_inverse=True)[1]


def choose_clusters(
    owner_cluster_N: np.ndarray, group_ids_N: np.ndarray, is_query_N: np.ndarray
) -> tuple[str, np.ndarray]:
    """What a bootstrap redraws, `owners`, `groups` or `samples`, and the cluster (N,) of each sample, 0 … C - 1.

    Owners (`owner_clusters`) where they hold samples together: an owner is what a new data set would have others of.
    Where no two queries (`is_query_N`, bool) share an owner, or all have one and the same, owners say nothing of how
    samples depend on each other: then groups, if those do, else each sample by itself.
    """
    for name, ids_N in (("owners", owner_cluster_N), ("groups", group_ids_N)):
        if 1 < len(np.unique(ids_N[is_query_N])) < is_query_N.sum():
            return name, np.unique(ids_N, return_inverse=True)[1]
    return "samples", np.arange(len(group_ids_N))


def cluster_equal_values(cluster_Q: np.ndarray, value_Q: np.ndarray, num_clusters: int) -> tuple[np.ndarray, int]:
    """Cluster (Q,) of each query so that equal values (`value_Q`, int64) have one, and how many clusters there are.

    A value keeps its cluster where all its queries are of one (`cluster_Q`, 0 … `num_clusters` - 1), else it gets one.

    Examples:
        >>> cluster_equal_values(np.array([0, 0, 1, 1]), np.array([5, 6, 6, 7]), 2)
        (array([0, 2, 2, 1]), 3)
    """
    values, value_Q = np.unique(value_Q, return_inverse=True)
    lowest_V = np.full(len(values), num_clusters)
    np.minimum.at(lowest_V, value_Q, cluster_Q)
    highest_V = np.full(len(values), -1)
    np.maximum.at(highest_V, value_Q, cluster_Q)
    is_apart_V = lowest_V != highest_V
    cluster_V = np.where(is_apart_V, num_clusters - 1 + np.cumsum(is_apart_V), lowest_V)
    return cluster_V[value_Q], num_clusters + int(is_apart_V.sum())
