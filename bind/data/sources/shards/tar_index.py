"""Index of a tar: the metadata of its samples, and offset, size and checksum of every member."""

from __future__ import annotations

import json
import math
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa

from bind.data.sources.sample_table import list_lengths
from bind.data.sources.shards.index_table import BLOCK_BYTES, MAX_MEMBER_BYTES, MEMBER_TYPES, TEXTS, IndexTable
from bind.data.sources.shards.names import META, escape, split_name
from bind.files.content import HEAD_BYTES, describe_other_format
from bind.files.reading import reading
from bind.types import compose_name

MAX_META_BYTES = 2**20
CHUNK_BYTES = 2**20

A_TAR = describe_other_format(bytes(257) + b"ustar")


@dataclass
class TarIndex:
    """N samples with M members in all; those of sample i are `first[i]` to `first[i + 1]`, in the order of the tar.

    `split` is None where the shard does not say; `suffix` is what follows the key in the members' names.
    """

    num_bytes: int
    plan: str = ""
    key: list[str] = field(default_factory=list)
    split: list[str | None] = field(default_factory=list)
    group: list[str | None] = field(default_factory=list)
    label: list[str | None] = field(default_factory=list)
    owners: list[list[str]] = field(default_factory=list)
    first: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    suffix: np.ndarray = field(default_factory=lambda: np.zeros(0, object))
    members: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.key)

    def table(self) -> IndexTable:
        """The same as columns."""
        rows = pa.array(self.first, pa.int64()).cast(pa.int32())
        lists = {"suffix": pa.array(self.suffix, pa.string())}
        lists |= {name: pa.array(self.members[name]) for name in MEMBER_TYPES}
        columns = {name: pa.array(getattr(self, name), pa.string()) for name in TEXTS}
        columns["owners"] = pa.array(self.owners, pa.list_(pa.string()))
        columns |= {name: pa.ListArray.from_arrays(rows, values) for name, values in lists.items()}
        return IndexTable(self.num_bytes, self.plan, pa.table(columns))

    def to_bytes(self) -> bytes:
        """See `IndexTable.to_bytes`."""
        return self.table().to_bytes()

    def checksum(self) -> str:
        """See `IndexTable.checksum`."""
        return self.table().checksum()

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> TarIndex:
        """See `IndexTable.from_bytes`."""
        table = IndexTable.from_bytes(content, where)
        suffixes = table.column("suffix")
        return cls(
            num_bytes=table.num_bytes,
            plan=table.plan,
            **{name: table.column(name).to_pylist() for name in (*TEXTS, "owners")},
            first=np.concatenate([[0], np.cumsum(list_lengths(suffixes))]),
            suffix=np.array(suffixes.flatten().to_pylist(), dtype=object),
            members={name: table.members(name).copy() for name in MEMBER_TYPES},
        )


def index_tar(stream: BinaryIO, where: str, plan: str = "") -> tuple[TarIndex, list[str]]:
    """Read a tar from its first to its last byte: its index, and the names of members that have no key.

    Raises:
        ValueError: naming shard and member: a tar that is cut off or none at all, names that leave the folder, links,
            absurd sizes, a member or a key that comes twice, metadata that is none.
    """
    counted = _CountingStream(stream)
    index, samples, keyless = TarIndex(0, plan), _SampleRows(where), []
    with reading(where, "not a whole tar", "Fetch or pack it again"):
        with tarfile.open(fileobj=cast(Any, counted), mode="r|", bufsize=CHUNK_BYTES) as tar:
            for info in tar:
                if info.isdir():
                    continue
                key_and_suffix = split_name(info.name, where)
                if not info.isreg() or info.sparse is not None:
                    raise ValueError(f"{where}: the member {info.name!r} is no plain file. Do not trust this shard")
                if not 0 <= info.size <= MAX_MEMBER_BYTES:
                    raise ValueError(
                        f"{where}: the member {info.name!r} claims {info.size} bytes; up to {MAX_MEMBER_BYTES} are read"
                    )
                content = cast(BinaryIO, tar.extractfile(info))
                if key_and_suffix is None:
                    keyless.append(info.name)
                else:
                    key, suffix = key_and_suffix
                    samples.add(info, compose_name(key), suffix, content)
            end = tar.offset
        while counted.read(CHUNK_BYTES):
            pass
    if counted.num_bytes < end + BLOCK_BYTES:
        raise ValueError(f"{where}: the tar is cut off after {counted.num_bytes} bytes. Fetch or pack it again")
    if not samples.key:
        raise ValueError(f"{where}: there is no sample in it; members are named KEY.EXTENSION")
    samples.fill(index)
    index.num_bytes = counted.num_bytes
    return index, keyless


