"""Distances between modalities, by how much a part trained on one helps the task of another.

Shapes: S seeds, M modalities (or pairs of them). A matrix over M × M has the source, what a part was taken from, in its
rows and the task that it was taken to in its columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_SEPARATION = 1e6


@dataclass(frozen=True)
class Heterogeneity:
    """Everything that follows from the bits of each start.

    Attributes:
        bits_SMM: usable information on task j after starting from source i, of each seed.
        fresh_SM: the same after starting from nothing, with the same seed and batches.

    Raises:
        ValueError: shapes that do not belong together, or fewer than two seeds, which have no spread.

    Source: HighMMT's question (Liang et al. 2022, arXiv 2203.01311), in usable information.
    """

    bits_SMM: np.ndarray
    fresh_SM: np.ndarray

    def __post_init__(self) -> None:
        num_seeds, num_modalities = self.fresh_SM.shape
        if self.bits_SMM.shape != (num_seeds, num_modalities, num_modalities):
            raise ValueError(f"bits {self.bits_SMM.shape} must be (S, M, M) to fresh (S, M) {self.fresh_SM.shape}")
        if num_seeds < 2:
            raise ValueError(f"{num_seeds} seed says nothing of the spread: give at least two")

    @property
    def transfer(self) -> np.ndarray:
        """T(i→j): the bits that a start from i gains over a fresh one; negative where it hinders."""
        gain_SMM: np.ndarray = self.bits_SMM - self.fresh_SM[:, None, :]
        return gain_SMM

    @property
    def shortfall(self) -> np.ndarray:
        """S(i→j) = T(j→j) - T(i→j): the bits lost by starting from i in place of j."""
        same_SM = np.diagonal(self.bits_SMM, axis1=1, axis2=2)
        lost_SMM: np.ndarray = same_SM[:, None, :] - self.bits_SMM
        return lost_SMM

    @property
    def distance(self) -> np.ndarray:
        """d(i, j): the positive parts of the mean shortfalls both ways, added; symmetric, and 0 to itself."""
        lost_MM: np.ndarray = np.maximum(self.shortfall.mean(axis=0), 0)
        distance_MM: np.ndarray = lost_MM + lost_MM.T
        return distance_MM

    @property
    def spread(self) -> np.ndarray:
        """The standard deviation over seeds of the shortfalls both ways, added."""
        lost_SMM = self.shortfall
        spread_MM: np.ndarray = (lost_SMM + lost_SMM.swapaxes(1, 2)).std(axis=0, ddof=1)
        return spread_MM

    @property
    def unrelated_distance(self) -> np.ndarray:
        """What d(i, j) is where a start from the other gains nothing: the positive T(i→i) and T(j→j), added."""
        gain_M = np.maximum(np.diagonal(self.transfer.mean(axis=0)), 0)
        distance_MM: np.ndarray = gain_M[:, None] + gain_M
        return distance_MM

    @property
    def separation(self) -> np.ndarray:
        """d(i, j) in units of the distance from which i and j are two kinds; any separates where that is 0.

        It is the distance's spread over seeds, less than which may be chance, or half of the distance of unrelated
        modalities, if that is more: nearer, a start from the other is worth more than half of a start from their own.
        """
        distance_MM, parts_at_MM = self.distance, np.maximum(self.spread, self.unrelated_distance / 2)
        beyond_MM = np.where(distance_MM > 0, MAX_SEPARATION, 0.0)
        separation_MM = np.divide(distance_MM, parts_at_MM, out=beyond_MM, where=parts_at_MM > 0)
        capped_MM: np.ndarray = np.minimum(separation_MM, MAX_SEPARATION)
        return capped_MM


def find_clusters(separation_MM: np.ndarray) -> tuple[list[int], list[int]]:
    """Cluster of each of M, merged from the nearest on while two clusters are on average less than 1 apart.

    Returns:
        The clusters, numbered as they first occur, and an order of the M, as of a dendrogram's leaves, in which those
        that merge stand side by side.

    Source: agglomerative clustering with average linkage (Sokal and Michener 1958), by scikit-learn.
    """
    from sklearn.cluster import AgglomerativeClustering

    num = len(separation_MM)
    if num < 2:
        return [0] * num, list(range(num))
    tree = AgglomerativeClustering(None, metric="precomputed", linkage="average", distance_threshold=1.0)
    labels = tree.fit_predict(separation_MM).tolist()
    leaves = [[index] for index in range(num)]
    for left, right in tree.children_.tolist():
        leaves.append(leaves[left] + leaves[right])
    in_order = list(dict.fromkeys(labels))
    return [in_order.index(label) for label in labels], leaves[-1]
