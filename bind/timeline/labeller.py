"""Labeller of windows: vectors of overlapping windows become segments, as they come."""

from __future__ import annotations

import math

import numpy as np

from bind.timeline.labels import Labels
from bind.timeline.none_of_these import measure_cues
from bind.timeline.parameters import BLOCK_STEPS, Parameters
from bind.timeline.segments import NONE, Segment, SegmentBuilder
from bind.timeline.smoothing import FixedLagSmoother, SmoothedSteps
from bind.timeline.windows import Block


class Labeller:
    """Segments of one recording or stream, from blocks of windows and their vectors.

    What was decided never changes: `final_seconds` says up to where that is. The rest of `segments` is what holds if
    nothing more comes.
    """

    def __init__(self, labels: Labels, parameters: Parameters, *, window_seconds: float, hop_seconds: float) -> None:
        self.labels = labels
        self.parameters = parameters
        self.window_seconds = window_seconds
        self.hop_seconds = hop_seconds
        self.num_apart = math.ceil(window_seconds / hop_seconds - 1e-9)
        self.names = [*labels.names, NONE] if parameters.has_none else list(labels.names)
        self.num_lag_steps = lag_steps(parameters, window_seconds=window_seconds, hop_seconds=hop_seconds)
        self.final_seconds = -math.inf
        self._smoother = FixedLagSmoother(
            parameters.transitions(len(self.names)), num_lag_steps=self.num_lag_steps, num_block_steps=BLOCK_STEPS
        )
        self._ended: list[Segment] = []  # of stretches that ended
        self._builder: SegmentBuilder | None = None
        self._last_z_MD = np.empty((0, labels.z_KD.shape[1]))
        self._segments: tuple[Segment, ...] = ()

    @property
    def look_ahead_seconds(self) -> float:
        """How much later than a moment what comes may still change its label, at most."""
        return (
            self.window_seconds / 2 + self.hop_seconds / 2 + (self.num_lag_steps + 2 * BLOCK_STEPS) * self.hop_seconds
        )

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments so far, in order."""
        return self._segments

    def push(self, block: Block, z_ND: np.ndarray) -> None:
        """Take a block and the unit vectors (N, D) of its windows."""
        if block.is_first:
            self._builder = SegmentBuilder(
                self.names,
                start_seconds=block.start_seconds,
                window_seconds=self.window_seconds,
                hop_seconds=self.hop_seconds,
            )
            self._last_z_MD = self._last_z_MD[:0]
        assert self._builder is not None
        self._add(self._smoother.push(self.log_likelihoods(z_ND)))
        if block.end_seconds is not None:
            self._add(self._smoother.finish())
            self._ended += self._builder.segments(end_seconds=block.end_seconds)
            self._builder = None
            self.final_seconds = block.end_seconds
            self._segments = tuple(self._ended)
            return
        if self._builder.num_steps:
            self.final_seconds = self._builder.edge_seconds(self._builder.num_steps)
        pending = self._smoother.pending()
        confidences_N = self.parameters.confidences(pending)
        so_far = self._builder.segments(pending_labels_N=pending.labels, pending_confidences_N=confidences_N)
        self._segments = (*self._ended, *so_far)

    def log_likelihoods(self, z_ND: np.ndarray) -> np.ndarray:
        """Of consecutive windows (N, K), relative to one another; "none of these" last, where it is an answer."""
        similarities_NK = np.asarray(z_ND, dtype=np.float64) @ self.labels.z_KD.T.astype(np.float64)
        log_p_NK = log_softmax(similarities_NK / self.parameters.temperature)
        detector = self.parameters.none_detector
        if detector is not None:
            cues_NF = measure_cues(similarities_NK, z_ND, self._last_z_MD, self.num_apart)
            log_odds_N = detector.log_odds(cues_NF)
            log_p_NK = with_none(log_p_NK, log_odds_N)
        self._last_z_MD = np.concatenate([self._last_z_MD, z_ND])[-self.num_apart :]
        return log_p_NK

    def _add(self, steps: SmoothedSteps) -> None:
        assert self._builder is not None
        self._builder.add(steps.labels, self.parameters.confidences(steps))


def lag_steps(parameters: Parameters, *, window_seconds: float, hop_seconds: float) -> int:
    """How many windows later a window is decided: at least its own length, and the look-ahead, in whole blocks.

    Examples:
        >>> lag_steps(Parameters(look_ahead_seconds=10.0), window_seconds=2.0, hop_seconds=0.5)
        24
    """
    lag = max(math.ceil(window_seconds / hop_seconds - 1e-9), math.ceil(parameters.look_ahead_seconds / hop_seconds))
    return -(-lag // BLOCK_STEPS) * BLOCK_STEPS


def log_softmax(x_NK: np.ndarray) -> np.ndarray:
    """Logarithm of the softmax of each row.

    Examples:
        >>> np.exp(log_softmax(np.log([[1.0, 3.0]]))).round(2).tolist()
        [[0.25, 0.75]]
    """
    shifted_NK = x_NK - x_NK.max(axis=1, keepdims=True)
    log_p_NK: np.ndarray = shifted_NK - np.log(np.exp(shifted_NK).sum(axis=1, keepdims=True))
    return log_p_NK


def with_none(log_p_NK: np.ndarray, none_log_odds_N: np.ndarray) -> np.ndarray:
    """Log-likelihoods (N, K + 1) of labels, and of none of them, whose odds against all of them together are given.

    Odds count against the average label: K labels share what one "none" has alone.

    Examples:
        >>> np.exp(with_none(np.log([[0.5, 0.5]]), np.array([0.0]))).round(2).tolist()
        [[0.25, 0.25, 0.25]]
    """
    num_labels = log_p_NK.shape[1]
    log_some_N = -np.logaddexp(0.0, none_log_odds_N)
    log_none_N = -np.logaddexp(0.0, -none_log_odds_N) - np.log(num_labels)
    return np.concatenate([log_p_NK + log_some_N[:, None], log_none_N[:, None]], axis=1)
