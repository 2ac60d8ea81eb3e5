"""The command `bindspace sensor-import LAYOUT EXPORT … --out FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from bind.commands.sensor_import.layouts import LAYOUTS
from bind.commands.sensor_import.streams import ImportedRecording, merge_streams
from bind.files.reading import explain_os_error
from bind.files.writing import open_atomically
from bind.media.sensor import SensorFile, load_sensor_file
from bind.types import Clip

GRAVITY_RANGE = (8.0, 11.6)
"""Lengths of the usual acceleration that gravity may have, m/s²; all layouts that know acceleration give that unit."""


def main(arguments: list[str]) -> int:
    """Write each recording of the exports as Parquet that describes itself; 1 where one could not be written, else 0.

    Raises:
        ValueError: an export that does not exist.
    """
    parser = argparse.ArgumentParser(
        prog="bindspace sensor-import",
        description="Turn exports of sensors into Parquet files with a time column, named channels and units.",
        epilog="Layouts: sensor-logger (folder or zip), phyphox (CSV, folder or zip), xsens (MT Manager's text or "
        "DOT's CSV), ego4d (CSV of a video's IMU), pamap2 (.dat), wisdm (.txt). Times stay on the export's clock.",
    )
    parser.add_argument("layout", choices=list(LAYOUTS), help="which program or dataset wrote it")
    parser.add_argument("exports", type=Path, nargs="+", metavar="EXPORT", help="a file, a folder or a zip")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the Parquet files go")
    parser.add_argument("--from-first-row", action="store_true", help="let each recording's clock start at 0")
    parser.add_argument("--rate-hz", type=float, metavar="HZ", help="of Xsens exports that hold no time")
    options = parser.parse_args(arguments)
    if missing := [str(path) for path in options.exports if not path.exists()]:
        raise ValueError(f"{', '.join(missing)}: no such file or folder")
    options.out.mkdir(parents=True, exist_ok=True)
    num_written, num_refused = 0, 0
    for path in options.exports:
        try:
            recordings = list(LAYOUTS[options.layout](path, options.rate_hz))
        except (ValueError, OSError) as error:
            num_refused += 1
            reason = explain_os_error(error) if isinstance(error, OSError) else str(error)
            print(f"{path}: not imported: {reason.removeprefix(f'{path}: ')}")
            continue
        for recording in recordings:
            try:
                target = write_recording(recording, options.out, options.from_first_row)
                num_written += 1
                print(describe(target, recording))
            except ValueError as error:
                num_refused += 1
                print(f"{path} ({recording.name}): not imported: {error}")
    print(f"{num_written} recording(s) in {options.out}" + (f", {num_refused} not imported" if num_refused else ""))
    return int(num_refused > 0)


def write_recording(recording: ImportedRecording, folder: Path, from_first_row: bool) -> Path:
    """Write a recording as Parquet and read it again as training would; ValueError where that can't be.

    A file that is there already is refused: two exports may have one name.
    """
    import pyarrow as pa
    import pyarrow.parquet

    target = folder / f"{recording.name}.parquet"
    if target.exists():
        raise ValueError(f"{target} is there already: choose another folder, or delete it")
    table = pa.table(merge_streams(recording, from_first_row))
    with open_atomically(target) as file:
        pyarrow.parquet.write_table(table, file)
    try:
        load_sensor_file(Clip(target))
    except ValueError:
        target.unlink()
        raise
    return target


def describe(target: Path, recording: ImportedRecording) -> str:
    """One line: rate, length, gaps and channels as training reads them, and what was done."""
    file = load_sensor_file(Clip(target))
    even = file.even
    gaps = even.gaps(0, even.num_frames)
    facts = [
        f"{even.sample_rate_hz:.4g} Hz, {even.num_frames / even.sample_rate_hz:.1f} s from {even.start_seconds:g} s on"
    ]
    facts += [f"{len(gaps)} gap(s), the longest {max(seconds for _, seconds in gaps):.3g} s"] if gaps else []
    facts += [", ".join(file.channels), *recording.notes, *_gravity_note(file)]
    return f"{target.name}: " + "; ".join(facts)


def _gravity_note(file: SensorFile) -> list[str]:
    axes = [f"acc_{axis}" for axis in "xyz"]
    if not set(axes) <= set(file.channels):
        return []
    acc_TC: Any = file.values[:, [file.channels.index(axis) for axis in axes]]
    usual = float(np.median(np.linalg.norm(acc_TC, axis=1)))
    low, high = GRAVITY_RANGE
    return [] if low < usual < high else [f"WARNING: its usual acceleration is {usual:.3g} m/s², gravity is 9.81"]
