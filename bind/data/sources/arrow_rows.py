"""Rows of a table in batches, read by Arrow where its reading and Python's agree, and else by `rows`.

Python's `csv` and `json` say what a file means and what is wrong with it. Arrow reads the same a hundred times faster,
and forgives what they refuse; so a stretch of a file is given to it only where it has none of that.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from bind.data.sources.rows import (
    HEAD_BYTES,
    csv_delimiter,
    iterate_rows,
    parse_json_row,
    plain_names,
    require_table,
)
from bind.files.content import HEAD_BYTES as CONTENT_HEAD_BYTES
from bind.files.content import decode_text, text_encoding
from bind.files.parquet import open_parquet
from bind.files.reading import reading

BATCH_ROWS = 131_072
"""So many that threads that share the work seldom wait for each other between two calls of numpy."""
BLOCK_BYTES = 2**23
MAX_CELL_BYTES = 131_072
"""What `csv` takes."""
NUM_PROBES = 64
PROBED_LINES = 200

RowBatch: TypeAlias = Any
"""Rows as columns, an Arrow record batch, or a list of the cells of each."""


class OtherColumnsError(Exception):
    """A row has a column that the rows looked at before had not."""


@dataclass(frozen=True, slots=True)
class TableReader:
    """A table that is read in batches; `names` are its columns, under those of the file.

    `read_all_rows` says to read every row as `rows` does.
    """

    path: Path
    names: dict[str, str]
    read_all_rows: bool = False

    @property
    def vectors(self) -> frozenset[str]:
        """The columns, by their plain names, whose cells are vectors: lists of floats in Parquet."""
        if self.path.suffix.lower() != ".parquet":
            return frozenset()
        schema = pyarrow.parquet.read_schema(self.path)
        return frozenset(name for column, name in self.names.items() if _holds_vectors(schema.field(column).type))

    @classmethod
    def open(cls, path: Path) -> TableReader:
        """Look at the columns of a table; ValueError where it is none or its columns can't be."""
        require_table(path)
        with reading(path, "not readable as a table", "Write it again, or check its path"):
            columns = _columns_of(path)
        if columns is None:
            return cls.by_rows(path)
        return cls(path, plain_names(path, columns))

    @classmethod
    def by_rows(cls, path: Path) -> TableReader:
        """The same with all rows read as `rows` does, after a look at each."""
        every = _AnyName()
        columns = list(dict.fromkeys(column for _, cells in iterate_rows(path, every) for column in cells))
        return cls(path, plain_names(path, columns), read_all_rows=True)

    def batches(self) -> Iterator[RowBatch]:
        """The rows in their order.

        Raises:
            ValueError: a file that can't be parsed.
            OtherColumnsError: where `by_rows` has to look first.
        """
        if self.read_all_rows:
            yield from _in_lists(cells for _, cells in iterate_rows(self.path, self.names))
            return
        batches = {".parquet": _parquet_batches, ".jsonl": _jsonl_batches}.get(self.path.suffix.lower(), _csv_batches)
        for batch in batches(self.path):
            if isinstance(batch, pa.RecordBatch):
                kept = [column for column in batch.schema.names if column in self.names]
                batch = batch.select(kept).rename_columns([self.names[column] for column in kept])
            else:
                if any(column not in self.names for cells in batch for column in cells):
                    batch = [{c: cell for c, cell in cells.items() if c in self.names} for cells in batch]
                batch = [{self.names[column]: cell for column, cell in cells.items()} for cells in batch]
            yield batch


class _AnyName(dict[str, str]):
    """Every column under its own name."""

    def __contains__(self, column: object) -> bool:
        return True

    def __missing__(self, column: str) -> str:
        return column


