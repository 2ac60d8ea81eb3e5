"""Streams of sensors in an export, put together as one self-describing recording."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bind.media.sensor_time import MAX_STEP

CLOCK_RESET_SECONDS = 1.0
"""Rows that step back further are of another run of the clock; rows that came late step back less."""


@dataclass(frozen=True)
class SensorStream:
    """Rows of one sensor: times (T,) in seconds, values (T, C) with NaN where nothing was measured, and their columns.

    `columns` are names with their units, `acc_x [m/s^2]`; `label_T` is what goes along with a row, such as an activity.
    """

    time_seconds: np.ndarray
    values_TC: np.ndarray
    columns: tuple[str, ...]
    label_T: np.ndarray | None = None


@dataclass(frozen=True)
class ImportedRecording:
    """One recording of an export; `notes` say what was done to it and what was left out."""

    name: str
    streams: Sequence[SensorStream]
    notes: list[str] = field(default_factory=list)


def merge_streams(recording: ImportedRecording, from_first_row: bool) -> dict[str, Any]:
    """The columns of a table at the times of the first stream, to which the others are interpolated.

    Rows without a time or a value are dropped, rows are sorted, of rows with one time the first is kept. Where another
    stream has a gap or is not there, rows are dropped too. `recording.notes` get the counts.

    Raises:
        ValueError: where no rows are left, or the clock was set back to times that were there already.
    """
    first, *others = [_cleaned(stream, recording.notes) for stream in recording.streams]
    is_kept = np.ones(len(first.time_seconds), dtype=bool)
    columns = dict(zip(first.columns, first.values_TC.T, strict=True))
    for other in others:
        place = np.searchsorted(other.time_seconds, first.time_seconds)
        is_kept &= (place > 0) | np.isin(first.time_seconds, other.time_seconds[:1])
        is_kept &= place < len(other.time_seconds)
        before, after = np.clip(place - 1, 0, None), np.clip(place, None, len(other.time_seconds) - 1)
        step = other.time_seconds[after] - other.time_seconds[before]
        is_kept &= step <= MAX_STEP * float(np.median(np.diff(other.time_seconds)))
        for name, values_T in zip(other.columns, other.values_TC.T, strict=True):
            columns[name] = np.interp(first.time_seconds, other.time_seconds, values_T)
    if is_kept.sum() < 2:
        raise ValueError("its sensors have no time in common")
    if not is_kept.all():
        recording.notes.append(f"{int((~is_kept).sum())} rows dropped where another sensor has none")
    time_seconds = first.time_seconds[is_kept]
    table: dict[str, Any] = {"time_seconds": time_seconds - time_seconds[0] if from_first_row else time_seconds}
    table |= {name: values_T[is_kept].astype(np.float32) for name, values_T in columns.items()}
    if first.label_T is not None:
        table["activity"] = first.label_T[is_kept].astype(str).tolist()
    return table


def _cleaned(stream: SensorStream, notes: list[str]) -> SensorStream:
    time_seconds = stream.time_seconds
    is_there = np.isfinite(time_seconds) & np.isfinite(stream.values_TC).all(axis=1)
    if not is_there.all():
        notes.append(f"{int((~is_there).sum())} rows of {stream.columns[0]} … dropped without a time or a value")
    time_seconds = time_seconds[is_there]
    _require_one_run(time_seconds)
    times, order = np.unique(time_seconds, return_index=True)
    if len(times) < len(time_seconds):
        notes.append(f"{len(time_seconds) - len(times)} rows of {stream.columns[0]} … dropped with a time seen before")
    if len(times) < 2:
        raise ValueError(f"there are {len(times)} rows of {', '.join(stream.columns)}")
    labels = None if stream.label_T is None else stream.label_T[is_there][order]
    return SensorStream(times, stream.values_TC[is_there][order], stream.columns, labels)


def _require_one_run(time_seconds: np.ndarray) -> None:
    """Raise ValueError where sorting would weave two runs of the clock into one."""
    resets = np.flatnonzero(np.diff(time_seconds) < -CLOCK_RESET_SECONDS) + 1
    runs = sorted(
        (float(run.min()), float(run.max()), int(row))
        for run, row in zip(np.split(time_seconds, resets), [0, *resets], strict=True)
        if len(run)
    )
    for (_, end, _), (start, _, row) in itertools.pairwise(runs):
        if start < end:
            raise ValueError(f"its clock was set back, to {start:g} s near row {row}: split it there")
