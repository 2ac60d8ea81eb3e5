"""Opening of a table as columns of samples: decoded once into a file of a cache, and mapped from then on."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import logging
import os
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from bind.data.hashes import repeated_hashes
from bind.data.sources.arrow_rows import OtherColumnsError, TableReader
from bind.data.sources.cells import RowReader
from bind.data.sources.decode import BatchDecoder
from bind.data.sources.decoded import DamagedColumnsError, MappedColumns, identify_file, write_columns
from bind.data.sources.rows import iterate_rows, require_table
from bind.data.sources.splits import list_some
from bind.data.sources.table_facts import FactsCollector
from bind.files.reading import reading
from bind.files.writing import open_atomically

logger = logging.getLogger("bind.data")

VERSION = 1
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
    if cache_dir is None:
        return _open_without_cache(path)
    require_table(path)
    stem = f"{path.stem[:60]}-{hashlib.blake2b(os.path.abspath(path).encode(), digest_size=8).hexdigest()}"
    identity = _identify(path)
    checksum = hashlib.blake2b(repr(sorted(identity.items())).encode(), digest_size=8).hexdigest()
    target = cache_dir / FOLDER / f"{stem}-{checksum}.arrow"
    if (columns := _open_decoded(target, identity)) is not None:
        return columns
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(target.parent / f"{stem}.lock"):
            if (columns := _open_decoded(target, identity)) is None:
                with open_atomically(target) as file:
                    _decode(path, file)
                for earlier in target.parent.glob(f"{stem}-*.arrow"):
                    if earlier != target:
                        earlier.unlink(missing_ok=True)
                columns = MappedColumns(target, identity)
    except OSError as error:
        logger.warning("%s: can't be kept in %s (%s): it is decoded for this process", path, cache_dir, error.strerror)
        return _open_without_cache(path)
    return columns


def _identify(path: Path) -> dict[str, Any]:
    with reading(path, "not readable as a table", "Write it again, or check its path"):
        return {"version": VERSION, "name": path.name, **identify_file(path)}


def _open_decoded(target: Path, identity: dict[str, Any]) -> MappedColumns | None:
    """What is decoded already; None where it is not there, or damaged, which is logged."""
    if not target.is_file():
        return None
    try:
        return MappedColumns(target, identity)
    except DamagedColumnsError as error:
        logger.warning("%s", error)
        return None


@contextlib.contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    """Wait until no other process is in the block with this file; on a file system without locks they don't wait."""
    with lock.open("a") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open_without_cache(path: Path) -> MappedColumns:
    require_table(path)
    if path.stat().st_size <= MAX_BYTES_IN_MEMORY:
        content = io.BytesIO()
        _decode(path, content)
        return MappedColumns(content.getvalue())
    folder = tempfile.mkdtemp(prefix="bindspace-")
    try:
        target = Path(folder, f"{path.stem[:60]}.arrow")
        with target.open("wb") as file:
            _decode(path, file)
        columns = MappedColumns(target)
    except BaseException:
        shutil.rmtree(folder)
        raise
    weakref.finalize(columns, _delete_here, folder, os.getpid())
    return columns


def _delete_here(folder: str, pid: int) -> None:
    if os.getpid() == pid:  # not in processes that were forked from this one
        shutil.rmtree(folder, ignore_errors=True)


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
            for rows in table.batches():
                batch = decoder.decode(rows)
                facts.add(batch)
                yield batch
        except ValueError:
            _raise_first_fault(table)
            raise
        if not decoder.num_rows:
            raise ValueError(f"{path}: the manifest has no rows")
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
