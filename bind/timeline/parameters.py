"""Parameters of a time line: what is fitted on validation recordings, and what holds without a fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bind.timeline.none_confidence import NoneConfidence
from bind.timeline.none_of_these import NoneDetector
from bind.timeline.smoothing import SmoothedSteps

HOPS_PER_WINDOW = 4
BLOCK_STEPS = 8
"""Windows that are embedded and decided together: always the same ones, so that numbers never depend on how a
recording came."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """How similarities become segments.

    Attributes:
        temperature: what similarities are divided by before their softmax.
        switch_cost: where no transitions were fitted: exp(-`switch_cost`) is the chance of each other label in the next
            window, as a share of that of the same label.
        log_transitions_KK: log-probability of each label, and of "none of these" behind them where there is a
            `none_detector`, after each; None: by `switch_cost`.
        confidence_temperature: probabilities are raised to its inverse, to be as sure as they are right.
        none_detector: None: every window has one of the labels.
        none_confidence: says how sure answers are in place of the `confidence_temperature`; fitted with a detector.
        look_ahead_seconds: what comes so much later than a window still decides about it.
        is_fitted: False: what holds without a fit.
    """

    temperature: float = 0.05
    switch_cost: float = 4.0
    log_transitions_KK: tuple[tuple[float, ...], ...] | None = None
    confidence_temperature: float = 1.0
    none_detector: NoneDetector | None = None
    none_confidence: NoneConfidence | None = None
    look_ahead_seconds: float = 10.0
    is_fitted: bool = False

    def transitions(self, num_labels: int) -> np.ndarray:
        """Log-probabilities (K, K) of the label after each, `num_labels` with "none of these" where it is an answer."""
        if self.log_transitions_KK is None:
            log_odds_KK = np.where(np.eye(num_labels) > 0, 0.0, -self.switch_cost)
            log_p_KK: np.ndarray = log_odds_KK - np.log(np.exp(log_odds_KK).sum(axis=1, keepdims=True))
            return log_p_KK
        return np.array(self.log_transitions_KK)

    def confidences(self, steps: SmoothedSteps) -> np.ndarray:
        """How sure the answers of steps (N,) are."""
        if self.none_confidence is not None:
            return self.none_confidence.confidences(steps)
        scaled_NK = calibrated(steps.probabilities, self.confidence_temperature)
        confidences_N: np.ndarray = np.take_along_axis(scaled_NK, steps.labels[:, None], axis=1)[:, 0]
        return confidences_N

    @property
    def has_none(self) -> bool:
        """Whether "none of these" is an answer."""
        return self.none_detector is not None


def calibrated(probabilities_NK: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (N, K), raised to 1 / `temperature`, that sum to one again.

    Source: Guo et al., On calibration of modern neural networks (2017).

    Examples:
        >>> calibrated(np.array([[0.8, 0.2]]), temperature=2.0).round(3).tolist()
        [[0.667, 0.333]]
    """
    powers_NK = np.maximum(probabilities_NK, 1e-300) ** (1 / temperature)
    scaled_NK: np.ndarray = powers_NK / powers_NK.sum(axis=1, keepdims=True)
    return scaled_NK


def window_hop(window_seconds: float, hop_seconds: float | None) -> float:
    """The distance of windows in seconds: as asked for, or a quarter of the window.

    Raises:
        ValueError: where it is no length up to the window's.
    """
    hop = window_seconds / HOPS_PER_WINDOW if hop_seconds is None else hop_seconds
    if not 0 < hop <= window_seconds:
        raise ValueError(
            f"hop_seconds={hop:g}: windows of {window_seconds:g} s start so far apart; give more than 0, and at most "
            "the window"
        )
    return hop
