"""Readers of sensor files and of sensor recordings in memory, as a `Recording` with named channels and units."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from bind.files import reading
from bind.media.arrays import read_array
from bind.media.recording import Recording, checked_finite, recording_in_memory, span_frames
from bind.plain_data import parse_json, read_json
from bind.types import Clip, PackedFile, SensorRecording

READER_VERSION = 1
"""Raised where the same file would give other values: part of the key of caches."""
TIME_COLUMN = "time_seconds"
STEP_RANGE = (0.5, 1.5)
"""A step in time outside this range, as a multiple of the usual one, is a frame too few or too many."""
MAX_OPEN_RECORDINGS = 64
SIDECAR_EXAMPLE = '{"channels": ["acc_x", …], "units": ["g", …], "sample_rate_hz": 50}'


def open_sensor(value: Clip | SensorRecording) -> Recording:
    """Open a sensor file, its span, or a recording in memory.

    A file is `.npy` (T, C), memory-mapped, beside a JSON file of the same name that gives `channels`, `units` and
    `sample_rate_hz`; or CSV or Parquet with a `time_seconds` column and one column per channel, named with its unit
    in brackets: `acc_x [g]`. Up to 64 files stay open per process.

    Raises:
        ValueError: a file that is missing or malformed, a time column that jumps, or NaN in what is read.

    Examples:
        >>> values_TC = np.array([[0.0, 1.0], [0.1, 1.1]], dtype=np.float32)
        >>> recording = open_sensor(SensorRecording(values_TC, 50.0, ("acc_x", "acc_z"), ("g", "g")))
        >>> recording.num_frames, recording.channels, recording.read(1, 2).shape
        (2, ('acc_x', 'acc_z'), (1, 2))
    """
    if isinstance(value, SensorRecording):
        name, whole = "a sensor recording in memory", value
        check_sensor_shape(name, value)
        first, last = 0, len(value.values)
    elif isinstance(value, Clip):
        name, whole = str(value), _load_file(value)
        first, last = span_frames(value, whole.sample_rate_hz, len(whole.values))
    else:
        raise ValueError(f"a sensor's value is a Clip (a file) or a SensorRecording, not {type(value).__name__}")

    return recording_in_memory(
        name, whole.values[first:last], whole.sample_rate_hz, channels=whole.channels, units=whole.units
    )


def _load_file(clip: Clip) -> SensorRecording:
    """The whole recording of a clip's file; one on disk is opened once."""
    if isinstance(clip.path, PackedFile):
        return _parse_file(Clip(clip.path))
    try:
        modified_ns = clip.path.stat().st_mtime_ns
    except OSError as error:
        raise ValueError(f"{clip.path}: not readable ({error.strerror}). Check the path") from error
    return _load_file_once(clip.path, modified_ns)


@lru_cache(maxsize=MAX_OPEN_RECORDINGS)
def _load_file_once(path: Path, modified_ns: int) -> SensorRecording:
    # `modified_ns` is part of the cache's key: a file that was written again is read again.
    return _parse_file(Clip(path))


def _parse_file(clip: Clip) -> SensorRecording:
    suffix = clip.path.suffix.lower()
    if suffix == ".npy":
        recording = read_sensor_array(clip)
    elif suffix in (".csv", ".parquet"):
        time_seconds, values_TC, channels, units = read_sensor_table(clip)
        recording = SensorRecording(values_TC, _regular_rate_hz(time_seconds, clip.path), channels, units)
    else:
        raise ValueError(f"{clip.path}: a sensor file ends in .npy, .csv or .parquet")
    check_sensor_shape(str(clip.path), recording)
    return recording


def read_sensor_array(clip: Clip) -> SensorRecording:
    """Read a whole `.npy` file with the channels, units and rate of its JSON; ValueError where either can't be read."""
    path = clip.path
    values_TC = read_array(Clip(path))
    sidecar = f"{Path(path.name).stem}.json"
    with reading(path, f"it needs {sidecar} beside it with {SIDECAR_EXAMPLE}", "Write that file"):
        if isinstance(path, Path):
            header = read_json(path.with_suffix(".json"))
        else:
            header = parse_json(path.sidecar or b"", path.name)
        sample_rate_hz = float(header["sample_rate_hz"])
        channels, units = (tuple(map(str, header[name])) for name in ("channels", "units"))
        return SensorRecording(values_TC, sample_rate_hz, channels, units)


def read_sensor_table(clip: Clip) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Read a whole CSV or Parquet file: time in seconds (T,), values (T, C) float32, channels and units.

    Raises:
        ValueError: no table of numbers, no `time_seconds` column, or a channel without its unit.
    """
    import pyarrow.csv
    import pyarrow.parquet

    path = clip.path
    with reading(path, "not readable as a table of numbers"):
        is_csv = path.suffix.lower() == ".csv"
        table = pyarrow.csv.read_csv(clip.file) if is_csv else pyarrow.parquet.read_table(clip.file)
        columns = {name: table[name].to_numpy().astype(np.float64) for name in table.column_names}
    if TIME_COLUMN not in columns:
        raise ValueError(f"{path}: there is no column {TIME_COLUMN!r}; there are {', '.join(columns)}")
    time_seconds = columns.pop(TIME_COLUMN)
    names = [re.fullmatch(r"(\S+) \[(.+)\]", column) for column in columns]
    if not names or not all(names):
        raise ValueError(f"{path}: write each channel's unit into its column name, as in 'acc_x [g]'")
    channels, units = zip(*(match.groups() for match in names if match), strict=True)
    return time_seconds, np.stack(list(columns.values()), axis=1).astype(np.float32), channels, units


def _regular_rate_hz(time_seconds: np.ndarray, path: Path | PackedFile) -> float:
    """The rate of a regular time axis; ValueError where a step is over 1.5 or under 0.5 of the median step."""
    steps = np.diff(checked_finite(time_seconds, f"{path} ({TIME_COLUMN})"))
    if not len(steps):
        raise ValueError(f"{path}: {len(time_seconds)} row(s) are no recording")
    step = float(np.median(steps))
    shortest, longest = (step * factor for factor in STEP_RANGE)
    irregular = np.flatnonzero((steps < shortest) | (steps > longest)) if step > 0 else np.arange(1)
    if len(irregular):
        row = int(irregular[0])
        raise ValueError(
            f"{path}: {TIME_COLUMN} jumps {len(irregular)} time(s), first from {time_seconds[row]:g} to "
            f"{time_seconds[row + 1]:g} s where the usual step is {step:g} s. Sort it, and cut the recording at gaps "
            "or interpolate onto a regular grid"
        )
    return float((len(time_seconds) - 1) / (time_seconds[-1] - time_seconds[0]))


def check_sensor_shape(name: str, recording: SensorRecording) -> None:
    """Raise ValueError where values, channels, units and rate do not fit together."""
    shape, num_channels = recording.values.shape, len(recording.channels)
    if len(shape) != 2 or shape[1] != num_channels:
        hint = " It looks transposed." if len(shape) == 2 and shape[0] == num_channels else ""
        raise ValueError(f"{name}: values {shape} are not (time, {num_channels} channels).{hint}")
    if len(recording.units) != num_channels:
        raise ValueError(f"{name}: {len(recording.units)} unit(s) for {num_channels} channels")
    if not (math.isfinite(recording.sample_rate_hz) and recording.sample_rate_hz > 0):
        raise ValueError(f"{name}: sample_rate_hz is {recording.sample_rate_hz}, it must be above 0")
