"""Readers of sensor files and of sensor recordings in memory, as a `Recording` with named channels and units."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bind.files.content import decode_text, text_encoding
from bind.files.parquet import open_parquet
from bind.files.plain_data import parse_json, read_json, require_each, require_kinds
from bind.files.reading import reading, require_regular_file
from bind.media.arrays import read_array
from bind.media.notices import warn_once
from bind.media.recording import EDGE_SECONDS, MAX_FRAMES, Recording, checked_finite, recording_in_memory
from bind.media.sensor_time import TIME_UNITS, EvenValues, lay_on_grid, read_time, require_plausible_rate
from bind.media.sensor_units import require_measurable, require_plausible_units
from bind.types import Clip, PackedFile, SensorRecording

READER_VERSION = 2
"""Raised where the same file would give other values: part of the key of caches."""
MAX_OPEN_RECORDINGS = 64
MAX_SIDECAR_BYTES = 2**20
"""Of the JSON that names the channels of a `.npy`."""
DECIMAL_COMMA = re.compile(rb"(?:^|[;\t])[ \"]*[-+]?[0-9]*,[0-9]+(?:[eE][-+]?[0-9]+)?[ \"]*(?=[;\t\r\n])", re.MULTILINE)
"""A number between semicolons or tabs, as it is written where the comma stands before its decimals."""
SIDECAR_EXAMPLE = '{"channels": ["acc_x", …], "units": ["g", …], "sample_rate_hz": 50}'


@dataclass(frozen=True, slots=True)
class SensorFile:
    """A whole sensor file: its values on an even grid, a name and a unit for each channel.

    `left_out` are columns of a table that are no channels, because their names give no unit.
    """

    even: EvenValues
    channels: tuple[str, ...]
    units: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @property
    def sample_rate_hz(self) -> float:
        return self.even.sample_rate_hz

    @property
    def values(self) -> np.ndarray:
        """The values (T, C) of all stretches, one after the other, without the gaps."""
        stretches = [values_TC for _, values_TC in self.even.stretches]
        return stretches[0] if len(stretches) == 1 else np.concatenate(stretches)


def open_sensor(value: Clip | SensorRecording) -> Recording:
    """Open a sensor file, its span, or a recording in memory.

    A file is `.npy` (T, C), memory-mapped, beside a JSON file of the same name that gives `channels`, `units` and
    `sample_rate_hz`, whose clock starts at 0; or CSV or Parquet with a column `time_seconds` (or `time_milliseconds`,
    `time_microseconds`, `time_nanoseconds`; timestamps and ISO 8601 texts too) and one column per channel, named with
    its unit in brackets: `acc_x [g]`. Other columns are left out, and the log names them. Rows that come unevenly are
    interpolated onto an even grid (`bind.media.sensor_time`). Up to 64 files stay open per process.

    A span is in the clock of the file, and may begin up to 0.1 s before it; where `value.from_first_row`, it counts
    from the first row.

    Raises:
        ValueError: a file that is missing or malformed, whose time is implausible or does not rise, a span beyond it,
            and a gap or NaN in what is read.

    Examples:
        >>> values_TC = np.array([[0.0, 1.0], [0.1, 1.1]], dtype=np.float32)
        >>> recording = open_sensor(SensorRecording(values_TC, 50.0, ("acc_x", "acc_z"), ("g", "g")))
        >>> recording.num_frames, recording.channels, recording.read(1, 2).shape
        (2, ('acc_x', 'acc_z'), (1, 2))
    """
    if isinstance(value, SensorRecording):
        name = "a sensor recording in memory"
        check_sensor_shape(name, value)
        channels, units = value.channels, value.units
        require_plausible_units(value.values, channels, units, name)
        return recording_in_memory(name, value.values, value.sample_rate_hz, channels=channels, units=units)
    if not isinstance(value, Clip):
        raise ValueError(f"a sensor's value is a Clip (a file) or a SensorRecording, not {type(value).__name__}")
    name, file = str(value), load_sensor_file(value)
    first, last = sensor_span_frames(value, file)

    def read(begin: int, end: int) -> np.ndarray:
        values_TC = checked_finite(np.asarray(file.even.read(first + begin, first + end, name), dtype=np.float32), name)
        require_measurable(values_TC, file.channels, file.units, name)
        return values_TC

    return Recording(name, file.sample_rate_hz, last - first, read, channels=file.channels, units=file.units)


def sensor_span_frames(clip: Clip, file: SensorFile) -> tuple[int, int]:
    """First frame of a clip and the frame after its last; ValueError where the clock of the file does not run then."""
    rate_hz, num_frames = file.sample_rate_hz, file.even.num_frames
    clock_start = 0.0 if clip.from_first_row else file.even.start_seconds
    first, last = 0, num_frames
    if clip.start_seconds is not None:
        first = round(min((clip.start_seconds - clock_start) * rate_hz, MAX_FRAMES))
    if clip.end_seconds is not None:
        last = round(min((clip.end_seconds - clock_start) * rate_hz, MAX_FRAMES))
    if first < -max(1, round(EDGE_SECONDS * rate_hz)) or last > num_frames + 1:
        end = clock_start + num_frames / rate_hz
        hint = ", or let spans count from the first row: a column MODALITY_clock with first_row in the manifest"
        raise ValueError(
            f"{clip}: the recording is only {num_frames / rate_hz:g} s long, its clock runs from {clock_start:g} to "
            f"{end:g} s; correct the span in the manifest{hint if clock_start else ''}"
        )
    first, last = max(0, first), min(last, num_frames)
    if last <= first:
        raise ValueError(f"{clip}: there are no samples in it. Replace the file, widen the span or drop the row")
    return first, last


def load_sensor_file(clip: Clip) -> SensorFile:
    """The whole recording of a clip's file; one on disk is opened once."""
    if isinstance(clip.path, PackedFile):
        return _parse_file(Clip(clip.path))
    require_regular_file(clip.path)
    return _load_file_once(clip.path, clip.path.stat().st_mtime_ns)


