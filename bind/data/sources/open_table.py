"""Opening of a table as columns of samples: decoded once into a file of a cache, and mapped from then on."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from bind.data.hashes import repeated_hashes
from bind.data.sources.arrow_rows import OtherColumnsError, TableReader
from bind.data.sources.cells import RowReader
from bind.data.sources.decode import BatchDecoder
from bind.data.sources.decoded import MappedColumns, identify_file, open_for_this_process, open_kept, write_columns
from bind.data.sources.rows import iterate_rows, require_table
from bind.data.sources.splits import list_some
from bind.data.sources.table_facts import FactsCollector
from bind.files.reading import reading

logger = logging.getLogger("bind.data")

VERSION = 4
"""Raised where the same table would be decoded otherwise."""
FOLDER = "tables"
MAX_BYTES_IN_MEMORY = 2**25
"""Of a table that is decoded without a cache's folder; a larger one is decoded into a temporary file."""


def open_table(path: Path, cache_dir: Path | None) -> MappedColumns:
    """The columns of a table, decoded if they are not there yet.

    Args:
        path: CSV, TSV, JSONL or Parquet.
        cache_dir: a folder `tables` in it keeps what is decoded. None, or a folder that can't be written: it is kept
            for this process, in memory or, where it is large, in the system's folder for temporary files.

    Raises:
        ValueError: naming the file and the row, for what is wrong with the table itself.
    """
    require_table(path)
    if cache_dir is not None:
        stem = f"{path.stem[:60]}-{hashlib.blake2b(os.path.abspath(path).encode(), digest_size=8).hexdigest()}"
        try:
            return open_kept(cache_dir / FOLDER, stem, _identify(path), partial(_decode, path))
        except OSError as error:
            logger.warning(
                "%s: can't be kept in %s (%s): it is decoded for this process", path, cache_dir, error.strerror
            )
    is_small = path.stat().st_size <= MAX_BYTES_IN_MEMORY
    return open_for_this_process(path.stem[:60], partial(_decode, path), in_memory=is_small)


def _identify(path: Path) -> dict[str, Any]:
    with reading(path, "not readable as a table", "Write it again, or check its path"):
        return {"version": VERSION, "name": path.name, **identify_file(path)}


def _decode(path: Path, file: BinaryIO) -> None:
    """Write the columns of a table; ValueError for the first fault that `RowReader` finds in it, then for repeated
    keys, then for rows without any modality."""
    table = TableReader.open(path)
    try:
        _decode_with(table, file)
    except OtherColumnsError:
        file.seek(0)
        file.truncate()
        _decode_with(TableReader.by_rows(path), file)


def _decode_with(table: TableReader, file: BinaryIO) -> None:
    path, columns = table.path, list(table.names.values())
    reader = RowReader(path, columns, table.vectors)
    decoder = BatchDecoder(reader, columns)
    facts = FactsCollector(path.parent, reader.modalities, table.vectors)

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            with ThreadPoolExecutor(4) as threads:  # one reads ahead, one decodes, two gather facts, this one writes
                added = [threads.submit(lambda: None)]
                for batch in _ahead(map(decoder.decode, _ahead(table.batches(), threads)), threads):
                    for future in added:
                        future.result()
                    added = [threads.submit(add, batch) for add in (facts.add_values, facts.add_files)]
                    yield batch
                for future in added:
                    future.result()
        except ValueError:
            _raise_first_fault(table)
            raise
        if not decoder.num_rows:
            raise ValueError(f"{path}: the table has no rows")
        if facts.has_two_clocks():
            _raise_first_fault(table)
        _refuse_repeated_keys(table, facts)
        _refuse_empty_rows(table, facts, reader)

    def finish() -> tuple[dict[str, Any], pa.Table]:
        values, files = facts.finish()
        missing = {"num_missing_captions": reader.num_missing_captions, "first_missing_caption": ""}
        if decoder.first_silent_row is not None:
            missing["first_missing_caption"] = _first_missing_caption(table, decoder.first_silent_row)
        about = {"columns": reader.modalities, "other_splits": dict(decoder.other_splits), "identity": _identify(path)}
        return {**values, **missing, **about}, files

    write_columns(file, decoder.schema, batches(), finish)


def _ahead(items: Iterator[Any], threads: ThreadPoolExecutor) -> Iterator[Any]:
    """The items, each made in a thread while the one before is used."""
    coming = threads.submit(next, items, None)
    while (item := coming.result()) is not None:
        coming = threads.submit(next, items, None)
        yield item


def _raise_first_fault(table: TableReader) -> None:
    """Raise what is wrong with the file, and else with the first row that is wrong, with its place in the file."""
    for _ in iterate_rows(table.path, table.names):
        pass
    reader = RowReader(table.path, list(table.names.values()), table.vectors)
    for place, cells in iterate_rows(table.path, table.names):
        reader.sample(place, cells)


def _first_missing_caption(table: TableReader, row: int) -> str:
    for number, (place, cells) in enumerate(iterate_rows(table.path, table.names)):
        if number == row:
            reader = RowReader(table.path, list(table.names.values()), table.vectors)
            reader.sample(place, cells)
            return reader.first_missing_caption
    raise AssertionError("the row was there when the table was decoded")


def _refuse_repeated_keys(table: TableReader, facts: FactsCollector) -> None:
    hashes = facts.key_hashes()
    if not len(repeated := repeated_hashes(hashes)):
        return
    suspects = set(map(int, repeated))
    counts: Counter[str] = Counter()
    reader = RowReader(table.path, list(table.names.values()), table.vectors)
    for hashed, (place, cells) in zip(hashes.tolist(), iterate_rows(table.path, table.names), strict=True):
        if hashed in suspects:
            counts[reader.sample(place, cells).key] += 1
    if named := [f"{key!r} ({n} times)" for key, n in counts.items() if n > 1]:
        raise ValueError(f"{table.path}: keys must be unique, these are not: {list_some(named)}")


def _refuse_empty_rows(table: TableReader, facts: FactsCollector, reader: RowReader) -> None:
    if not facts.empty_rows:
        return
    empty, keys = set(facts.empty_rows), []
    for number, (place, cells) in enumerate(iterate_rows(table.path, table.names)):
        if number in empty:
            keys.append(repr(reader.sample(place, cells).key))
    raise ValueError(
        f"{table.path}: {len(keys)} row(s) have no modality at all: key {list_some(keys)}. Fill a cell under "
        f"one of {', '.join(reader.modalities)}, or delete these rows"
    )
