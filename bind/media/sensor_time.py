"""Clocks of sensor tables: time columns in any unit as seconds, and uneven rows laid on an even grid."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

TIME_UNITS = {"time_seconds": 1.0, "time_milliseconds": 1e-3, "time_microseconds": 1e-6, "time_nanoseconds": 1e-9}
"""Time columns → their unit in seconds."""
ARROW_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
MOTION_UNITS = frozenset({"g", "m/s^2", "m/s2", "m/s²", "rad/s", "deg/s", "°/s"})
MIN_MOTION_RATE_HZ, MIN_RATE_HZ, MAX_RATE_HZ = 2.0, 0.2, 20_000.0
"""Plausible rates. Motion under 2 Hz is none that a window could show; seconds that are milliseconds look like that."""
MAX_STEP = 3.0
"""A step in time up to so many usual ones is interpolated, a longer one is a gap."""
MAX_GAP_SHARE = 0.1
MAX_OFF_GRID = 0.1
"""Share of a step by which rows may lie beside an even grid and are taken as on it: at a quarter of the sampling rate
that is noise at 20·log10(2π · 0.25 · 0.1) = -16 dB at worst, and none where times were only rounded."""
LAG = 4
"""Phones deliver rows in bursts: over so many steps those average out."""


class UnorderedTimeError(ValueError):
    """Rows of a sensor table are not in the order of their times."""


@dataclass(frozen=True, slots=True)
class EvenValues:
    """Values on an even grid of `num_frames` at `sample_rate_hz`, which begins at `start_seconds` of the file's clock.

    Attributes:
        stretches: first frame and values (T, C) of each stretch without a gap, in order.
        jitter: standard deviation of the steps between rows, gaps aside, as a share of the usual step.
        is_interpolated: whether the values lie between rows; False: they are the rows.
    """

    sample_rate_hz: float
    start_seconds: float
    num_frames: int
    stretches: tuple[tuple[int, np.ndarray], ...]
    jitter: float = 0.0
    is_interpolated: bool = False

    def gaps(self, first: int, last: int) -> list[tuple[float, float]]:
        """Starts and lengths in seconds of the gaps that frames `first` to `last` (excluded) touch."""
        found = []
        end = 0
        for begin, values_TC in [*self.stretches, (self.num_frames, np.empty((0, 0)))]:
            if begin > end and first < begin and last > end:
                found.append((self.start_seconds + end / self.sample_rate_hz, (begin - end) / self.sample_rate_hz))
            end = begin + len(values_TC)
        return found

    def read(self, first: int, last: int, name: str) -> np.ndarray:
        """Frames `first` to `last` (excluded), (last - first, C); ValueError, with `name`, where they touch a gap."""
        for begin, values_TC in self.stretches:
            if begin <= first and last <= begin + len(values_TC):
                return values_TC[first - begin : last - begin]
        start, seconds = self.gaps(first, last)[0]
        raise ValueError(
            f"{name}: a gap of {seconds:.3g} s after {start:.3f} s of the file's clock lies in what is read; steps of "
            f"up to {MAX_STEP / self.sample_rate_hz:.3g} s are interpolated. Give it spans without the gap"
        )


def read_time(column: Any, name: str, where: str) -> np.ndarray:
    """The Arrow column `name` as seconds (T,) float64: numbers in its unit, or timestamps, durations, times of day, ISO
    8601 texts as what they are. Timestamps count from 1970 in UTC.

    Raises:
        ValueError: with `where`, for any other type, and for empty cells.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = _parse_times(column, name, where)
        kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or pa.types.is_time(kind):
        unit = ARROW_UNITS[kind.unit]
        integers = column.cast(pa.int32()).cast(pa.int64()) if pa.types.is_time32(kind) else column.cast(pa.int64())
    elif pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        unit, integers = TIME_UNITS[name], column
    else:
        raise ValueError(f"{where}: {name} is of the type {kind}. Write numbers, timestamps or ISO 8601 texts")
    num_empty = integers.null_count
    if not num_empty:
        numbers = pc.cast(integers, pa.float64(), safe=False).to_numpy()
        num_empty = int((~np.isfinite(numbers)).sum())
    if num_empty:
        raise ValueError(f"{where}: {name} has {num_empty} empty cell(s) in {len(column)} row(s). Drop those rows")
    if unit == 1.0:
        return np.asarray(numbers)
    # A quotient of whole numbers is the nearest number to the time that was written, a product with 1e-9 is not.
    return np.asarray(numbers / round(1 / unit))