def _in_lists(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    several: list[dict[str, Any]] = []
    for row in rows:
        several.append(row)
        if len(several) == 1024:
            yield several
            several = []
    if several:
        yield several


def _columns_of(path: Path) -> list[str] | None:
    """The columns of a file; None where only reading all of it shows them."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        with reading(path, "not readable as Parquet", "Write it again"):
            names = pyarrow.parquet.read_schema(path).names
        return None if len(set(names)) < len(names) else names
    with _open_text(path) as file:
        if suffix == ".jsonl":
            return None if (kinds := _probe_jsonl(file)) is None else list(kinds)
        header = _csv_header(path, file)
        return None if header is None else header[0]


def _open_text(path: Path) -> BinaryIO:
    """A file as UTF-8 without a byte order mark."""
    file = path.open("rb")
    head = file.read(CONTENT_HEAD_BYTES)
    file.seek(0)
    if text_encoding(head, path) == "utf-16":
        with file:
            return io.BytesIO(decode_text(file.read(), path).encode())
    file.seek(3 if head.startswith(b"\xef\xbb\xbf") else 0)
    return file


# Parquet


def _holds_vectors(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and pa.types.is_floating(kind.value_type))


def _parquet_batches(path: Path) -> Iterator[RowBatch]:
    with reading(path, "not readable as Parquet", "Write it again"):
        file = open_parquet(path)
    batches = file.iter_batches(batch_size=BATCH_ROWS)
    while True:
        with reading(path, "not readable as Parquet", "Write it again"):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


# CSV


def _csv_header(path: Path, file: BinaryIO) -> tuple[list[str], int, bytes] | None:
    """Column names, the byte of `file` at which the rows begin, and the delimiter; None where that is not plain."""
    start = file.tell()
    head = file.read(HEAD_BYTES)
    delimiter = csv_delimiter(path)
    first, newline, _ = head.partition(b"\n")
    line = first.removesuffix(b"\r")
    if not newline or not line or b"\r" in line or not _is_strict(line, delimiter.encode()) or not _is_utf8(line):
        return None
    header = [column.strip() for column in next(csv.reader([line.decode()], delimiter=delimiter))]
    if len(set(header)) < len(header) or not any(header):
        return None
    return header, start + len(first) + 1, delimiter.encode()


def _csv_batches(path: Path) -> Iterator[RowBatch]:
    with _open_text(path) as file:
        found = _csv_header(path, file)
        assert found is not None, "the header was plain when the table was opened"
        header, start, delimiter = found
        file.seek(start)
        for block, is_plain in _csv_blocks(file, delimiter):
            batches = _parse_csv(block, header, delimiter) if is_plain else None
            if batches is None:  # from here on as `csv` reads it; its places in the file are another's business
                rest = io.TextIOWrapper(io.BytesIO(block + file.read()), "utf-8", newline="")
                reader = csv.reader(rest, strict=True, delimiter=delimiter.decode())
                yield from _in_lists(_csv_rows(path, reader, header))
                return
            yield from batches


def _csv_rows(path: Path, reader: Any, header: list[str]) -> Iterator[dict[str, Any]]:
    try:
        for cells in reader:
            if cells and len(cells) != len(header):
                raise ValueError(f"{path}: {len(cells)} cells under {len(header)} column names")
            if cells:
                yield dict(zip(header, cells, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as UTF-8 CSV: {error}") from error


def _csv_blocks(file: BinaryIO, delimiter: bytes) -> Iterator[tuple[bytes, bool]]:
    """Stretches of whole rows, and whether each is quoted so strictly that all readers agree on it."""
    left = b""
    while True:
        read = file.read(BLOCK_BYTES)
        block = left + read
        if not block:
            return
        stop = len(block) if not read else _end_of_rows(block)
        if stop == 0 and read:
            left = block
            continue
        block, left = block[:stop], block[stop:]
        yield block, _is_strict(block, delimiter)
        if not read:
            return


def _end_of_rows(block: bytes) -> int:
    """The first byte after the last end of a line that is in no quotes, 0 where there is none."""
    end, num_quotes = len(block), block.count(b'"')
    while (line_end := block.rfind(b"\n", 0, end)) >= 0:
        num_quotes -= block.count(b'"', line_end, end)
        if num_quotes % 2 == 0:
            return line_end + 1
        end = line_end
    return 0


def _is_strict(block: bytes, delimiter: bytes) -> bool:
    """Whether quotes only surround whole cells, or are doubled inside them, and lines end in one way or the other."""
    if b"\0" in block or (b"\r" in block and block.count(b"\r") != block.count(b"\r\n")):
        return False
    if b'"' not in block:
        return True
    content = np.frombuffer(b"\n" + block + b"\n", np.uint8)
    quotes = np.flatnonzero(content == ord('"'))
    if len(quotes) % 2:
        return False
    begins_after, ends_before = np.zeros(256, bool), np.zeros(256, bool)
    begins_after[[ord("\n"), delimiter[0]]] = True
    ends_before[[ord("\n"), ord("\r"), delimiter[0]]] = True
    opening, closing = quotes[::2], quotes[1::2]
    begins, ends = begins_after[content[opening - 1]], ends_before[content[closing + 1]]
    if not (begins.all() and ends.all()):  # quotes that are doubled close and open
        doubled = opening[1:] - 1 == closing[:-1]
        begins[1:] |= doubled
        ends[:-1] |= doubled
    return bool(begins.all() and ends.all())


def _parse_csv(block: bytes, header: list[str], delimiter: bytes) -> Sequence[pa.RecordBatch] | None:
    """The rows of a strict block; None where a row has another number of cells, a cell is huge or not in UTF-8."""
    if not block.strip(b"\r\n"):
        return []
    has_quotes = b'"' in block
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            pyarrow.csv.ReadOptions(column_names=header, block_size=max(len(block) + 1, 64), use_threads=True),
            pyarrow.csv.ParseOptions(
                delimiter=delimiter.decode(), quote_char='"' if has_quotes else False, newlines_in_values=has_quotes
            ),
            pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        return None
    if any((pc.max(pc.binary_length(column)).as_py() or 0) > MAX_CELL_BYTES for column in table.columns):
        return None
    batches: list[pa.RecordBatch] = table.combine_chunks().to_batches(max_chunksize=BATCH_ROWS)
    return batches


# JSON lines


def _probe_jsonl(file: BinaryIO) -> dict[str, pa.DataType | None] | None:
    """Column → the kind of its cells, None for several, by some rows all over a file; None where one is no row."""
    start = file.tell()
    lines = _whole_lines(file, PROBED_LINES)
    size = file.seek(0, io.SEEK_END)
    for place in np.linspace(start, size, NUM_PROBES + 2).astype(np.int64)[1:-1].tolist():
        file.seek(place)
        file.readline()
        lines += _whole_lines(file, 2)
    kinds: dict[str, set[str]] = {}
    for line in lines:
        try:
            cells = parse_json_row(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(cells, dict):
            return None
        for column, cell in cells.items():
            of_column = kinds.setdefault(column, set())
            of_column.update({_kind(item) + "s" for item in cell} if isinstance(cell, list) else {_kind(cell)})
    return {column: JSON_TYPES.get(frozenset(found - {"null"})) for column, found in kinds.items()}


def _whole_lines(file: BinaryIO, count: int) -> list[bytes]:
    return [line for _ in range(count) if (line := file.readline()).strip()]


def _kind(cell: object) -> str:
    return {str: "text", int: "whole", float: "number", type(None): "null"}.get(type(cell), "other")


JSON_TYPES = {
    frozenset(): pa.string(),
    frozenset({"text"}): pa.string(),
    frozenset({"texts"}): pa.list_(pa.string()),
    frozenset({"whole"}): pa.int64(),
    frozenset({"number"}): pa.float64(),
    frozenset({"numbers"}): pa.list_(pa.float64()),
}


def _jsonl_batches(path: Path) -> Iterator[RowBatch]:
    with _open_text(path) as file:
        start = file.tell()
        kinds = _probe_jsonl(file)
        assert kinds is not None, "the rows could be read when the table was opened"
        schema = None if None in kinds.values() else pa.schema(list(kinds.items()))
        file.seek(start)
        left = b""
        while block := left + (read := file.read(BLOCK_BYTES)):
            stop = block.rfind(b"\n") + 1 if read else len(block)
            block, left = block[:stop], block[stop:]
            table = None if schema is None else _parse_jsonl(block, schema)
            if table is not None:
                yield from table.combine_chunks().to_batches(max_chunksize=BATCH_ROWS)
            elif block.strip():
                yield from _in_lists(_jsonl_rows(path, block, kinds))
            if not read:
                return


def _jsonl_rows(path: Path, block: bytes, kinds: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for line in block.split(b"\n"):
        text = line.decode()
        if not text.strip():
            continue
        cells = parse_json_row(text)
        if not isinstance(cells, dict):
            raise ValueError(f"{path}: expected a JSON object, got {type(cells).__name__}")
        if not cells.keys() <= kinds.keys():
            raise OtherColumnsError
        yield cells


def _parse_jsonl(block: bytes, schema: pa.Schema) -> pa.Table | None:
    """The rows of a block whose cells are of these kinds; None where that is not so."""
    if not block.strip() or not _is_utf8(block):
        return None
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(block),
            pyarrow.json.ReadOptions(block_size=2**20 if len(block) > 2**20 else max(len(block) + 1, 64)),
            pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
    except pa.ArrowInvalid:
        return None
    num_lines = block.count(b"\n") + (not block.endswith(b"\n"))
    return table if table.num_rows == num_lines else None


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True
