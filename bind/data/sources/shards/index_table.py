"""Columns of a tar's index: a row per sample with its metadata and lists of its members, in a Parquet file."""

from __future__ import annotations

import io
import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bind.data.hashes import joined_bytes, string_bytes
from bind.data.sources.sample_table import list_lengths
from bind.files.parquet import open_parquet
from bind.files.reading import reading

VERSION = 1
MAX_MEMBER_BYTES = 2**30
BLOCK_BYTES = 512
TEXTS = ("key", "split", "group", "label")
MEMBER_TYPES = {
    "offset": np.int64,
    "size": np.int64,
    "crc32": np.int64,
    "start_seconds": np.float64,
    "end_seconds": np.float64,
}
"""Columns with one number per member; a time that is NaN was not given."""


@dataclass(frozen=True)
class IndexTable:
    """What an index says: size and plan of its tar, and `rows`, an Arrow table with one chunk per column.

    Its columns are `key`, `split`, `group`, `label`, lists of `owners`, and lists as long as each other of `suffix` and
    of the numbers of `MEMBER_TYPES`.
    """

    num_bytes: int
    plan: str
    rows: pa.Table

    def column(self, name: str) -> Any:
        """A column as one array."""
        return self.rows[name].chunk(0)

    def members(self, name: str) -> np.ndarray:
        """The numbers (num_members,) of a column of members."""
        numbers: np.ndarray = self.column(name).flatten().to_numpy().astype(MEMBER_TYPES[name], copy=False)
        return numbers

    def to_bytes(self) -> bytes:
        """Encode it as a Parquet file, with the facts of the tar in its metadata."""
        header = {"version": VERSION, "num_bytes": self.num_bytes, "plan": self.plan, "checksum": self.checksum()}
        file = io.BytesIO()
        pq.write_table(self.rows.replace_schema_metadata({"bindspace": json.dumps(header)}), file, compression="zstd")
        return file.getvalue()

    def checksum(self) -> str:
        """A checksum of all that it says, however the file holds it: the CRC-32 of its values as JSON."""
        crc = zlib.crc32(f"[{json.dumps(self.num_bytes)}, {json.dumps(self.plan)}".encode())
        for name in TEXTS:
            crc = _add_texts(crc, self.column(name))
        owners = self.column("owners")
        if len(owners) and owners.null_count == 0 and (list_lengths(owners) == 1).all():
            crc = _add_texts(crc, owners.flatten(), opening="[", closing="]")
        else:
            names = pa.ListArray.from_arrays(owners.offsets, _quoted(owners.values))
            lists = pc.binary_join_element_wise("[", pc.binary_join(names, ", "), "]", "")
            crc = _add_list(crc, pc.if_else(owners.is_valid(), lists, "null"))
        crc = _add_repeated_texts(crc, self.column("suffix"))
        first = np.concatenate([[0], np.cumsum(list_lengths(self.column("suffix")))])
        numbers = [zlib.crc32(array.tobytes()) for array in (first, *map(self.members, MEMBER_TYPES))]
        crc = zlib.crc32("".join(f", {number}" for number in numbers).encode() + b"]", crc)
        return f"crc32:{crc:08x}"

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> IndexTable:
        """Read what `to_bytes` wrote; ValueError, naming `where`, for anything else and for members outside the tar."""
        with reading(where, "no index of a shard", "Delete it to have the shard indexed again"):
            table = open_parquet(io.BytesIO(content)).read(use_threads=False)
            header = _header(table.schema)
            kinds = {**dict.fromkeys(TEXTS, pa.string()), "owners": pa.list_(pa.string())}
            kinds |= {"suffix": pa.list_(pa.string())}
            kinds |= {name: pa.list_(pa.from_numpy_dtype(kind)) for name, kind in MEMBER_TYPES.items()}
            columns = {name: table[name].cast(kind).combine_chunks() for name, kind in kinds.items()}
            index = cls(int(header["num_bytes"]), str(header["plan"]), pa.table(columns))
            index.rows.validate(full=True)
            index._refuse_inconsistency()
            if header.get("checksum", checksum := index.checksum()) != checksum:
                raise ValueError("its checksum is another one")
            return index

    def _refuse_inconsistency(self) -> None:
        suffixes, owners = self.column("suffix"), self.column("owners")
        if self.column("key").null_count or owners.null_count or owners.flatten().null_count:
            raise ValueError("a sample has no key or no owners")
        lengths = list_lengths(suffixes)
        for name in MEMBER_TYPES:
            numbers = self.column(name)
            if numbers.null_count or not np.array_equal(list_lengths(numbers), lengths):
                raise ValueError("its lists do not fit together")
            if numbers.flatten().null_count:
                raise ValueError("its members lack numbers")
        if suffixes.null_count or suffixes.flatten().null_count:
            raise ValueError("a member has no name")
        offset, size = self.members("offset"), self.members("size")
        bad = (offset < BLOCK_BYTES) | (size < 0) | (size > MAX_MEMBER_BYTES) | (offset > self.num_bytes - size)
        if bad.any():
            raise ValueError(f"member {int(bad.argmax())} lies outside the tar's {self.num_bytes} bytes")


