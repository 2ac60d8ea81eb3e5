"""Rows of a CSV, JSONL or Parquet file as dictionaries, each with its place in the file for messages."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bind.files.content import decode_text, text_encoding
from bind.files.parquet import open_parquet
from bind.files.reading import reading

logger = logging.getLogger("bind.data")

Row = tuple[str, dict[str, Any]]
"""Place of the row in the file ("line 7") and its cells by column."""


PANDAS_INDEX = re.compile(r"(unnamed: [0-9]+(_level_[0-9]+)?|__index_level_[0-9]+__|)")
"""Names under which pandas writes the index of a data frame: row numbers, or what names the rows."""
HEAD_BYTES = 2**20
BATCH_ROWS = 1024
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
NEEDED_COLUMNS = ({"key", "split"}, {"recording", "start_seconds"})
"""Of a manifest, and of a table of annotations."""


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Column names in order of first appearance, and the rows.

    CSV cells are strings; JSONL and Parquet cells keep their types, lists included. CSV may have semicolons or tabs
    between its cells; CSV and JSONL are UTF-8, or UTF-16 that says so in its first bytes. Column names count in lower
    case, and the index of a pandas data frame is left out.

    Raises:
        ValueError: no such file, an unknown extension, or a file that cannot be parsed (names file and line).
    """
    rows = list(_iterate_cells(path))
    columns = list(dict.fromkeys(column for _, cells in rows for column in cells))
    names = plain_names(path, columns)
    return list(names.values()), [(place, rename_cells(cells, names)) for place, cells in rows]


def iterate_rows(path: Path, names: Mapping[str, str]) -> Iterator[Row]:
    """The rows of `read_rows` one by one; `names` are the `plain_names` of the file's columns."""
    for place, cells in _iterate_cells(path):
        yield place, rename_cells(cells, names)


def rename_cells(cells: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The cells of a row under the `plain_names` of its columns."""
    return {names[column]: cell for column, cell in cells.items() if column in names}


def _iterate_cells(path: Path) -> Iterator[Row]:
    readers: dict[str, Callable[[Path], Iterator[Row]]] = {
        ".csv": _read_manifest_csv,
        ".tsv": _read_manifest_csv,
        ".jsonl": _read_jsonl,
        ".parquet": _read_parquet,
    }
    require_table(path)
    has_rows = False
    with reading(path, "not readable as a table", "Write it again, or check its path"):
        for row in readers[path.suffix.lower()](path):
            has_rows = True
            yield row
    if not has_rows:
        raise ValueError(f"{path}: the table has no rows")


def require_table(path: Path) -> None:
    """Raise ValueError unless `path` is there and named as a table is."""
    if path.suffix.lower() not in (".csv", ".tsv", ".jsonl", ".parquet"):
        raise ValueError(f"{path}: a manifest ends in .csv, .tsv, .jsonl or .parquet")
    if not path.exists():
        raise ValueError(f"{path}: no such manifest; check the path or write it with one of the data scripts")


def plain_names(path: Path, columns: Sequence[str]) -> dict[str, str]:
    """Column → its name in lower case, without the index of a pandas data frame, which the log names."""
    names = {column: column.strip().lower() for column in columns}
    if left_out := [column for column, name in names.items() if PANDAS_INDEX.fullmatch(name)]:
        index = ", ".join(left_out)
        if not {"key", "recording"} & set(names.values()):
            raise ValueError(
                f"{path}: the column 'key' is missing; if it is the index of a data frame, {index!r}, rename it"
            )
        logger.warning("%s: the column %r is left out: so pandas calls the index of a data frame", path, index)
    names = {column: name for column, name in names.items() if column not in left_out}
    if twice := sorted(name for name, count in Counter(names.values()).items() if count > 1):
        same = ", ".join(repr(column) for column, name in names.items() if name == twice[0])
        raise ValueError(f"{path}: the columns {same} are one name in lower case; rename or drop one")
    return names


def csv_delimiter(path: Path) -> str:
    """What stands between the cells of a table: what makes `NEEDED_COLUMNS` of its first line, or a comma."""
    header = _decode_head(path).lstrip("\r\n").partition("\n")[0]
    for delimiter in DELIMITERS:
        names = {name.strip().strip('"').lower() for name in header.split(delimiter)}
        if any(needed <= names for needed in NEEDED_COLUMNS):
            return delimiter
    return ","


def _decode_head(path: Path) -> str:
    """The first megabyte of a file in UTF-8 or UTF-16, which holds its header."""
    with path.open("rb") as file:
        content = file.read(HEAD_BYTES)
    return content.decode(text_encoding(content, path), errors="replace")


def _read_manifest_csv(path: Path) -> Iterator[Row]:
    return _rows_of(path, io.StringIO(decode_text(path.read_bytes(), path), newline=""), csv_delimiter(path))


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
    with path.open(encoding=encoding, newline="") as file:
        lines = (line for line in file if comment is None or not line.startswith(comment))
        charset = encoding.removesuffix("-sig").upper()
        return list(_rows_of(path, lines, ",", columns=columns, spaces=spaces, charset=charset))


def _rows_of(
    path: Path,
    lines: Iterable[str],
    delimiter: str,
    *,
    columns: Sequence[str] | None = None,
    spaces: bool = False,
    charset: str = "UTF-8",
) -> Iterator[Row]:
    reader = csv.reader(lines, strict=True, skipinitialspace=spaces, delimiter=delimiter)
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
                    f"put text that contains {DELIMITERS[delimiter]} in double quotes"
                )
            yield f"line {reader.line_num}", dict(zip(header, cells, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} line {reader.line_num}: not readable as {charset} CSV: {error}") from error


def _read_jsonl(path: Path) -> Iterator[Row]:
    for number, line in enumerate(
        decode_text(path.read_bytes(), path).split("\n"), start=1
    ):  # other ends of lines may stand in texts
        if not line.strip():
            continue
        try:
            cells = parse_json_row(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} line {number}: not a JSON object on one line: {error}") from error
        if not isinstance(cells, dict):
            raise ValueError(f"{path} line {number}: expected a JSON object, got {type(cells).__name__}")
        yield f"line {number}", cells


def parse_json_row(text: str | bytes) -> Any:
    """What a line of JSON holds; ValueError where a name stands twice in it, of which parsers take either."""

    def named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        cells = dict(pairs)
        if len(cells) < len(pairs):
            twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
            raise ValueError(f"{twice!r} stands in it twice")
        return cells

    return json.loads(text, object_pairs_hook=named_once)


def _read_parquet(path: Path) -> Iterator[Row]:
    with reading(path, "not readable as Parquet", "Write it again"):
        table = open_parquet(path).read()
    number = 0
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        for cells in batch.to_pylist():
            number += 1
            yield f"row {number}", cells
