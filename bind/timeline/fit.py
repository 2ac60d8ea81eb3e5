"""Fit of a time line's parameters on annotated recordings of people who are in neither the training nor the test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bind.timeline.annotated import OTHER, UNLABELLED, AnnotatedRecording, EmbeddedStretch, label_number
from bind.timeline.labeller import lag_steps, log_softmax, with_none
from bind.timeline.labels import Labels
from bind.timeline.none_confidence import NoneConfidence
from bind.timeline.none_of_these import NoneDetector, measure_cues
from bind.timeline.parameters import BLOCK_STEPS, Parameters, calibrated
from bind.timeline.scores import SegmentCounts, count
from bind.timeline.segments import NONE, Segment, SegmentBuilder
from bind.timeline.smoothing import FixedLagSmoother, SmoothedSteps, joined_steps
from bind.timeline.transitions import count_transitions

TEMPERATURES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
CONFIDENCE_TEMPERATURES = tuple(2.0 ** (power / 4) for power in range(-6, 17))
THRESHOLDS = (8.0, 6.0, 4.0, 3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0)
"""From little "none of these" to much."""
MAX_LOST = 0.01
"""Of the accuracy of labelled time, for the sake of "none of these"."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Fitted parameters: without "none of these" as an answer, and with it; None where there was too little of it."""

    without_none: Parameters
    with_none: Parameters | None


def fit_parameters(
    recordings: Sequence[AnnotatedRecording],
    labels: Labels,
    *,
    look_ahead_seconds: float = 10.0,
    on_step: Callable[[], object] = lambda: None,
) -> Fit:
    """Choose what makes the best time lines of annotated recordings.

    The transitions between labels and how long they last are counted in the annotations. The temperature is the one
    with the largest mean of frame accuracy and segment F1. "None of these" is what lies between annotations: its
    detector is a logistic regression, and its threshold the one with the largest frame accuracy where that is a label
    like the others, among those that cost labelled time at most `MAX_LOST` of its own. The temperature of the
    confidences is the one under which the confidences of segments are the most probable; with "none of these" among
    the answers they are those of a `NoneConfidence`.

    Args:
        on_step: called after each of at most `NUM_STEPS` steps.

    Raises:
        ValueError: where no recording has any of the labels.
    """
    if not any(label_number(segment.label, labels.names) >= 0 for r in recordings for segment in r.true):
        there = sorted({segment.label for r in recordings for segment in r.true})
        raise ValueError(
            f"none of the annotations has one of the labels {', '.join(labels.names)}; "
            f"they have {', '.join(there[:20])}"
        )
    base = Parameters(
        log_transitions_KK=count_transitions(recordings, labels.names),
        look_ahead_seconds=look_ahead_seconds,
        is_fitted=True,
    )
    known = [recording.with_labels(labels.names) for recording in recordings]
    best, counts = base, SegmentCounts()
    for temperature in TEMPERATURES:
        candidate = replace(base, temperature=temperature)
        sums = _sum_counts(known, known, labels, candidate)
        if not counts.known_seconds or _mean_score(sums) > _mean_score(counts):
            best, counts = candidate, sums
        on_step()
    with_none_too = _fit_none(recordings, labels, best, counts, on_step)
    return Fit(_with_fitted_confidence(recordings, labels, best), with_none_too)


NUM_STEPS = len(TEMPERATURES) + len(THRESHOLDS)


def _fit_none(
    recordings: Sequence[AnnotatedRecording],
    labels: Labels,
    without: Parameters,
    counts: SegmentCounts,
    on_step: Callable[[], object],
) -> Parameters | None:
    detector = _fit_detector(recordings, labels)
    if detector is None:
        return None
    known = [recording.with_labels(labels.names) for recording in recordings]
    filled = [recording.filled(labels.names) for recording in recordings]
    transitions = count_transitions(recordings, labels.names, with_none=True)
    best, best_accuracy = None, 0.0
    for threshold in THRESHOLDS:
        candidate = replace(
            without, log_transitions_KK=transitions, none_detector=replace(detector, threshold=threshold)
        )
        of_known, of_all = (_sum_counts(known, true, labels, candidate).frame_accuracy for true in (known, filled))
        if best is None or (of_known >= counts.frame_accuracy - MAX_LOST and of_all > best_accuracy):
            best, best_accuracy = candidate, of_all
        on_step()
    assert best is not None
    return _with_fitted_confidence(recordings, labels, best)


def _mean_score(counts: SegmentCounts) -> float:
    return (counts.frame_accuracy + counts.segment_f1) / 2


def _cues(recording: AnnotatedRecording, stretch: EmbeddedStretch, labels: Labels) -> np.ndarray:
    similarities_NK = np.asarray(stretch.z_ND, dtype=np.float64) @ labels.z_KD.T
    num_apart = int(np.ceil(recording.window_seconds / recording.hop_seconds - 1e-9))
    return measure_cues(similarities_NK, stretch.z_ND, stretch.z_ND[:0], num_apart)


