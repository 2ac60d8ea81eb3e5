"""Measure of time lines: what annotated recordings of a split say of them, and fits on the validation split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress

from bind.data.sources.annotations.columns import Annotations
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.recordings.checks import (
    choose_kinds,
    refuse_empty,
    refuse_outside,
    refuse_overlaps,
    refuse_unknown_recordings,
)
from bind.data.sources.recordings.recordings import keys_of_all_rows
from bind.model.binder import Binder
from bind.timeline.annotated import OTHER, UNLABELLED, AnnotatedRecording, EmbeddedStretch
from bind.timeline.fit import smooth_stretch
from bind.timeline.labeller import Labeller
from bind.timeline.labels import Labels
from bind.timeline.parameters import BLOCK_STEPS, Parameters
from bind.timeline.recording import WindowedRecording, embed_blocks, open_windows
from bind.timeline.scores import SegmentCounts, count, expected_calibration_error, overlaps
from bind.timeline.segments import NONE, Segment
from bind.timeline.windows import Block
from bind.types import Clip, Modality


@dataclass(frozen=True, slots=True)
class TimelineScores:
    """What time lines of annotated recordings reach.

    Attributes:
        counts: against the annotations that have one of the labels; other time counts nowhere.
        calibration_error: expected, of the confidences of segments, by time. Where "none of these" is an answer it is
            that of all time, and right between annotations; else of annotated time.
        none_auc: how well the probability of "none of these" tells time between annotations from labelled time.
    """

    counts: SegmentCounts
    calibration_error: float
    none_auc: float | None = None


def check_annotations(annotations: Annotations, source: ManifestSource, path: Path, kind: str | None) -> Annotations:
    """The annotations of one kind, which are of recordings of the manifest and don't overlap.

    Raises:
        ValueError: naming the file and the line, where they are not; and where there are several kinds.
    """
    kinds = sorted(set(annotations.names("kind")))
    if kind is None and len(kinds) > 1:
        raise ValueError(
            f"{path}: annotations of several kinds, {', '.join(map(repr, kinds))}: choose one, kind={kinds[-1]}"
        )
    annotations = choose_kinds(annotations, None if kind is None else [kind], path)
    refuse_empty(annotations, path)
    refuse_unknown_recordings(annotations, keys_of_all_rows(source), path, source.path)
    refuse_overlaps(annotations, path)
    return annotations


def embed_annotated(
    binder: Binder,
    modality: Modality,
    source: ManifestSource,
    split: str,
    annotations: Annotations,
    *,
    path: Path,
    hop_seconds: float | None,
) -> list[AnnotatedRecording]:
    """The recordings of a split, with the vectors of their windows and the annotations of each.

    Args:
        path: of the annotations, for messages.

    Raises:
        ValueError: naming the file, for one that can't be read, is a part of a file, or has annotations outside of it;
            and where the split has no recording of the modality.
    """
    samples = [sample for sample in source.samples(split) if sample.values.get(modality)]
    if not samples:
        raise ValueError(
            f"{source.path}: the split {split} has no recording of {modality}; there are "
            f"the splits {', '.join(source.splits)}"
        )
    keys = annotations.names("recording")
    recordings = []
    with Progress(transient=True) as progress:
        for sample in progress.track(samples, description=f"embed {split}"):
            clip = _whole_file(sample.values[modality], sample.key, source.path)
            windows = open_windows(binder, modality, clip, hop_seconds=hop_seconds)
            rows = [row for row, key in enumerate(keys) if key == sample.key]
            mine = annotations.take(np.array(rows, dtype=np.int64))
            refuse_outside(mine, {sample.key: (windows.start_seconds, windows.end_seconds)}, path)
            true = sorted((a.start_seconds, a.end_seconds, a.label or " | ".join(a.texts)) for a in mine)
            stretches = embed_stretches(binder, modality, windows)
            segments = [Segment(*annotation) for annotation in true]
            recordings.append(
                AnnotatedRecording(sample.key, stretches, segments, windows.window_seconds, windows.hop_seconds)
            )
    return recordings


def embed_stretches(binder: Binder, modality: Modality, windows: WindowedRecording) -> list[EmbeddedStretch]:
    """The stretches of a recording with the vectors of their windows."""
    stretches, start = [], 0.0
    vectors: list[np.ndarray] = []
    for block, z_ND in embed_blocks(binder, modality, windows):
        if block.is_first:
            start, vectors = block.start_seconds, []
        vectors.append(z_ND)
        if block.end_seconds is not None:
            stretches.append(EmbeddedStretch(start, block.end_seconds, np.concatenate(vectors)))
    return stretches


def _whole_file(values: Sequence[Clip], key: str, manifest: Path) -> Path:
    clip = values[0]
    if len(values) > 1 or clip.start_seconds is not None or clip.end_seconds is not None or clip.from_first_row:
        raise ValueError(
            f"{manifest}: the recording {key!r} is not one whole file in its own clock. Time lines are measured on "
            "whole files: give each a row, without start, end and clock, and annotations in the file's time"
        )
    assert isinstance(clip.path, Path)
    return clip.path


def label_recording(recording: AnnotatedRecording, labels: Labels, parameters: Parameters) -> Labeller:
    """The time line of a recording whose vectors are at hand, as it would be of its file."""
    labeller = Labeller(labels, parameters, window_seconds=recording.window_seconds, hop_seconds=recording.hop_seconds)
    for stretch in recording.stretches:
        for first in range(0, len(stretch.z_ND), BLOCK_STEPS):
            z_ND = stretch.z_ND[first : first + BLOCK_STEPS]
            end = stretch.end_seconds if first + BLOCK_STEPS >= len(stretch.z_ND) else None
            start = stretch.start_seconds + first * recording.hop_seconds
            labeller.push(Block(start, [None] * len(z_ND), first == 0, end), z_ND)
    return labeller


def measure(recordings: Sequence[AnnotatedRecording], labels: Labels, parameters: Parameters) -> TimelineScores:
    """What the time lines of annotated recordings reach."""
    counts = SegmentCounts()
    pieces = []
    for recording in recordings:
        segments = label_recording(recording, labels, parameters).segments
        known = recording.with_labels(labels.names)
        counts += count([segment for segment in segments if segment.label != NONE], known.true)
        reference = recording.filled(labels.names) if parameters.has_none else known
        pieces.append(overlaps(segments, reference.true))
    if not counts.known_seconds:
        raise ValueError(f"no annotation of the split has one of the labels {', '.join(labels.names)}")
    confidences, is_right, seconds = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    calibration_error = expected_calibration_error(confidences, is_right, seconds)
    return TimelineScores(
        counts, calibration_error, _none_auc(recordings, labels, parameters) if parameters.has_none else None
    )


def _none_auc(recordings: Sequence[AnnotatedRecording], labels: Labels, parameters: Parameters) -> float | None:
    from sklearn.metrics import roc_auc_score

    probabilities, is_none = [], []
    for recording in recordings:
        for stretch in recording.stretches:
            true_N = recording.true_numbers(stretch, labels.names)
            steps = smooth_stretch(recording, stretch, labels, parameters)
            probabilities.append(steps.probabilities[true_N != OTHER, -1])
            is_none.append(true_N[true_N != OTHER] == UNLABELLED)
    is_none_N = np.concatenate(is_none)
    return float(roc_auc_score(is_none_N, np.concatenate(probabilities))) if 0 < is_none_N.mean() < 1 else None
