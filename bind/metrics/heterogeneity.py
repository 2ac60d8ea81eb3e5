"""How far apart modalities are, by how much a part trained on one helps the task of another.

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
        return self.bits_SMM - self.fresh_SM[:, None, :]

    @property
    def shortfall(self) -> np.ndarray:
        """S(i→j) = T(j→j) - T(i→j): the bits lost by starting from i in place of j's own."""
        own_SM = np.diagonal(self.bits_SMM, axis1=1, axis2=2)
        return own_SM[:, None, :] - self.bits_SMM

    @property
    def distance(self) -> np.ndarray:
        """d(i, j): the positive parts of the mean shortfalls both ways, added; symmetric, and 0 to itself."""
        lost_MM = np.maximum(self.shortfall.mean(axis=0), 0)
        return lost_MM + lost_MM.T

    @property
    def spread(self) -> np.ndarray:
        """The standard deviation over seeds of the shortfalls both ways, added."""
        lost_SMM = self.shortfall
        return (lost_SMM + lost_SMM.swapaxes(1, 2)).std(axis=0, ddof=1)

    @property
    def unrelated_distance(self) -> np.ndarray:
        """What d(i, j) is where a start from the other gains nothing: the positive gains of both own starts, added."""
        own_M = np.maximum(np.diagonal(self.transfer.mean(axis=0)), 0)
        return own_M[:, None] + own_M

    @property
    def separation(self) -> np.ndarray:
        """d(i, j) in units of the distance from which i and j are two kinds; any separates where that is 0.

        It is the distance's spread over seeds, less than which may be chance, or half of the distance of unrelated
        modalities, if that is more: nearer, a start from the other is worth more than half of a start from their own.
        """
        distance_MM, parts_at_MM = self.distance, np.maximum(self.spread, self.unrelated_distance / 2)
        beyond_MM = np.where(distance_MM > 0, MAX_SEPARATION, 0.0)
        return np.minimum(np.divide(distance_MM, parts_at_MM, out=beyond_MM, where=parts_at_MM > 0), MAX_SEPARATION)


def clusters(separation_MM: np.ndarray) -> tuple[list[int], list[int]]:
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
    found = tree.fit_predict(separation_MM).tolist()
    leaves = [[index] for index in range(num)]
    for left, right in tree.children_.tolist():
        leaves.append(leaves[left] + leaves[right])
    numbers = list(dict.fromkeys(found))
    return [numbers.index(cluster) for cluster in found], leaves[-1]