def smooth_stretch(
    recording: AnnotatedRecording,
    stretch: EmbeddedStretch,
    labels: Labels,
    parameters: Parameters,
    *,
    as_it_comes: bool = False,
) -> SmoothedSteps:
    """Label and probabilities of each window of a stretch, by all of its windows.

    Args:
        as_it_comes: by those up to the look-ahead alone, as time lines decide.
    """
    similarities_NK = np.asarray(stretch.z_ND, dtype=np.float64) @ labels.z_KD.T
    log_p_NK = log_softmax(similarities_NK / parameters.temperature)
    if parameters.none_detector is not None:
        log_p_NK = with_none(log_p_NK, parameters.none_detector.log_odds(_cues(recording, stretch, labels)))
    transitions_KK = parameters.transitions(log_p_NK.shape[1])
    lag, block = len(log_p_NK), 1
    if as_it_comes:
        lag = lag_steps(parameters, window_seconds=recording.window_seconds, hop_seconds=recording.hop_seconds)
        block = BLOCK_STEPS
    smoother = FixedLagSmoother(transitions_KK, num_lag_steps=lag, num_block_steps=block)
    return joined_steps([smoother.push(log_p_NK), smoother.finish()])


def _sum_counts(
    recordings: Sequence[AnnotatedRecording],
    references: Sequence[AnnotatedRecording],
    labels: Labels,
    parameters: Parameters,
) -> SegmentCounts:
    """How the time lines of recordings compare with the annotations of `references`."""
    sums = SegmentCounts()
    for recording, reference in zip(recordings, references, strict=True):
        segments: list[Segment] = []
        for stretch in recording.stretches:
            steps = smooth_stretch(recording, stretch, labels, parameters)
            builder = SegmentBuilder(
                [*labels.names, NONE],
                start_seconds=stretch.start_seconds,
                window_seconds=recording.window_seconds,
                hop_seconds=recording.hop_seconds,
            )
            builder.add(steps.labels, np.ones(len(steps)))
            segments += builder.segments(end_seconds=stretch.end_seconds)
        sums += count(segments, reference.true)
    return sums


def _fit_detector(recordings: Sequence[AnnotatedRecording], labels: Labels) -> NoneDetector | None:
    cues, is_none = [], []
    for recording in recordings:
        for stretch in recording.stretches:
            true_N = recording.true_numbers(stretch, labels.names)
            cues.append(_cues(recording, stretch, labels)[true_N != OTHER])
            is_none.append(true_N[true_N != OTHER] == UNLABELLED)
    return NoneDetector.fitted(np.concatenate(cues), np.concatenate(is_none))


def _with_fitted_confidence(
    recordings: Sequence[AnnotatedRecording], labels: Labels, parameters: Parameters
) -> Parameters:
    """`parameters` with the temperature under which segments' confidences have the least log-loss.

    Where "none of these" is an answer, also with what says how sure it and the labels beside it are.
    """
    parts, is_right, run_numbers, usable = [], [], [], []
    num_runs = 0
    for recording in recordings:
        for stretch in recording.stretches:
            steps = smooth_stretch(recording, stretch, labels, parameters, as_it_comes=True)
            true_N = recording.true_numbers(stretch, labels.names)
            if parameters.has_none:
                true_N = np.where(true_N == UNLABELLED, len(labels), true_N)
            runs_N = num_runs + np.concatenate([[0], np.cumsum(np.diff(steps.labels) != 0)])
            num_runs = int(runs_N[-1]) + 1
            parts.append(steps)
            is_right.append(steps.labels == true_N)
            run_numbers.append(runs_N)
            usable.append(true_N >= 0)
    right_N, runs_N, usable_N = np.concatenate(is_right), np.concatenate(run_numbers), np.concatenate(usable)
    steps = joined_steps(parts)
    if parameters.has_none:
        none_confidence = NoneConfidence.fitted(steps.chosen(usable_N), right_N[usable_N])
        parameters = replace(parameters, none_confidence=none_confidence)

    def log_loss(temperature: float) -> float:
        sure_N = np.take_along_axis(calibrated(steps.probabilities, temperature), steps.labels[:, None], axis=1)[:, 0]
        of_run = np.bincount(runs_N, sure_N) / np.bincount(runs_N)
        sure_N = of_run[runs_N].clip(1e-6, 1 - 1e-6)
        return float(-np.where(right_N, np.log(sure_N), np.log1p(-sure_N))[usable_N].mean())

    return replace(parameters, confidence_temperature=min(CONFIDENCE_TEMPERATURES, key=log_loss))
