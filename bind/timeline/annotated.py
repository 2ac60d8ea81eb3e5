"""Annotated recording: the vectors of its windows, and what its annotations say of each moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bind.timeline.segments import NONE, Segment

UNLABELLED, OTHER = -1, -2
"""In the place of a label's number: time without annotation, and time with a label that is not looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedStretch:
    """A stretch of a recording without a break, and the unit vectors (N, D) of its windows."""

    start_seconds: float
    end_seconds: float
    z_ND: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedRecording:
    """A recording's stretches, and its annotations in order, which don't overlap."""

    name: str
    stretches: Sequence[EmbeddedStretch]
    true: Sequence[Segment]
    window_seconds: float
    hop_seconds: float

    def true_numbers(self, stretch: EmbeddedStretch, names: Sequence[str]) -> np.ndarray:
        """The number of the true label in the middle of each window (N,), or `UNLABELLED` or `OTHER`."""
        middles_N = stretch.start_seconds + self.window_seconds / 2 + self.hop_seconds * np.arange(len(stretch.z_ND))
        numbers = np.array([*(label_number(segment.label, names) for segment in self.true), UNLABELLED])
        starts = np.array([segment.start_seconds for segment in self.true])
        ends = np.array([*(segment.end_seconds for segment in self.true), -np.inf])
        places = np.searchsorted(starts, middles_N, side="right") - 1
        return numbers[np.where(middles_N < ends[places], places, len(self.true))]

    def with_labels(self, names: Sequence[str]) -> AnnotatedRecording:
        """The same with those annotations only that have one of these labels."""
        return replace(self, true=[segment for segment in self.true if segment.label in names])

    def filled(self, names: Sequence[str]) -> AnnotatedRecording:
        """The same with annotations of these labels, and what lies between all annotations as `NONE`.

        A gap that is shorter than the distance of two windows is none.
        """
        filled: list[Segment] = []
        for stretch in self.stretches:
            at = stretch.start_seconds
            for segment in self.true:
                if segment.end_seconds <= stretch.start_seconds or segment.start_seconds >= stretch.end_seconds:
                    continue
                if segment.start_seconds - at >= self.hop_seconds:
                    filled.append(Segment(at, segment.start_seconds, NONE))
                if segment.label in names:
                    filled.append(segment)
                at = segment.end_seconds
            if stretch.end_seconds - at >= self.hop_seconds:
                filled.append(Segment(at, stretch.end_seconds, NONE))
        return replace(self, true=filled)


def label_number(label: str, names: Sequence[str]) -> int:
    """The place of a label among `names`, or `OTHER`."""
    return list(names).index(label) if label in names else OTHER