def _parse_times(column: Any, name: str, where: str) -> Any:
    import pyarrow as pa

    for kind in (pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            continue
    example = next((text for text in column.to_pylist() if text and not _is_number(text)), "")
    raise ValueError(
        f"{where}: {name} holds texts such as {example!r}. Write numbers, or ISO 8601 like 2024-05-01T12:00:00.010"
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def require_plausible_rate(rate_hz: float, units: Collection[str], name: str, where: str) -> None:
    """Raise ValueError, with `where` and the likely unit, where the time column `name` can't be in its unit."""
    lowest = MIN_RATE_HZ if MOTION_UNITS.isdisjoint(units) else MIN_MOTION_RATE_HZ
    if lowest < rate_hz <= MAX_RATE_HZ:
        return
    unit = TIME_UNITS.get(name, 1.0)
    plausible = [
        other for other, size in TIME_UNITS.items() if size != unit and lowest < rate_hz * unit / size <= MAX_RATE_HZ
    ]
    hint = "Write the time in seconds"
    if plausible:
        hint = f"It looks like {plausible[0].removeprefix('time_')}: rename the column to {plausible[0]}"
    raise ValueError(
        f"{where}: by {name} there is one row in {1 / rate_hz:g} s, {rate_hz:g} Hz. {hint}. If that is its true rate, "
        "write a .npy beside a JSON with sample_rate_hz"
    )


def lay_on_grid(time_seconds: np.ndarray, values_TC: np.ndarray, where: str = "the time") -> EvenValues:
    """Values of rows at `time_seconds` on an even grid of the rows' mean rate, from the first row on.

    Rows that lie on such a grid, but for rounding or a tenth of a step, are kept as they are. Others are interpolated
    along lines, where steps are up to `MAX_STEP` usual ones; longer steps are gaps.

    Raises:
        ValueError: with `where` (file and column), for time that does not rise, or no usual step.

    Examples:
        >>> time_seconds = np.array([0.0, 0.1, 0.23, 0.3, 0.4, 5.0, 5.1])
        >>> even = lay_on_grid(time_seconds, 10 * time_seconds[:, None])
        >>> round(even.sample_rate_hz), even.num_frames, [first for first, _ in even.stretches]
        (10, 52, [0, 50])
        >>> [(round(start, 3), round(seconds, 3)) for start, seconds in even.gaps(0, 40)]
        [(0.5, 4.5)]
    """
    num_rows = len(time_seconds)
    assert num_rows >= 2
    steps = np.diff(time_seconds)
    backward = np.flatnonzero(steps <= 0)
    if len(backward):
        row = int(backward[0])
        raise UnorderedTimeError(
            f"{where} jumps back or stands still {len(backward)} time(s), first from {float(time_seconds[row])!r} to "
            f"{float(time_seconds[row + 1])!r} s. Where the clock was set back or its counter overflowed, split it "
            "there; where rows are mixed up, sort them, and drop repeated ones (bindspace sensor-import does)"
            + (", or store the time as float64" if float(steps.max()) > 0 and len(backward) > num_rows / 2 else "")
        )
    lag = min(LAG, num_rows - 1)
    usual = float(np.median(time_seconds[lag:] - time_seconds[:-lag])) / lag
    regular = steps[steps <= MAX_STEP * usual]
    usual = float(regular.mean()) if len(regular) else usual
    gaps = np.flatnonzero(steps > MAX_STEP * usual)
    if len(gaps) > max(1, MAX_GAP_SHARE * len(steps)):
        raise ValueError(
            f"{where} has no usual rate: {len(gaps)} of {len(steps)} steps in time are over {MAX_STEP:g} times the "
            f"mean of the others, {usual:.4g} s. Resample it onto a regular grid"
        )
    start = float(time_seconds[0])
    jitter = float(regular.std()) / usual if len(regular) else 0.0
    if not len(gaps):
        rate_hz = (num_rows - 1) / float(time_seconds[-1] - start)
        beside = float(np.abs(time_seconds - (start + np.arange(num_rows) / rate_hz)).max())
        if beside * rate_hz <= MAX_OFF_GRID or beside <= _rounding(time_seconds):
            return EvenValues(rate_hz, start, num_rows, ((0, values_TC),), jitter)
    else:
        rate_hz = 1 / usual
    position = (time_seconds - start) * rate_hz
    stretches = []
    for rows in np.split(np.arange(num_rows), gaps + 1):
        first, last = math.ceil(position[rows[0]] - 1e-6), math.floor(position[rows[-1]] + 1e-6)
        if last >= first:
            grid = np.arange(first, last + 1)
            columns = [np.interp(grid, position[rows], column) for column in values_TC[rows].T]
            stretches.append((first, np.stack(columns, axis=1).astype(np.float32)))
    num_frames = math.floor(position[-1] + 1e-6) + 1
    return EvenValues(rate_hz, start, num_frames, tuple(stretches), jitter, is_interpolated=True)


def _rounding(time_seconds: np.ndarray) -> float:
    """The error of times that were rounded to so many decimals as they have; 0 where they have more than six."""
    for decimals in range(7):
        scaled = time_seconds * 10**decimals
        if np.abs(scaled - np.round(scaled)).max() < 1e-3:
            return float(10.0**-decimals)
    return 0.0