@lru_cache(maxsize=MAX_OPEN_RECORDINGS)
def _load_file_once(path: Path, modified_ns: int) -> SensorFile:
    # `modified_ns` is part of the cache's key: a file that was written again is read again.
    return _parse_file(Clip(path))


def _parse_file(clip: Clip) -> SensorFile:
    file = _read_by_suffix(clip)
    require_plausible_units(file.values, file.channels, file.units, str(clip.path))
    return file


def _read_by_suffix(clip: Clip) -> SensorFile:
    suffix = clip.path.suffix.lower()
    if suffix == ".npy":
        recording = read_sensor_array(clip)
        check_sensor_shape(str(clip.path), recording)
        if not len(recording.values):
            raise ValueError(f"{clip.path}: there are no samples in it. Replace the file or drop its row")
        values_TC, rate_hz = recording.values, recording.sample_rate_hz
        return SensorFile(
            EvenValues(rate_hz, 0.0, len(values_TC), ((0, values_TC),)), recording.channels, recording.units
        )
    if suffix in (".csv", ".parquet"):
        return read_sensor_table(clip)
    raise ValueError(f"{clip.path}: a sensor file ends in .npy, .csv or .parquet")


def read_sensor_array(clip: Clip) -> SensorRecording:
    """Read a whole `.npy` file with the channels, units and rate of its JSON; ValueError where either can't be read."""
    path = clip.path
    values_TC = read_array(Clip(path))
    sidecar = f"{Path(path.name).stem}.json"
    with reading(path, f"it needs {sidecar} beside it with {SIDECAR_EXAMPLE}", "Write that file"):
        if isinstance(path, Path):
            header = read_json(path.with_suffix(".json"), max_bytes=MAX_SIDECAR_BYTES)
        elif len(path.sidecar or b"") > MAX_SIDECAR_BYTES:
            raise ValueError(f"it has more than {MAX_SIDECAR_BYTES} bytes")
        else:
            header = parse_json(path.sidecar or b"", path.name)
        require_kinds(header, {"channels": list, "units": list, "sample_rate_hz": (int, float)}, sidecar)
        require_each([*header["channels"], *header["units"]], lambda name: isinstance(name, str), sidecar, "a name")
        sample_rate_hz = float(header["sample_rate_hz"])
        channels, units = tuple(header["channels"]), tuple(header["units"])
        return SensorRecording(values_TC, sample_rate_hz, channels, units)


