"""Layouts of exports: which files and columns hold what, in which units, by the documentation of each."""

from __future__ import annotations

import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bind.commands.sensor_import.streams import ImportedRecording, SensorStream
from bind.files.content import decode_text
from bind.media.sensor import csv_options

MAX_EXPORT_BYTES = 1 << 32
AXES = ("x", "y", "z")
PAMAP2_PARTS = {"hand": 3, "chest": 20, "ankle": 37}
"""Of a row's 54 numbers, the first of a part's 17: temperature, acceleration at ±16 g, at ±6 g, gyroscope, magnet."""
XSENS_COUNTER_PERIOD, XSENS_TIME_PERIOD = 1 << 16, 1 << 32
XSENS_TRIADS = {"Acc": ("acc", "m/s^2"), "FreeAcc": ("free_acc", "m/s^2"), "Gyr": ("gyro", ""), "Mag": ("mag", "a.u.")}

Reader = Callable[[Path, float | None], Iterator[ImportedRecording]]
"""From an export and the rate that the user gave to its recordings."""


def triad(name: str, unit: str) -> tuple[str, ...]:
    """Columns of three axes: `acc_x [m/s^2]`, …"""
    return tuple(f"{name}_{axis} [{unit}]" for axis in AXES)


def read_sensor_logger(path: Path, rate_hz: float | None) -> Iterator[ImportedRecording]:
    """A folder or zip of Sensor Logger: a CSV per sensor with `seconds_elapsed`, `x`, `y`, `z`, in m/s², rad/s and µT.

    Acceleration with gravity is TotalAcceleration.csv where there is one, else the sum of Accelerometer.csv, which is
    without, and Gravity.csv. iOS without "Standardise Units & Frames" has its sign turned, if metadata.csv tells.
    """
    files = _export_files(path)
    notes: list[str] = []
    sensors = {
        name: _sensor_logger_stream(files[f"{name}.csv"], columns)
        for name, columns in (
            ("TotalAcceleration", triad("acc", "m/s^2")),
            ("Accelerometer", triad("linear_acc", "m/s^2")),
            ("Gravity", triad("gravity", "m/s^2")),
            ("Gyroscope", triad("gyro", "rad/s")),
            ("Magnetometer", triad("mag", "µT")),
        )
        if f"{name}.csv" in files
    }
    linear, gravity = sensors.pop("Accelerometer", None), sensors.pop("Gravity", None)
    streams = list(sensors.values())
    if "TotalAcceleration" not in sensors and linear is not None and gravity is not None:
        sign = _sensor_logger_sign(files.get("metadata.csv"), notes)
        pulls_TC = np.stack(
            [
                np.interp(linear.time_seconds, gravity.time_seconds, column, left=np.nan, right=np.nan)
                for column in gravity.values_TC.T
            ],
            axis=1,
        )
        total_TC = sign * (linear.values_TC + pulls_TC)
        streams.insert(0, SensorStream(linear.time_seconds, total_TC, triad("acc", "m/s^2")))
        notes.append("acceleration is Accelerometer.csv plus Gravity.csv")
    elif "TotalAcceleration" not in sensors and linear is not None:
        streams.insert(0, linear)
        notes.append("there is no gravity in it: its acceleration is called linear_acc")
    if not streams:
        raise ValueError(f"{path}: there is no TotalAcceleration.csv, Accelerometer.csv or Gyroscope.csv in it")
    yield ImportedRecording(path.stem if path.suffix == ".zip" else path.name, streams, notes)


def _sensor_logger_stream(content: bytes, columns: tuple[str, ...]) -> SensorStream:
    table = _read_csv(content)
    time_seconds = _numbers(table, "seconds_elapsed")
    return SensorStream(time_seconds, np.stack([_numbers(table, axis) for axis in AXES], axis=1), columns)


def _sensor_logger_sign(metadata: bytes | None, notes: list[str]) -> float:
    """-1 where an iPhone wrote accelerations in its own sense, against Android's; 1 elsewhere."""
    if metadata is None:
        return 1.0
    table = _read_csv(metadata)
    cells = {name.lower(): str(table[name][0].as_py()).lower() for name in table.column_names if len(table)}
    if cells.get("platform") != "ios":
        return 1.0
    if cells.get("standardisation") == "true":
        return 1.0
    if "standardisation" not in cells:
        notes.append("an iPhone's, and it does not tell whether its units and frames are standardised: sign as it is")
        return 1.0
    notes.append("an iPhone's: the sign of its acceleration was turned to what Android has")
    return -1.0


def read_phyphox(path: Path, rate_hz: float | None) -> Iterator[ImportedRecording]:
    """A CSV, folder or zip of phyphox: `Time (s)`, then columns whose names end in their unit in brackets."""
    streams, notes = [], []
    for name, content in sorted(_export_files(path).items()):
        table = _read_csv(content)
        if "Time (s)" not in table.column_names:
            continue
        matches = {column: re.fullmatch(r"(.+?) \((.+)\)", column) for column in table.column_names[1:]}
        if left_out := [column for column, match in matches.items() if not match]:
            notes.append(f"left out of {name}: {', '.join(left_out)}")
        named = {column: _phyphox_column(*match.groups()) for column, match in matches.items() if match}
        if named:
            values_TC = np.stack([_numbers(table, column) for column in named], axis=1)
            streams.append(SensorStream(_numbers(table, "Time (s)"), values_TC, tuple(named.values())))
    if not streams:
        raise ValueError(f"{path}: there is no CSV with 'Time (s)' in it. Export it in English, as CSV")
    streams.sort(key=lambda stream: not stream.columns[0].startswith("acc_"))
    yield ImportedRecording(path.stem if path.suffix else path.name, streams, notes)


