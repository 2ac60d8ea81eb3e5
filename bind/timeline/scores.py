"""Scores of a time line against annotations: share of time, F1 of segments, calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bind.timeline.segments import Segment


@dataclass(frozen=True, slots=True)
class SegmentCounts:
    """Sums over recordings, from which scores are made."""

    right_seconds: float = 0.0
    known_seconds: float = 0.0
    matches: int = 0
    num_predicted: int = 0
    num_true: int = 0

    def __add__(self, other: SegmentCounts) -> SegmentCounts:
        return SegmentCounts(
            self.right_seconds + other.right_seconds,
            self.known_seconds + other.known_seconds,
            self.matches + other.matches,
            self.num_predicted + other.num_predicted,
            self.num_true + other.num_true,
        )

    @property
    def frame_accuracy(self) -> float:
        """Share of the annotated time that has the right label."""
        return self.right_seconds / self.known_seconds if self.known_seconds else float("nan")

    @property
    def segment_f1(self) -> float:
        """Harmonic mean of the shares of predicted and of true segments that have a match."""
        total = self.num_predicted + self.num_true
        return 2 * self.matches / total if total else float("nan")


def count(predicted: Sequence[Segment], true: Sequence[Segment], *, min_iou: float = 0.5) -> SegmentCounts:
    """Compare a time line with annotations that do not overlap.

    Time without an annotation is unknown: it counts nowhere, and predicted segments are cut to what is annotated. A
    predicted segment matches a true one of its label that shares at least `min_iou` of the time that both cover; each
    is matched once.

    Source: the segmental F1 of Lea et al., Temporal convolutional networks for action segmentation (2017).

    Examples:
        >>> true = [Segment(0, 10, "walking"), Segment(10, 20, "sitting")]
        >>> counts = count([Segment(0, 12, "walking"), Segment(12, 20, "sitting")], true)
        >>> counts.frame_accuracy, counts.segment_f1
        (0.9, 1.0)
    """
    known = _Known(true)
    predicted = [segment for segment in predicted if known.seconds(segment.start_seconds, segment.end_seconds) > 0]
    right, matches, free = 0.0, 0, set(range(len(predicted)))
    first = 0
    for segment in true:
        while first < len(predicted) and predicted[first].end_seconds <= segment.start_seconds:
            first += 1
        best, best_iou = -1, min_iou
        for place in range(first, len(predicted)):
            other = predicted[place]
            if other.start_seconds >= segment.end_seconds:
                break
            if other.label != segment.label:
                continue
            shared = known.seconds(
                max(segment.start_seconds, other.start_seconds), min(segment.end_seconds, other.end_seconds)
            )
            right += shared
            union = (
                known.seconds(segment.start_seconds, segment.end_seconds)
                + known.seconds(other.start_seconds, other.end_seconds)
                - shared
            )
            if place in free and shared > 0 and shared >= best_iou * union:
                best, best_iou = place, shared / union
        if best >= 0:
            free.remove(best)
            matches += 1
    return SegmentCounts(right, known.total, matches, len(predicted), len(true))


class _Known:
    """Annotated time up to any moment."""

    def __init__(self, true: Sequence[Segment]) -> None:
        spans = sorted((segment.start_seconds, segment.end_seconds) for segment in true)
        self._edges = np.array([edge for span in spans for edge in span])
        self._until = np.concatenate([[0.0], np.cumsum([b - a for a, b in spans])]) if spans else np.zeros(1)
        self.total = float(self._until[-1])

    def seconds(self, start: float, end: float) -> float:
        """Annotated time between two moments."""
        return self._up_to(end) - self._up_to(start) if end > start else 0.0

    def _up_to(self, moment: float) -> float:
        place = int(np.searchsorted(self._edges, moment, side="right"))
        inside = moment - self._edges[place - 1] if place % 2 else 0.0
        return float(self._until[place // 2] + inside)


def overlaps(predicted: Sequence[Segment], true: Sequence[Segment]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overlaps of predicted with true segments: confidences, whether labels agree, and seconds (N,)."""
    pieces = [
        (other.confidence, other.label == segment.label, shared)
        for segment in true
        for other in predicted
        if (shared := min(segment.end_seconds, other.end_seconds) - max(segment.start_seconds, other.start_seconds)) > 0
    ]
    confidences, is_right, seconds = zip(*pieces, strict=True) if pieces else ((), (), ())
    return np.array(confidences), np.array(is_right, dtype=bool), np.array(seconds)


def expected_calibration_error(
    confidences_N: np.ndarray, is_right_N: np.ndarray, weights_N: np.ndarray | None = None, num_bins: int = 15
) -> float:
    """Mean distance between how sure answers are and how often they are right, over equal bins of confidence.

    Source: Guo et al., On calibration of modern neural networks (2017).

    Examples:
        >>> expected_calibration_error(np.array([0.9] * 10), np.array([True] * 9 + [False]))
        0.0
    """
    weights_N = np.ones(len(confidences_N)) if weights_N is None else weights_N
    if not len(confidences_N):
        return float("nan")
    bins_N = np.minimum((confidences_N * num_bins).astype(int), num_bins - 1)
    error = 0.0
    for number in np.unique(bins_N):
        members = bins_N == number
        error += abs(float(((confidences_N - is_right_N) * weights_N)[members].sum()))
    return round(error / float(weights_N.sum()), 12)
