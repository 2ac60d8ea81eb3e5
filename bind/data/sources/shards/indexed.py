"""Indices of shards: read from beside the shard where there is one, else made once and kept."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from pathlib import Path
from typing import cast

from rich.progress import track

from bind.data.sources.shards.range_stream import open_stream
from bind.data.sources.shards.remote import file_size, in_parallel, is_remote, read_whole, shown
from bind.data.sources.shards.tar_index import TarIndex, index_tar
from bind.files.writing import write_bytes

logger = logging.getLogger("bind.data")

SUFFIX = ".index.parquet"


def load_indices(shards: list[str], cache_dir: Path) -> list[TarIndex]:
    """The index of each shard; those that have none are read once, whole, and their index is kept.

    It is kept beside a local shard, and in `cache_dir` where the shard is remote or its folder may not be written.

    Raises:
        ValueError: naming the shard, where its index does not fit it, or as in `index_tar`.
    """
    indices = in_parallel(lambda shard: _read_index(shard, cache_dir), shards)
    missing = [shard for shard, index in zip(shards, indices, strict=True) if index is None]
    if missing:
        logger.warning("%d shard(s) have no index and are read once (first: %s)", len(missing), shown(missing[0]))
        for shard in track(missing, "index shards", transient=True, disable=not sys.stdout.isatty()):
            indices[shards.index(shard)] = _make_index(shard, cache_dir)
    return cast(list[TarIndex], indices)


def index_path_of(shard: str) -> str:
    """Path or URL of a shard's index: `a/000.tar?token` → `a/000.index.parquet?token`."""
    name, mark, query = shard.partition("?") if is_remote(shard) else (shard, "", "")
    return name.removesuffix(".tar") + SUFFIX + mark + query


def _cached_path(shard: str, cache_dir: Path) -> Path:
    identity = shard.partition("?")[0] if is_remote(shard) else os.path.abspath(shard)
    return cache_dir / (hashlib.blake2b(identity.encode(), digest_size=16).hexdigest() + SUFFIX)


def _read_index(shard: str, cache_dir: Path) -> TarIndex | None:
    """The index of a shard; None where there is none, or only one of an earlier state of the shard."""
    beside, cached = index_path_of(shard), _cached_path(shard, cache_dir)
    content = read_whole(beside, missing_ok=True)
    where = beside
    if content is None and cached.is_file():
        content, where = cached.read_bytes(), str(cached)
    if content is None:
        return None
    index = TarIndex.from_bytes(content, where)
    if is_remote(shard) and index.plan:
        return index  # its size is compared at the first read
    size = file_size(shard)
    is_older = not is_remote(shard) and os.stat(where).st_mtime_ns < os.stat(shard).st_mtime_ns
    if index.plan and size != index.num_bytes:
        raise ValueError(
            f"{shard}: has {size} bytes where {where} says {index.num_bytes}: cut off or written again. Pack it again"
        )
    if not index.plan and (size != index.num_bytes or is_older):
        logger.warning("%s: changed since it was indexed", shown(shard))
        return None
    return index


def _make_index(shard: str, cache_dir: Path) -> TarIndex:
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
    return index
