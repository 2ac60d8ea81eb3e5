"""Decoded tables: columns of samples in an Arrow file, mapped into memory, and what is known of them as a whole.

A file begins with an Arrow IPC file, of which every record batch has a checksum that is looked at when the batch is
first used. Behind it stand the facts, an IPC stream of the files to look at with JSON in its metadata; then their size,
their checksum and a mark.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import logging
import os
import shutil
import struct
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from bind.files.writing import open_atomically

logger = logging.getLogger("bind.data")

MARK = b"bindcol1"
_END = struct.Struct("<QI8s")


class _CountedFile:
    """A file for Arrow to write to, with the number of bytes and the checksum since `take`."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.num_bytes, self.checksum = file, 0, 0
        self._start = 0

    def write(self, content: Any) -> int:
        self.num_bytes += self.file.write(content)
        self.checksum = zlib.crc32(content, self.checksum)
        return len(content)

    def tell(self) -> int:
        return self.num_bytes

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def take(self) -> tuple[int, int, int]:
        """First byte, last byte + 1 and checksum of what was written since the last call."""
        stretch = (self._start, self.num_bytes, self.checksum)
        self._start, self.checksum = self.num_bytes, 0
        return stretch


def write_columns(
    file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch], facts: Callable[[], tuple[Any, pa.Table]]
) -> None:
    """Write batches and, when all are written, `facts()`: plain values and a table."""
    counted = _CountedFile(file)
    blocks: list[tuple[int, int, int]] = []
    starts = [0]
    with pa.ipc.new_file(counted, schema) as writer:
        for batch in batches:
            if not blocks:
                blocks.append(counted.take())
            writer.write_batch(batch)
            blocks.append(counted.take())
            starts.append(starts[-1] + batch.num_rows)
    blocks.append(counted.take())
    values, table = facts()
    about = json.dumps({"facts": values, "blocks": blocks, "starts": starts})
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema.with_metadata({"about": about})) as writer:
        writer.write_table(table)
    content = memoryview(stream.getvalue())
    file.write(content)
    file.write(_END.pack(len(content), zlib.crc32(content), MARK))


class DamagedColumnsError(ValueError):
    """A file of columns is not as it was written."""


class MappedColumns:
    """`SampleColumns` of what `write_columns` wrote, in a file that is mapped, or in memory.

    Another process gets the path of the file and not its rows.

    Args:
        source: path of the file, or its content.
        identity: where it is given, `facts["identity"]` has to equal it.

    Attributes:
        facts: the plain values.
        files: the table of files to look at.

    Raises:
        DamagedColumnsError: where the file is cut off or damaged, or of another identity.
        OSError: where it can't be opened.
    """

    def __init__(self, source: Path | bytes, identity: Any = None) -> None:
        self._source = source
        self._buffer = pa.py_buffer(source) if isinstance(source, bytes) else pa.memory_map(str(source)).read_buffer()
        self.name = "a table in memory" if isinstance(source, bytes) else str(source)
        try:
            self._open()
        except DamagedColumnsError:
            raise
        except Exception as error:
            raise DamagedColumnsError(f"{self.name} is damaged ({error}): delete it, it is made again") from error
        if identity is not None and self.facts["identity"] != identity:
            raise DamagedColumnsError(f"{self.name} holds another state of its table: start again")

    def _open(self) -> None:
        view = memoryview(self._buffer)
        num_bytes = len(view) - _END.size
        size, checksum, mark = _END.unpack(view[max(num_bytes, 0) :])
        if mark != MARK or size > num_bytes or zlib.crc32(view[num_bytes - size : num_bytes]) != checksum:
            raise ValueError("it is cut off")
        self.files = pa.ipc.open_stream(self._buffer.slice(num_bytes - size, size)).read_all()
        about = json.loads(self.files.schema.metadata[b"about"])
        self.facts: dict[str, Any] = about["facts"]
        head, *self._blocks, tail = about["blocks"]
        self.starts: Sequence[int] = about["starts"]
        for block in (head, tail):
            self._verify(block)
        if tail[1] != num_bytes - size:
            raise ValueError("it has another size")
        self._file = pa.ipc.open_file(self._buffer.slice(0, tail[1]))
        self.schema: pa.Schema = self._file.schema
        self._batches: list[pa.RecordBatch | None] = [None] * len(self._blocks)

    def _verify(self, block: tuple[int, int, int]) -> None:
        start, stop, checksum = block
        if zlib.crc32(memoryview(self._buffer)[start:stop]) != checksum:
            raise DamagedColumnsError(
                f"{self.name} is damaged (its checksum is another one): delete it, it is made again"
            )

    def batch(self, number: int) -> pa.RecordBatch:
        """See `SampleColumns`."""
        batch = self._batches[number]
        if batch is None:
            self._verify(self._blocks[number])
            batch = self._batches[number] = self._file.get_batch(number)
        return batch

    def batch_unverified(self, number: int) -> pa.RecordBatch:
        """See `SampleColumns`."""
        batch = self._batches[number]
        return self._file.get_batch(number) if batch is None else batch

    def __reduce__(self) -> Any:
        if isinstance(self._source, bytes):
            return MappedColumns, (self._source,)
        return MappedColumns, (self._source, self.facts["identity"])