class _CountingStream:
    """A stream that counts the bytes that were read."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.num_bytes = 0

    def read(self, size: int) -> bytes:
        content = self.stream.read(size)
        if not self.num_bytes and (other := describe_other_format(content[:HEAD_BYTES])) and other != A_TAR:
            raise ValueError(other)
        self.num_bytes += len(content)
        return content


class _SampleRows:
    """Samples of a tar that is read member by member; those of one sample lie together."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.key: dict[str, None] = {}
        self.meta: list[dict[str, Any]] = []
        self.suffixes: list[dict[str, tuple[int, int, int]]] = []  # of each sample: suffix → offset, size, checksum

    def add(self, info: tarfile.TarInfo, key: str, suffix: str, content: BinaryIO) -> None:
        if not self.key or key != next(reversed(self.key)):
            if key in self.key:
                raise ValueError(
                    f"{self.where}: the key {key!r} comes again at {info.name!r}; members of one sample lie together, "
                    "and keys are unique"
                )
            self.key[key] = None
            self.meta.append({})
            self.suffixes.append({})
        if suffix in self.suffixes[-1] or (suffix == META and self.meta[-1]):
            raise ValueError(f"{self.where}: the member {info.name!r} comes twice")
        if suffix == META:
            self.meta[-1] = parse_meta(content.read(MAX_META_BYTES + 1), f"{self.where}: {info.name}", key)
            return
        crc = 0
        for chunk in _chunks(content):
            crc = zlib.crc32(chunk, crc)
        self.suffixes[-1][suffix] = (info.offset_data, info.size, crc)

    def fill(self, index: TarIndex) -> None:
        """Write the columns of `index`."""
        index.key = [meta.get("key", key) for key, meta in zip(self.key, self.meta, strict=True)]
        for name in ("split", "group", "label"):
            setattr(index, name, [meta.get(name) for meta in self.meta])
        index.owners = [meta.get("owners", []) for meta in self.meta]
        index.first = np.cumsum([0, *map(len, self.suffixes)])
        flat = [
            (suffix, *place, *meta.get("spans", {}).get(suffix, (None, None)))
            for meta, members in zip(self.meta, self.suffixes, strict=True)
            for suffix, place in members.items()
        ]
        index.suffix = np.array([row[0] for row in flat], dtype=object)
        for column, (name, kind) in enumerate(MEMBER_TYPES.items(), start=1):
            index.members[name] = np.array([math.nan if row[column] is None else row[column] for row in flat], kind)


def _chunks(content: BinaryIO) -> Iterator[bytes]:
    while chunk := content.read(CHUNK_BYTES):
        yield chunk


def parse_meta(content: bytes, where: str, key: str) -> dict[str, Any]:
    """Parse `{key}.meta.json`: key, split, group, label (texts or absent), owners (or `owner`), and spans by suffix.

    Raises:
        ValueError: naming `where`, for anything else, or another key.
    """
    with reading(where, "not the metadata of a sample", "Pack the shard again"):
        if len(content) > MAX_META_BYTES:
            raise ValueError(f"more than {MAX_META_BYTES} bytes")
        meta = json.loads(content)
        texts = [meta.get(name) for name in ("split", "group", "label")]
        stated = meta.get("key")
        if not isinstance(stated, str) or key not in (compose_name(stated), escape(stated)):
            raise ValueError(f"its key is {stated!r}")
        if not all(t is None or isinstance(t, str) for t in texts):
            raise ValueError("split, group and label are texts")
        owners = meta.get("owners", meta.get("owner", []))
        meta["owners"] = [owners] if isinstance(owners, str) else owners
        if not isinstance(meta["owners"], list) or not all(isinstance(owner, str) for owner in meta["owners"]):
            raise ValueError("owners are texts, one or a list of them")
        for span in meta.get("spans", {}).values():
            if len(span) != 2 or not all(t is None or math.isfinite(t) for t in span):
                raise ValueError("a span is [start, end] in seconds")
        return dict(meta)