def read_sensor_table(clip: Clip) -> SensorFile:
    """Read a whole CSV or Parquet file.

    Raises:
        ValueError: no table, no time column, several columns of one name, no channel with a unit, texts in a channel,
            and time that is implausible or does not rise.
    """
    path = clip.path
    table = _read_table(clip)
    names = [name.strip() for name in table.column_names]
    matches = {name: re.fullmatch(r"(\S+) \[(.+)\]", name) for name in names}
    keys = [match[1] if (match := matches[name]) else name for name in names]
    if doubled := [key for key, count in Counter(keys).items() if count > 1]:
        raise ValueError(f"{path}: there are several columns {', '.join(doubled)}. Drop or rename all but one")
    times = [name for name in names if name in TIME_UNITS]
    if len(times) != 1:
        found = (
            f"are several columns of time, {', '.join(times)}" if times else f"is no column {next(iter(TIME_UNITS))!r}"
        )
        raise ValueError(f"{path}: there {found}; it has {', '.join(names)}. Time is in one of {', '.join(TIME_UNITS)}")
    columns = {name: table.column(place) for place, name in enumerate(names)}
    time_seconds = read_time(columns[times[0]], times[0], str(path))
    channels = {name: match.groups() for name, match in matches.items() if match}
    if not channels:
        raise ValueError(f"{path}: write each channel's unit into its column name, as in 'acc_x [g]'")
    left_out = tuple(name for name in names if name not in channels and name not in times)
    if left_out:
        names_left_out = ", ".join(name or "the one without a name" for name in left_out)
        warn_once(f"columns without a unit in their name are left out: {names_left_out}", str(path))
    values_TC = np.stack([_channel(columns[name], name, str(path)) for name in channels], axis=1)
    if len(time_seconds) < 2:
        raise ValueError(f"{path}: {len(time_seconds)} row(s) are no recording")
    even = lay_on_grid(time_seconds, values_TC, f"{path}: {times[0]}")
    names_of, units = zip(*channels.values(), strict=True)
    require_plausible_rate(even.sample_rate_hz, units, times[0], str(path))
    if even.is_interpolated:
        warn_once(f"rows that come unevenly are interpolated onto {even.sample_rate_hz:g} Hz", str(path))
    return SensorFile(even, names_of, units, left_out)


def _read_table(clip: Clip) -> Any:
    import pyarrow
    import pyarrow.csv

    with reading(clip.path, "not readable as a table of numbers"):
        if clip.path.suffix.lower() == ".parquet":
            return _with_readable_names(open_parquet(clip.file).read())
        content = clip.path.read_bytes() if isinstance(clip.path, Path) else clip.path.content
        if text_encoding(content, clip.path) == "utf-16":
            content = decode_text(content, clip.path).encode()
        decode_text(content.partition(b"\n")[0], clip.path)  # Arrow takes any bytes for names
        parsing, converting = csv_options(content[:65536])
        options = {"parse_options": parsing, "convert_options": converting}
        return _with_readable_names(pyarrow.csv.read_csv(io.BytesIO(content), **options))


def _with_readable_names(table: Any) -> Any:
    """`table`, whose names are decoded here: Arrow takes any bytes for them."""
    _ = table.column_names
    return table


def csv_options(head: bytes) -> tuple[Any, Any]:
    """Semicolons or tabs between columns, and then commas in numbers, where the first lines have them."""
    import pyarrow.csv

    first, _, rest = head.lstrip(b"\r\n").partition(b"\n")
    separator = max(b",;\t", key=lambda byte: first.count(byte))
    has_decimal_commas = chr(separator) != "," and DECIMAL_COMMA.search(rest) is not None
    return (
        pyarrow.csv.ParseOptions(delimiter=chr(separator)),
        pyarrow.csv.ConvertOptions(decimal_point="," if has_decimal_commas else "."),
    )


def _channel(column: Any, name: str, where: str) -> np.ndarray:
    """A column as float32 (T,), empty cells as NaN."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan, dtype=np.float32)
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise ValueError(f"{where}: the column {name!r} is not of numbers but of the type {kind}. Repair or drop it")
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float32)


def check_sensor_shape(name: str, recording: SensorRecording) -> None:
    """Raise ValueError where values, channels, units and rate do not fit together."""
    shape, num_channels = recording.values.shape, len(recording.channels)
    if len(shape) != 2 or shape[1] != num_channels:
        hint = " It looks transposed." if len(shape) == 2 and shape[0] == num_channels else ""
        raise ValueError(f"{name}: values {shape} are not (time, {num_channels} channels).{hint}")
    if doubled := [channel for channel, count in Counter(recording.channels).items() if count > 1]:
        raise ValueError(f"{name}: there are several channels {', '.join(doubled)}. Give each a name of its own")
    if len(recording.units) != num_channels:
        raise ValueError(f"{name}: {len(recording.units)} unit(s) for {num_channels} channels")
    if not (math.isfinite(recording.sample_rate_hz) and recording.sample_rate_hz > 0):
        raise ValueError(f"{name}: sample_rate_hz is {recording.sample_rate_hz}, it must be above 0")