def _phyphox_column(quantity: str, unit: str) -> str:
    name = re.sub(r"\W+", "_", quantity.strip().lower())
    for long, short in (("linear_acceleration", "linear_acc"), ("acceleration", "acc"), ("gyroscope", "gyro")):
        if name.startswith(long):
            name = short + name.removeprefix(long)
            break
    return f"{name.replace('magnetic_field', 'mag')} [{unit.replace('²', '^2').replace('μ', 'µ')}]"


def read_xsens(path: Path, rate_hz: float | None) -> Iterator[ImportedRecording]:
    """A text or CSV of Xsens: MT Manager (rad/s, ticks of 0.1 ms) or DOT (°/s, µs); acceleration in m/s².

    Without SampleTimeFine the time is PacketCounter over the rate: "Update Rate" of its head, or the one given.
    """
    content = path.read_bytes()
    lines = content.split(b"\n")
    start = next((i for i, line in enumerate(lines[:50]) if b"PacketCounter" in line), None)
    if start is None:
        raise ValueError(f"{path}: there is no row of column names with PacketCounter in it")
    head = b"\n".join(lines[:start]).decode(errors="replace")
    table = _read_csv(b"\n".join(lines[start:]))
    ticks = _numbers(table, "SampleTimeFine") if "SampleTimeFine" in table.column_names else np.full(len(table), np.nan)
    is_dot = "DeviceTag" in head or "sep=" in head
    if np.isfinite(ticks).all():
        ticks = np.unwrap(ticks, period=XSENS_TIME_PERIOD)
        is_dot = is_dot or float(np.median(np.diff(ticks))) > 1000
        time_seconds = ticks * (1e-6 if is_dot else 1e-4)
    else:
        stated = re.search(r"Update Rate:\s*([\d.]+)", head)
        rate_hz = rate_hz or (float(stated[1]) if stated else None)
        if not rate_hz:
            raise ValueError(f"{path}: neither SampleTimeFine nor an update rate is in it: pass --rate-hz")
        time_seconds = np.unwrap(_numbers(table, "PacketCounter"), period=XSENS_COUNTER_PERIOD) / rate_hz
        time_seconds = time_seconds - time_seconds[0]
    columns: list[str] = []
    values: list[np.ndarray] = []
    for prefix, (name, unit) in XSENS_TRIADS.items():
        names = [f"{prefix}_{axis.upper()}" for axis in AXES]
        if prefix == "FreeAcc" and names[0] not in table.column_names:
            names = [f"FreeAcc_{axis}" for axis in "ENU"]
        if set(names) <= set(table.column_names):
            columns += triad(name, unit or ("deg/s" if is_dot else "rad/s"))
            values += [_numbers(table, column) for column in names]
    if not values:
        raise ValueError(f"{path}: there are no Acc_X, Gyr_X, FreeAcc_X or Mag_X in it. Export the sensors' data too")
    notes = ["read as Xsens DOT, °/s" if is_dot else "read as MT Manager, rad/s"] if "gyro" in " ".join(columns) else []
    yield ImportedRecording(path.stem, [SensorStream(time_seconds, np.stack(values, axis=1), tuple(columns))], notes)


def read_ego4d(path: Path, rate_hz: float | None) -> Iterator[ImportedRecording]:
    """A CSV of Ego4D's IMU, on the clock of its video: `canonical_timestamp_ms`, m/s² and rad/s."""
    table = _read_csv(path.read_bytes())
    time_seconds = _numbers(table, "canonical_timestamp_ms") / 1000
    streams = []
    for prefix, columns in (("accl", triad("acc", "m/s^2")), ("gyro", triad("gyro", "rad/s"))):
        values_TC = np.stack([_numbers(table, f"{prefix}_{axis}") for axis in AXES], axis=1)
        measured = np.isfinite(values_TC).all(axis=1) & np.isfinite(time_seconds)  # rows hold one sensor each
        streams.append(SensorStream(time_seconds[measured], values_TC[measured], columns))
    yield ImportedRecording(path.stem, streams)