def identify_file(path: Path) -> dict[str, Any]:
    """Size, time of change, and a hash of the first and the last bytes, in which a Parquet file has its footer."""
    stat = os.stat(path)
    checksum = 0
    with path.open("rb") as file:
        checksum = zlib.crc32(file.read(2**16))
        file.seek(max(0, stat.st_size - 2**20))
        checksum = zlib.crc32(file.read(2**20), checksum)
    return {"num_bytes": stat.st_size, "modified_ns": stat.st_mtime_ns, "ends": checksum}


def open_kept(folder: Path, stem: str, identity: dict[str, Any], decode: Callable[[BinaryIO], None]) -> MappedColumns:
    """What `decode` writes, mapped, from a file of `folder` that is written if it is not there yet.

    Args:
        folder: where the file is; it is made.
        stem: the first part of its name; files of other identities with the same are deleted when it is written.
        identity: what it is decoded from; `decode` writes it among the facts.

    Raises:
        OSError: where the folder can't be written.
    """
    if (columns := find_kept(folder, stem, identity)) is not None:
        return columns
    target = _kept_path(folder, stem, identity)
    folder.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(folder / f"{stem}.lock"):
        if (columns := find_kept(folder, stem, identity)) is None:
            with open_atomically(target) as file:
                decode(file)
            for earlier in folder.glob(f"{stem}-*.arrow"):
                if earlier != target:
                    earlier.unlink(missing_ok=True)
            columns = MappedColumns(target, identity)
    return columns


def _kept_path(folder: Path, stem: str, identity: dict[str, Any]) -> Path:
    checksum = hashlib.blake2b(repr(sorted(identity.items())).encode(), digest_size=8).hexdigest()
    return folder / f"{stem}-{checksum}.arrow"


def find_kept(folder: Path, stem: str, identity: dict[str, Any]) -> MappedColumns | None:
    """What `open_kept` has written already; None where it is not there, or damaged, which is logged."""
    target = _kept_path(folder, stem, identity)
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


def open_for_this_process(stem: str, decode: Callable[[BinaryIO], None], *, in_memory: bool) -> MappedColumns:
    """What `decode` writes, in memory or in the system's folder for temporary files until this process lets it go."""
    if in_memory:
        content = io.BytesIO()
        decode(content)
        return MappedColumns(content.getvalue())
    folder = tempfile.mkdtemp(prefix="bindspace-")
    try:
        target = Path(folder, f"{stem}.arrow")
        with target.open("wb") as file:
            decode(file)
        columns = MappedColumns(target)
    except BaseException:
        shutil.rmtree(folder)
        raise
    weakref.finalize(columns, _delete_here, folder, os.getpid())
    return columns


def _delete_here(folder: str, pid: int) -> None:
    if os.getpid() == pid:  # not in processes that were forked from this one
        shutil.rmtree(folder, ignore_errors=True)
