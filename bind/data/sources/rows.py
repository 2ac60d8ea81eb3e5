"""Rows of a CSV, JSONL or Parquet file as dictionaries, each with its place in the file for messages."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bind.files import reading

Row = tuple[str, dict[str, Any]]
"""Place of the row in the file ("line 7") and its cells by column."""


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Column names in order of first appearance, and the rows.

    CSV cells are strings; JSONL and Parquet cells keep their types, lists included.

    Raises:
        ValueError: no such file, an unknown extension, or a file that cannot be parsed (names file and line).
    """
    readers: dict[str, Callable[[Path], list[Row]]] = {
        ".csv": read_csv,
        ".jsonl": _read_jsonl,
        ".parquet": _read_parquet,
    }
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: a manifest ends in .csv, .jsonl or .parquet")
    if not path.exists():
        raise ValueError(f"{path}: no such manifest; check the path or write it with one of the data scripts")
    with reading(path, "not readable as a table", "Write it again, or check its path"):
        rows = readers[path.suffix.lower()](path)
    if not rows:
        raise ValueError(f"{path}: the manifest has no rows")
    return list(dict.fromkeys(column for _, cells in rows for column in cells)), rows


def read_csv(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    encoding: str = "utf-8-sig",
    comment: str | None = None,
    spaces: bool = False,
) -> list[Row]:
    """Rows of a CSV file with a header, or with these `columns` and no header; cells are strings.

    Args:
        path: the file.
        columns: names of the columns of a file that has no header.
        encoding: of the file.
        comment: lines that begin with it are left out.
        spaces: whether a space follows each comma.

    Raises:
        ValueError: naming file and line, where it cannot be parsed or a row has another number of cells.
    """
    rows: list[Row] = []
    with path.open(encoding=encoding, newline="") as file:
        lines = (line for line in file if comment is None or not line.startswith(comment))
        reader = csv.reader(lines, strict=True, skipinitialspace=spaces)
        try:
            header = [column.strip() for column in next(reader, [])] if columns is None else list(columns)
            if len(set(header)) != len(header):
                raise ValueError(f"{path}: the header names a column twice: {', '.join(header)}")
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise ValueError(
                        f"{path} line {reader.line_num}: {len(cells)} cells under {len(header)} column names; "
                        "put text that contains commas in double quotes"
                    )
                rows.append((f"line {reader.line_num}", dict(zip(header, cells, strict=True))))
        except (csv.Error, UnicodeDecodeError) as error:
            charset = encoding.removesuffix("-sig").upper()
            raise ValueError(f"{path} line {reader.line_num}: not readable as {charset} CSV: {error}") from error
    return rows


def _read_jsonl(path: Path) -> list[Row]:
    rows: list[Row] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} line {number}: not a JSON object on one line: {error}") from error
        if not isinstance(cells, dict):
            raise ValueError(f"{path} line {number}: expected a JSON object, got {type(cells).__name__}")
        rows.append((f"line {number}", cells))
    return rows


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow.parquet

    with reading(path, "not readable as Parquet", "Write it again"):
        table = pyarrow.parquet.read_table(path)
    return [(f"row {number}", cells) for number, cells in enumerate(table.to_pylist(), start=1)]
