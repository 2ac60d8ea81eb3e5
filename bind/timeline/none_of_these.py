"""Detector of "none of these": whether a window shows one of the labels that are asked for at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bind.timeline.segments import NONE

CUES = ("largest_similarity", "margin", "log_change_of_hop", "log_change_of_window")
"""What is looked at: the largest similarity; by how much it exceeds the second; how much the vector changed since the
window before, and since the last window that shares no sample with this one."""
LEAST_CHANGE = 1e-3
"""Added to a change before its logarithm: of two vectors that are equal but for rounding."""
MIN_WINDOWS = 20
"""Of time with a label and of time without, each: from fewer nothing is learned."""


@dataclass(frozen=True, slots=True)
class NoneDetector:
    """Log-odds that a window shows none of the labels: a line through the standardised `CUES`, and a `threshold`.

    The threshold is subtracted: with a higher one there is less "none of these".
    """

    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    threshold: float = 0.0

    def log_odds(self, cues_NF: np.ndarray) -> np.ndarray:
        """Log-odds (N,) of "none of these"; a cue that is NaN, as changes are at the start, says nothing."""
        standard_NF = np.nan_to_num((cues_NF - np.array(self.means)) / np.array(self.scales), nan=0.0)
        log_odds_N: np.ndarray = standard_NF @ np.array(self.weights) + self.bias - self.threshold
        return log_odds_N

    @classmethod
    def fitted(cls, cues_NF: np.ndarray, is_none_N: np.ndarray) -> NoneDetector | None:
        """A logistic regression on cues of windows, where either kind counts the same; None from too few windows.

        Examples:
            >>> similarity = np.concatenate([np.full(50, 0.2), np.full(50, 0.8)]) + 0.01 * np.arange(100)
            >>> cues_NF = np.stack([similarity, 0 * similarity, 0 * similarity, 0 * similarity], axis=1)
            >>> detector = NoneDetector.fitted(cues_NF, is_none_N=np.arange(100) < 50)
            >>> detector.log_odds(np.array([[0.2, 0, 0, 0], [1.5, 0, 0, np.nan]])) > 0
            array([ True, False])
        """
        from sklearn.linear_model import LogisticRegression

        if min(int(is_none_N.sum()), int((~is_none_N).sum())) < MIN_WINDOWS:
            return None
        means_F, scales_F = np.nanmean(cues_NF, axis=0), np.nanstd(cues_NF, axis=0)
        scales_F = np.where(scales_F > 0, scales_F, 1.0)
        standard_NF = np.nan_to_num((cues_NF - means_F) / scales_F, nan=0.0)
        line = LogisticRegression(class_weight="balanced").fit(standard_NF, is_none_N)
        weights = tuple(map(float, line.coef_[0]))
        return cls(tuple(map(float, means_F)), tuple(map(float, scales_F)), weights, float(line.intercept_[0]))


def measure_cues(similarities_NK: np.ndarray, z_ND: np.ndarray, before_MD: np.ndarray, num_apart: int) -> np.ndarray:
    """The `CUES` (N, 4) of consecutive windows, by their similarities (N, K) and vectors (N, D).

    Args:
        before_MD: vectors of the windows of the same stretch before these, the last `num_apart` of them at least.
        num_apart: hops between windows that share no sample.

    Examples:
        >>> measure_cues(np.array([[0.5, 0.3]]), np.eye(2)[:1], np.eye(2)[1:], num_apart=2).round(3).tolist()
        [[0.5, 0.2, 0.001, nan]]
    """
    largest_N2 = -np.partition(-similarities_NK, 1, axis=1)[:, :2]
    all_MD = np.concatenate([before_MD, z_ND])
    first = len(before_MD)
    cues_NF = np.full((len(z_ND), len(CUES)), np.nan)
    cues_NF[:, 0], cues_NF[:, 1] = largest_N2[:, 0], largest_N2[:, 0] - largest_N2[:, 1]
    for column, hops in ((2, 1), (3, num_apart)):
        rows = np.arange(first, len(all_MD))
        rows = rows[rows >= hops]
        cosines = np.einsum("nd,nd->n", all_MD[rows], all_MD[rows - hops])
        cues_NF[rows - first, column] = np.log(np.maximum(1 - cosines, 0.0) + LEAST_CHANGE)
    return cues_NF


def require_no_none(labels: Sequence[str]) -> None:
    """Raise ValueError where a label has the name that stands for none of them."""
    if NONE in labels:
        raise ValueError(
            f"labels: {NONE!r} is the answer where no label fits; leave it out, a fit learns when it is given"
        )
