"""Transitions between labels: how probable each is in the next window, counted in annotations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bind.timeline.annotated import AnnotatedRecording, label_number
from bind.timeline.segments import NONE

LEAST_STEPS = 1.5
"""A label lasts at least so many windows on average."""


def count_transitions(
    recordings: Sequence[AnnotatedRecording], names: Sequence[str], *, with_none: bool = False
) -> tuple[tuple[float, ...], ...]:
    """Log-probabilities (K, K) of the next window's label, by how annotations follow one another and how long they are.

    Each label has one more pair than was counted, shared among all that could follow.

    Args:
        with_none: whether time between annotations is a label too, the last.

    Examples:
        >>> from bind.timeline.segments import Segment
        >>> true = [Segment(0, 5, "a"), Segment(5, 15, "b")]
        >>> recording = AnnotatedRecording("day", [], true, window_seconds=2.0, hop_seconds=1.0)
        >>> np.exp(count_transitions([recording], ["a", "b"])).round(2).tolist()
        [[0.8, 0.2], [0.1, 0.9]]
    """
    states = [*names, NONE] if with_none else list(names)
    pairs_KK = np.full((len(states), len(states)), 1 / len(states))
    seconds_K, num_K = np.zeros(len(states)), np.zeros(len(states))
    for recording in recordings:
        true = recording.filled(names).true if with_none else recording.true
        numbers = [label_number(segment.label, states) for segment in true]
        for segment, number in zip(true, numbers, strict=True):
            if number >= 0:
                seconds_K[number] += segment.seconds
                num_K[number] += 1
        for place in range(len(true) - 1):
            first, second = numbers[place : place + 2]
            gap_seconds = true[place + 1].start_seconds - true[place].end_seconds
            if min(first, second) >= 0 and first != second and gap_seconds < recording.hop_seconds:
                pairs_KK[first, second] += 1
    usual_seconds = seconds_K.sum() / max(1.0, num_K.sum())
    mean_seconds_K = np.where(num_K > 0, seconds_K / np.maximum(num_K, 1), usual_seconds)
    steps_K = np.maximum(mean_seconds_K / recordings[0].hop_seconds, LEAST_STEPS)
    np.fill_diagonal(pairs_KK, 0.0)
    transitions_KK = pairs_KK / pairs_KK.sum(axis=1, keepdims=True) / steps_K[:, None]
    np.fill_diagonal(transitions_KK, 1 - 1 / steps_K)
    return tuple(tuple(map(float, row)) for row in np.log(transitions_KK))
