"""Segments of a recording: from when to when, which label, how sure; and steps that become segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NONE = "none of these"
"""The label of time in which none of the labels asked for is seen."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a recording with one label.

    Attributes:
        start_seconds, end_seconds: in the clock of the recording.
        label: one of those asked for, or `NONE`.
        confidence: the probability of the label, averaged over the segment.

    Examples:
        >>> print(Segment(602.0, 617.0, "walking", 0.97))
        602.00-617.00 s walking (0.97)
    """

    start_seconds: float
    end_seconds: float
    label: str
    confidence: float = 1.0

    @property
    def seconds(self) -> float:
        return self.end_seconds - self.start_seconds

    def __str__(self) -> str:
        return f"{self.start_seconds:.2f}-{self.end_seconds:.2f} s {self.label} ({self.confidence:.2f})"


class SegmentBuilder:
    """Segments of one stretch of a recording, of steps that come one after the other.

    A step says what the middle of its window shows: it holds from half a hop before that middle to half a hop after it;
    the first from the start of the stretch, the last to its end.

    Examples:
        >>> builder = SegmentBuilder(["walking", "sitting"], start_seconds=10.0, window_seconds=2.0, hop_seconds=1.0)
        >>> builder.add(np.array([0, 0, 1]), np.array([0.9, 0.7, 0.6]))
        >>> [str(segment) for segment in builder.segments(end_seconds=14.2)]
        ['10.00-12.50 s walking (0.80)', '12.50-14.20 s sitting (0.60)']
    """

    def __init__(
        self, labels: Sequence[str], *, start_seconds: float, window_seconds: float, hop_seconds: float
    ) -> None:
        self.labels = labels
        self.start_seconds = start_seconds
        self.hop_seconds = hop_seconds
        self.first_edge_seconds = start_seconds + window_seconds / 2 - hop_seconds / 2
        self.num_steps = 0
        self._runs: list[tuple[int, int, int, float]] = []  # label, first step, step after the last, sum of confidences

    def add(self, labels_N: np.ndarray, confidences_N: np.ndarray) -> None:
        """Take the labels of further steps and how sure they are."""
        self._runs = self._extended(self._runs, labels_N, confidences_N)
        self.num_steps += len(labels_N)

    def segments(
        self,
        *,
        end_seconds: float | None = None,
        pending_labels_N: np.ndarray | None = None,
        pending_confidences_N: np.ndarray | None = None,
    ) -> list[Segment]:
        """All segments so far, with steps that are not added yet; the last one to the end, where that is known."""
        runs, num_steps = self._runs, self.num_steps
        if pending_labels_N is not None and pending_confidences_N is not None:
            runs = self._extended(list(runs), pending_labels_N, pending_confidences_N)
            num_steps += len(pending_labels_N)
        segments = []
        for label, first, last, total in runs:
            start, end = self.edge_seconds(first), self.edge_seconds(last)
            if end_seconds is not None:
                end = min(end, end_seconds) if last < num_steps else end_seconds
            if end > start:
                segments.append(Segment(start, end, self.labels[label], total / (last - first)))
        return segments

    def edge_seconds(self, step: int) -> float:
        """Where a step begins."""
        return self.start_seconds if step == 0 else self.first_edge_seconds + step * self.hop_seconds

    def _extended(
        self, runs: list[tuple[int, int, int, float]], labels_N: np.ndarray, confidences_N: np.ndarray
    ) -> list[tuple[int, int, int, float]]:
        for label, confidence in zip(labels_N.tolist(), confidences_N.tolist(), strict=True):
            step = runs[-1][2] if runs else 0
            if runs and runs[-1][0] == label:
                runs[-1] = (label, runs[-1][1], step + 1, runs[-1][3] + confidence)
            else:
                runs.append((label, step, step + 1, confidence))
        return runs
