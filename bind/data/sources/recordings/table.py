"""Tables of windows: a sample per window as columns in memory, and how far training may move each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.sources.annotations.columns import Annotations
from bind.data.sources.recordings.recordings import RecordingRow
from bind.data.sources.recordings.windows import WindowOptions, Windows, fit_windows, free_stretches, lay_windows
from bind.data.sources.sample_table import CLOCK, END, SPLITS, START, ColumnsInMemory, SampleTable, sample_schema
from bind.types import Modality

TIE_SECONDS = 1e-7
"""Added to every time: one just between two frames is rounded to the even one, a start perhaps up and its end down."""
NO_STREAM = "window(s) are left out: no stream is there throughout"
NO_MODALITY = "window(s) are without {}, which is not there throughout"
TOO_SHORT = "annotation(s) are left out: shorter than data.min_annotation_seconds"


@dataclass(frozen=True, slots=True)
class WindowTable:
    """The windows of a split as samples, and how far training may move each of N back and ahead, in seconds."""

    samples: SampleTable
    back_N: np.ndarray
    ahead_N: np.ndarray

    def draw_shift(self, index: int, rng: np.random.Generator) -> float:
        """Seconds by which a window is moved."""
        return float(rng.uniform(self.back_N[index], self.ahead_N[index]))


@dataclass(frozen=True, slots=True)
class _Part:
    """The windows of a recording, and modality → bool (N,), whether its stream fills each."""

    recording: RecordingRow
    windows: Windows
    fills: Mapping[Modality, np.ndarray]


class WindowTables:
    """Maker of the windows of each split.

    Args:
        annotations: those of the recordings that are loaded.
        streams: the modalities of the recordings.
        options: how windows are laid.
        unlabelled: whether stretches without annotation give windows too.

    Attributes:
        left_out: what was left out → an example of each, as it is named in messages.
    """

    def __init__(
        self, annotations: Annotations, streams: Sequence[Modality], options: WindowOptions, *, unlabelled: bool
    ) -> None:
        self.annotations, self.streams, self.options, self.unlabelled = annotations, streams, options, unlabelled
        self.left_out: dict[str, list[str]] = defaultdict(list)
        self._rows_of: dict[str, list[int]] = defaultdict(list)
        for row, key in enumerate(annotations.names("recording")):
            self._rows_of[key].append(row)

    def of_recordings(self, recordings: Sequence[RecordingRow], repeats: int = 1) -> WindowTable:
        """The windows of recordings, each `repeats` times in a row."""
        parts = [part for recording in recordings for part in self._parts(recording)]
        numbers = {recording.sample.key: number for number, recording in enumerate(recordings)}
        of_part = [np.full(len(part.windows.start_N), numbers[part.recording.sample.key]) for part in parts]
        recording_N = _joined(of_part, repeats, np.int64)
        annotation_N = _joined([part.windows.annotation_N for part in parts], repeats, np.int64)
        start_N = _joined([part.windows.start_N for part in parts], repeats, np.float64)
        columns = self._annotated_columns(annotation_N)
        rows = [recording.sample for recording in recordings]
        columns["split"] = pa.array([SPLITS.index(row.split) for row in rows], pa.int8()).take(pa.array(recording_N))
        columns["owner"] = pa.array([list(row.owners) for row in rows], pa.list_(pa.string())).take(
            pa.array(recording_N)
        )
        kinds = pc.fill_null(columns.pop("kind"), "").to_pylist()
        columns["key"] = pa.array(
            _unique_keys([row.key for row in rows], recording_N.tolist(), kinds, start_N.tolist())
        )
        for modality in self.streams:
            nothing = [np.zeros(len(part.windows.start_N), bool) for part in parts]
            fills = [part.fills.get(modality, none) for part, none in zip(parts, nothing, strict=True)]
            is_missing = ~_joined(fills, repeats, bool)
            columns |= self._stream_columns(modality, recordings, recording_N, start_N, is_missing)
        modalities = [*self.streams, *(["text"] if len(self.annotations) else [])]
        schema = sample_schema(modalities, [m + name for m in self.streams for name in (START, END, CLOCK)])
        batch = pa.record_batch([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)
        table = SampleTable(ColumnsInMemory([batch], schema), range(len(start_N)), Path(), modalities)
        back_N = _joined([part.windows.low_N - part.windows.start_N for part in parts], repeats, np.float64)
        ahead_N = _joined([part.windows.high_N - part.windows.start_N for part in parts], repeats, np.float64)
        return WindowTable(table, back_N, ahead_N)

    def _annotated_columns(self, annotation_N: np.ndarray) -> dict[str, Any]:
        """Kind, label, group and text of windows, null where the annotation's number is -1."""
        texts, labels = self.annotations.names("text"), self.annotations.names("label")
        texts = [said or [label] for said, label in zip(texts, labels, strict=True)]
        groups = [label or " | ".join(said) for said, label in zip(texts, labels, strict=True)]
        rows = pa.array(annotation_N, mask=annotation_N < 0)
        return {
            "kind": pa.array(self.annotations.names("kind"), pa.string()).take(rows),
            "label": pa.array(labels, pa.string()).take(rows),
            "group": pa.array(groups, pa.string()).take(rows),
            "text": pa.array(texts, pa.list_(pa.string())).take(rows),
        }

    def _stream_columns(
        self,
        modality: Modality,
        recordings: Sequence[RecordingRow],
        recording_N: np.ndarray,
        start_N: np.ndarray,
        is_missing_N: np.ndarray,
    ) -> dict[str, Any]:
        """File, span and clock of windows in one stream, null where it is missing."""
        streams = [recording.streams.get(modality) for recording in recordings]
        paths = pa.array([str(stream.clip.path) if stream else "" for stream in streams], pa.string())
        zeros = np.array([stream.zero_seconds if stream else 0.0 for stream in streams])
        clocks = np.array([stream.clip.from_first_row if stream else False for stream in streams], bool)
        first_N = start_N + zeros[recording_N] + TIE_SECONDS if len(start_N) else start_N
        last_N = first_N + self.options.window_seconds
        return {
            modality: _single_lists(paths.take(pa.array(recording_N)), is_missing_N),
            modality + START: _single_lists(pa.array(first_N), is_missing_N),
            modality + END: _single_lists(pa.array(last_N), is_missing_N),
            modality + CLOCK: pa.array(clocks[recording_N] if len(start_N) else np.zeros(0, bool), mask=is_missing_N),
        }

    def _parts(self, recording: RecordingRow) -> Iterable[_Part]:
        low, high = recording.extent
        if low == high:
            return
        rows = np.array(self._rows_of[recording.sample.key], np.int64)
        starts, ends = self.annotations.starts[rows], self.annotations.ends[rows]
        laid = lay_windows(starts, ends, self.options)
        for row in np.setdiff1d(rows, rows[laid.annotation_N]).tolist():
            self.left_out[TOO_SHORT].append(self.annotations.place(row))
        yield self._fitted(recording, replace(laid, annotation_N=rows[laid.annotation_N]))
        if self.unlabelled:
            options = replace(self.options, min_share=1.0, min_annotation_seconds=self.options.window_seconds)
            free_starts, free_ends = free_stretches(starts, ends, low, high).T
            laid = lay_windows(free_starts, free_ends, options)
            yield self._fitted(recording, replace(laid, annotation_N=np.full(len(laid.start_N), -1)))

    def _fitted(self, recording: RecordingRow, windows: Windows) -> _Part:
        measured = {modality: stream.measured_K2 for modality, stream in recording.streams.items()}
        windows, fills = fit_windows(windows, measured, self.options)
        has_any = np.any(list(fills.values()), axis=0)
        self._note(NO_STREAM, recording, windows.start_N[~has_any])
        for modality, fills_N in fills.items():
            self._note(NO_MODALITY.format(modality), recording, windows.start_N[has_any & ~fills_N])
        return _Part(recording, windows.at(has_any), {m: fills_N[has_any] for m, fills_N in fills.items()})

    def _note(self, reason: str, recording: RecordingRow, starts: np.ndarray) -> None:
        for start in starts.tolist():
            end = start + self.options.window_seconds
            self.left_out[reason].append(f"{recording.sample.key} {start:.10g}-{end:.10g} s")


def _single_lists(values: Any, is_missing_N: np.ndarray) -> pa.ListArray:
    """A list of one value each, null where it is missing."""
    offsets = np.concatenate([[0], np.cumsum(~is_missing_N)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), values.filter(pa.array(~is_missing_N)), mask=pa.array(is_missing_N)
    )


def _unique_keys(
    recordings: Sequence[str], recording_N: Sequence[int], kinds: Sequence[str], starts: Sequence[float]
) -> list[str]:
    """Recording, kind and start of every window, with a number where several windows have the same."""
    keys: dict[str, None] = {}
    for number, kind, start in zip(recording_N, kinds, starts, strict=True):
        key = first = "/".join(filter(None, (recordings[number], kind, f"{start:.3f}")))
        repeat = 1
        while key in keys:
            repeat += 1
            key = f"{first}#{repeat}"
        keys[key] = None
    return list(keys)


def _joined(parts: Sequence[np.ndarray], repeats: int, kind: Any) -> np.ndarray:
    return np.repeat(np.concatenate([np.zeros(0, kind), *parts]), repeats)