def index_header(content: bytes | str, where: str) -> tuple[int, str]:
    """The size and the plan of the tar of an index, given by its content or its path, without its rows."""
    with reading(where, "no index of a shard", "Delete it to have the shard indexed again"):
        header = _header(pq.read_schema(pa.BufferReader(content) if isinstance(content, bytes) else content))
        return int(header["num_bytes"]), str(header["plan"])


def _header(schema: pa.Schema) -> Any:
    header = json.loads((schema.metadata or {})[b"bindspace"])
    if header["version"] != VERSION:
        raise ValueError(f"version {header['version']}, this bind reads {VERSION}")
    return header


def _add_texts(crc: int, texts: Any, opening: str = "", closing: str = "") -> int:
    """The checksum after `, ` and a list of texts as JSON, each between an opening and a closing."""
    if len(texts) and texts.null_count == len(texts) and not opening:
        crc = zlib.crc32(b", [null" + b", null" * (len(texts) - 1), crc)
    elif not len(texts) or texts.null_count or _needs_escapes(texts):
        return _add_list(crc, pc.binary_join_element_wise(opening, _quoted(texts), closing, ""))
    else:
        crc = zlib.crc32(f', [{opening}"'.encode(), crc)
        for part in joined_bytes(texts, f'"{closing}, {opening}"'):
            crc = zlib.crc32(part, crc)
        crc = zlib.crc32(f'"{closing}'.encode(), crc)
    return zlib.crc32(b"]", crc)


def _add_repeated_texts(crc: int, lists: Any) -> int:
    """The checksum after `, ` and a list of the texts of all lists as JSON, of which few differ."""
    texts = lists.flatten().dictionary_encode()
    quoted, places = _quoted(texts.dictionary), texts.indices.to_numpy(zero_copy_only=False)
    num_lists, of_first = len(lists), len(lists[0]) if len(lists) else 0
    if (
        not of_first
        or len(places) != num_lists * of_first
        or (places.reshape(num_lists, of_first) != places[:of_first]).any()
    ):
        return _add_list(crc, quoted.take(texts.indices))
    one = ", ".join(quoted.take(texts.indices[:of_first]).to_pylist()).encode()
    return zlib.crc32(b", [" + (one + b", ") * (num_lists - 1) + one + b"]", crc)


def _add_list(crc: int, items: Any) -> int:
    """The checksum after `, ` and a list of what is JSON already."""
    crc = zlib.crc32(b", [", crc)
    for part in joined_bytes(items, ", "):
        crc = zlib.crc32(part, crc)
    return zlib.crc32(b"]", crc)


def _needs_escapes(texts: Any) -> bool:
    content = string_bytes(texts)[0]
    if not len(content):
        return False
    return bool(content.min() < 0x20 or content.max() > 0x7E or any((content == ord(c)).any() for c in '"\\'))


def _quoted(texts: Any) -> Any:
    """JSON of every text, `null` of a null."""
    if _needs_escapes(texts):
        return pa.array([json.dumps(text) for text in texts.to_pylist()], pa.string())
    return pc.fill_null(pc.binary_join_element_wise('"', texts, '"', ""), "null")