def read_pamap2(path: Path, rate_hz: float | None) -> Iterator[ImportedRecording]:
    """A .dat of PAMAP2: recordings of hand, chest and ankle (±16 g, m/s²; rad/s; µT), with the activity's number."""
    import pyarrow as pa
    import pyarrow.csv

    table = pyarrow.csv.read_csv(
        io.BytesIO(path.read_bytes()),
        read_options=pyarrow.csv.ReadOptions(autogenerate_column_names=True),
        parse_options=pyarrow.csv.ParseOptions(delimiter=" "),
        convert_options=pyarrow.csv.ConvertOptions(null_values=["NaN", "nan", ""]),
    )
    if table.num_columns != 54:
        raise ValueError(f"{path}: it has {table.num_columns} columns, PAMAP2's have 54")
    numbers_TC = np.stack([c.cast(pa.float64()).to_numpy() for c in table.columns], axis=1)
    columns = (*triad("acc", "m/s^2"), *triad("gyro", "rad/s"), *triad("mag", "µT"))
    activity_T = numbers_TC[:, 1].astype(int)
    for part, first in PAMAP2_PARTS.items():
        measured = [first + offset for offset in (1, 2, 3, 7, 8, 9, 10, 11, 12)]
        stream = SensorStream(numbers_TC[:, 0], numbers_TC[:, measured], columns, activity_T)
        yield ImportedRecording(f"{path.stem}-{part}", [stream])


def read_wisdm(path: Path, rate_hz: float | None) -> Iterator[ImportedRecording]:
    """A text of WISDM: lines `person,activity,nanoseconds,x,y,z;`, a recording per person.

    Of the files of 2019 (`data_1600_accel_phone.txt`) the gyroscope's is taken along, from `../gyro` or beside it.
    Acceleration is in m/s², the gyroscope in rad/s.
    """
    is_gyro = "_gyro_" in path.name
    columns = triad("gyro", "rad/s") if is_gyro else triad("acc", "m/s^2")
    partner = None
    if "_accel_" in path.name:
        name = path.name.replace("_accel_", "_gyro_")
        partner = next((p for p in (path.parent.parent / "gyro" / name, path.with_name(name)) if p.is_file()), None)
    rotations = _wisdm_streams(partner, triad("gyro", "rad/s"))[0] if partner else {}
    streams, num_bad = _wisdm_streams(path, columns)
    for person, stream in streams.items():
        notes = [f"{num_bad} lines of the file are no records"] if num_bad else []
        of_person = [stream, rotations[person]] if person in rotations else [stream]
        name = path.stem if len(streams) == 1 else f"{path.stem}-{person}"
        yield ImportedRecording(name, of_person, notes)


def _wisdm_streams(path: Path, columns: tuple[str, ...]) -> tuple[dict[str, SensorStream], int]:
    rows: dict[str, list[tuple[int, str, float, float, float]]] = defaultdict(list)
    num_bad = 0
    for record in re.split(r"[;\n]+", path.read_text()):
        if not record.strip(" ,\r"):
            continue
        try:
            person, activity, stamp, x, y, z = (field.strip() for field in record.strip(" ,\r").split(","))
            rows[person].append((int(stamp), activity, float(x), float(y), float(z)))
        except ValueError:
            num_bad += 1
    if not rows:
        raise ValueError(f"{path}: there are no lines 'person,activity,nanoseconds,x,y,z;' in it")
    streams = {}
    for person, records in rows.items():
        stamps, activities, *values = zip(*records, strict=True)
        time_seconds = np.array(stamps, dtype=np.int64) / 1e9
        time_seconds[time_seconds == 0] = np.nan  # no time was recorded
        streams[person] = SensorStream(time_seconds, np.array(values).T, columns, np.array(activities))
    return streams, num_bad


def _export_files(path: Path) -> dict[str, bytes]:
    """Name → content of the CSV files of a folder or a zip, or of one file."""
    if path.is_dir():
        return {file.name: file.read_bytes() for file in sorted(path.glob("*.csv"))}
    if path.suffix.lower() != ".zip":
        return {path.name: path.read_bytes()}
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".csv") and not m.is_dir()]
            if sum(member.file_size for member in members) > MAX_EXPORT_BYTES:
                raise ValueError(
                    f"{path}: it holds more than {MAX_EXPORT_BYTES >> 30} GiB. Unpack it and pass the folder"
                )
            return {Path(member.filename).name: archive.read(member) for member in members}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not readable as zip ({error})") from error


def _read_csv(content: bytes) -> Any:
    import pyarrow
    import pyarrow.csv

    content = decode_text(content, "a CSV of it").encode()
    parsing, converting = csv_options(content[:65536])
    try:
        return pyarrow.csv.read_csv(io.BytesIO(content), parse_options=parsing, convert_options=converting)
    except pyarrow.ArrowException as error:
        raise ValueError(f"not readable as CSV ({error})") from error


def _numbers(table: Any, column: str) -> np.ndarray:
    """A column as float64 (T,), empty cells as NaN."""
    import pyarrow as pa

    if column not in table.column_names:
        raise ValueError(f"there is no column {column!r}; there are {', '.join(table.column_names)}")
    try:
        return np.asarray(table[column].cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    except pa.ArrowException as error:
        raise ValueError(f"the column {column!r} is not of numbers ({error})") from error


LAYOUTS: dict[str, Reader] = {
    "sensor-logger": read_sensor_logger,
    "phyphox": read_phyphox,
    "xsens": read_xsens,
    "ego4d": read_ego4d,
    "pamap2": read_pamap2,
    "wisdm": read_wisdm,
}
"""Layout → its reader."""
