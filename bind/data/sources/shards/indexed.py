"""Index files of shards: found beside the shard where there is one, else made once and kept."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rich.progress import track

from bind.data.sources.shards.index_table import IndexTable, index_header
from bind.data.sources.shards.range_stream import open_stream
from bind.data.sources.shards.remote import file_size, in_parallel, is_remote, read_whole, shown
from bind.data.sources.shards.tar_index import index_tar
from bind.files.writing import write_bytes

logger = logging.getLogger("bind.data")

SUFFIX = ".index.parquet"
END_BYTES = 2**14
"""Of an index, in which its header is, that tell one state of it from another."""


@dataclass(frozen=True)
class IndexFile:
    """The index of a shard: where it lies, its content where that was fetched, and its size and identity.

    Two states of an index have different identities: of a file its size, its time of change and a checksum of its end.
    """

    shard: str
    where: str
    content: bytes | None
    num_bytes: int
    identity: Any

    @classmethod
    def of(cls, shard: str, where: str, content: bytes | None = None) -> IndexFile:
        """The index of a shard that lies at `where`, or with this content there."""
        if content is not None:
            digest = hashlib.blake2b(content, digest_size=16).hexdigest()
            return cls(shard, where, content, len(content), digest)
        with open(where, "rb") as file:
            stat = os.fstat(file.fileno())
            file.seek(max(0, stat.st_size - END_BYTES))
            identity = (where, stat.st_size, stat.st_mtime_ns, zlib.crc32(file.read()))
        return cls(shard, where, None, stat.st_size, identity)

    def read(self) -> IndexTable:
        """Its columns; ValueError, naming it, where it is none."""
        content = self.content if self.content is not None else read_whole(self.where)
        return IndexTable.from_bytes(cast(bytes, content), self.where)

    def header(self) -> tuple[int, str]:
        """Size and plan of its tar, without its columns."""
        return index_header(self.where if self.content is None else self.content, self.where)

    def fits_shard(self, num_bytes: int, plan: str) -> bool:
        """Whether it, which says that the shard has so many bytes and was packed by a plan, is of the shard's state.

        Raises:
            ValueError: naming the shard, where one of `bindspace pack` has another size.
        """
        if is_remote(self.shard) and plan:
            return True  # its size is compared at the first read
        size = file_size(self.shard)
        is_older = not is_remote(self.shard) and os.stat(self.where).st_mtime_ns < os.stat(self.shard).st_mtime_ns
        if plan and size != num_bytes:
            raise ValueError(
                f"{self.shard}: has {size} bytes where {self.where} says {num_bytes}: cut off or written again. Pack "
                "it again"
            )
        if is_changed := not plan and (size != num_bytes or is_older):
            logger.warning("%s: changed since it was indexed", shown(self.shard))
        return not is_changed


def find_indices(shards: list[str], cache_dir: Path) -> list[IndexFile]:
    """The index of each shard; those that have none are read once, whole, and their index is kept.

    It is kept beside a local shard, and in `cache_dir` where the shard is remote or its folder may not be written.

    Raises:
        ValueError: naming the shard, as in `index_tar`.
    """
    files = in_parallel(lambda shard: _find_index(shard, cache_dir), shards)
    return replace_indices(shards, files, [n for n, file in enumerate(files) if file is None], cache_dir)


def changed_shards(files: list[IndexFile], headers: Sequence[tuple[int, str]] | None = None) -> list[int]:
    """The places of the shards that are no longer what their index says, by its header where that is known."""
    places = list(range(len(files)))
    fits = in_parallel(lambda i: files[i].fits_shard(*(headers[i] if headers else files[i].header())), places)
    return [place for place, fits_shard in enumerate(fits) if not fits_shard]


def replace_indices(shards: list[str], files: list[Any], places: list[int], cache_dir: Path) -> list[IndexFile]:
    """The same with indices made anew at these places."""
    if places:
        logger.warning("%d shard(s) have no index and are read once (first: %s)", len(places), shown(shards[places[0]]))
        for place in track(places, "index shards", transient=True, disable=not sys.stdout.isatty()):
            files[place] = _make_index(shards[place], cache_dir)
    return files


def index_path_of(shard: str) -> str:
    """Path or URL of a shard's index: `a/000.tar?token` → `a/000.index.parquet?token`."""
    name, mark, query = shard.partition("?") if is_remote(shard) else (shard, "", "")
    return name.removesuffix(".tar") + SUFFIX + mark + query


def _cached_path(shard: str, cache_dir: Path) -> Path:
    identity = shard.partition("?")[0] if is_remote(shard) else os.path.abspath(shard)
    return cache_dir / (hashlib.blake2b(identity.encode(), digest_size=16).hexdigest() + SUFFIX)


def _find_index(shard: str, cache_dir: Path) -> IndexFile | None:
    beside, cached = index_path_of(shard), _cached_path(shard, cache_dir)
    if is_remote(shard):
        if (content := read_whole(beside, missing_ok=True)) is not None:
            return IndexFile.of(shard, beside, content)
    elif os.path.exists(beside):
        return IndexFile.of(shard, beside)
    return IndexFile.of(shard, str(cached)) if cached.is_file() else None


def _make_index(shard: str, cache_dir: Path) -> IndexFile:
    with open_stream(shard) as stream:
        index, keyless = index_tar(stream, shown(shard))
    if keyless:
        logger.warning(
            "%s: %d member(s) have no key and are left out (first: %s)", shown(shard), len(keyless), keyless[0]
        )
    path = Path(index_path_of(shard))
    if is_remote(shard) or not os.access(path.parent, os.W_OK):
        path = _cached_path(shard, cache_dir)
        path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, index.to_bytes())
    return IndexFile.of(shard, str(path))
