"""Indices of all shards of a source in one file of columns, decoded once and mapped from then on.

A row is a sample: key, split (a place in `SPLITS`), group, owners and label; its `kind`, which says the suffixes of its
members; where these lie; and the spans of those that have one, by the number of the member within the sample.
"""

from __future__ import annotations

import hashlib
import logging
import os
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.hashes import distinct_hashes, hash_strings, repeated_hashes, shared_hashes
from bind.data.identity import IdentityHasher
from bind.data.sources.decode import compose_names
from bind.data.sources.decoded import MappedColumns, find_kept, open_for_this_process, open_kept, write_columns
from bind.data.sources.sample_table import OTHER_SPLIT, SPLITS, flatten_lists, list_lengths
from bind.data.sources.shards.content_hashes import ContentHasher
from bind.data.sources.shards.index_table import IndexTable
from bind.data.sources.shards.indexed import IndexFile
from bind.data.sources.shards.names import MODALITY_OF_EXTENSION, parse_suffix
from bind.data.sources.shards.remote import shown
from bind.types import Modality

logger = logging.getLogger("bind.data")

VERSION = 3
MAX_BYTES_IN_MEMORY = 2**22
"""Of indices that are decoded every time: that takes no longer than a look into a folder."""
BATCH_ROWS = 131_072
NUM_THREADS = 2
NUM_READ_AHEAD = 12

MEMBERS = pa.list_(pa.struct([("offset", pa.int64()), ("size", pa.int32()), ("crc32", pa.uint32())]))
SPANS = pa.list_(pa.struct([("number", pa.int32()), ("start", pa.float64()), ("end", pa.float64())]))
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("split", pa.int8()),
        ("group", pa.string()),
        ("owner", pa.list_(pa.string())),
        ("label", pa.string()),
        ("kind", pa.int32()),
        ("members", MEMBERS),
        ("spans", SPANS),
    ]
)


def open_indices(files: Sequence[IndexFile], splits: Sequence[str | None], cache_dir: Path) -> MappedColumns:
    """The columns of all samples of some shards, in their order, decoded if they are not there yet.

    Args:
        files: of each shard.
        splits: what each shard was listed under; None where its samples say it.
        cache_dir: keeps what is decoded. Where it can't be written, or the indices are small, it is kept for this
            process.

    Raises:
        ValueError: naming the shard: an index that is none, a sample of another split than its shard was listed under,
            a key that comes twice.
    """
    decode = partial(_decode, files, splits)
    if _is_kept(files):
        stem = _stem(files, splits)
        try:
            return open_kept(cache_dir, stem, _identify(files, splits), decode)
        except OSError as error:
            logger.warning("indices can't be kept in %s (%s): they are decoded for this process", cache_dir, error)
        return open_for_this_process(stem, decode, in_memory=False)
    return open_for_this_process("indices", decode, in_memory=True)


def find_headers(
    files: Sequence[IndexFile], splits: Sequence[str | None], cache_dir: Path
) -> list[tuple[int, str]] | None:
    """`IndexFile.header` of each file, where `open_indices` has decoded them already; else None."""
    if not _is_kept(files):
        return None
    columns = find_kept(cache_dir, _stem(files, splits), _identify(files, splits))
    if columns is None:
        return None
    return list(zip(columns.files["num_bytes"].to_pylist(), columns.files["plan"].to_pylist(), strict=True))


def _is_kept(files: Sequence[IndexFile]) -> bool:
    return sum(file.num_bytes for file in files) > MAX_BYTES_IN_MEMORY


def _stem(files: Sequence[IndexFile], splits: Sequence[str | None]) -> str:
    names = repr([(os.path.abspath(f.shard), split) for f, split in zip(files, splits, strict=True)])
    return f"indices-{hashlib.blake2b(names.encode(), digest_size=8).hexdigest()}"


def _identify(files: Sequence[IndexFile], splits: Sequence[str | None]) -> dict[str, Any]:
    facts = [(shown(file.shard), file.identity, split) for file, split in zip(files, splits, strict=True)]
    return {"version": VERSION, "indices": hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()}


def _decode(files: Sequence[IndexFile], splits: Sequence[str | None], file: BinaryIO) -> None:
    decoder = _IndexDecoder(files)

    def batches() -> Iterator[pa.RecordBatch]:
        with ThreadPoolExecutor(1) as thread:  # it hashes a batch while the next is decoded
            hashed = thread.submit(lambda: None)
            for tables, split in _join_tables(_read_ahead(files), splits):
                batch = decoder.decode(tables, split)
                hashed.result()
                hashed = thread.submit(decoder.hash_samples, batch, list(decoder.kinds), list(decoder.suffixes))
                yield batch
            hashed.result()
        decoder.refuse_repeated_keys()

    write_columns(file, SCHEMA, batches(), lambda: decoder.finish(_identify(files, splits)))


def _read_ahead(files: Sequence[IndexFile]) -> Iterator[IndexTable]:
    """The columns of each index, a few of which are read while others are used."""
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        coming = deque(threads.submit(file.read) for file in files[:NUM_READ_AHEAD])
        for number in range(len(files)):
            table = coming.popleft().result()
            if (following := number + NUM_READ_AHEAD) < len(files):
                coming.append(threads.submit(files[following].read))
            yield table


def _join_tables(
    tables: Iterable[IndexTable], splits: Sequence[str | None]
) -> Iterator[tuple[list[IndexTable], str | None]]:
    """The tables in groups of one split with about `BATCH_ROWS` rows, so that few calls of Arrow do much each."""
    group: list[IndexTable] = []
    split_of_group = None
    for table, split in zip(tables, splits, strict=True):
        if group and (split != split_of_group or sum(t.rows.num_rows for t in group) >= BATCH_ROWS):
            yield group, split_of_group
            group = []
        group.append(table)
        split_of_group = split
    if group:
        yield group, split_of_group


class _IndexDecoder:
    """Decoder of the indices of shards, in their order, into rows of `SCHEMA`, with the facts of all of them."""

    def __init__(self, files: Sequence[IndexFile]) -> None:
        self.files = files
        self.tables: list[tuple[int, str, int]] = []  # size of the tar, plan, number of samples
        self.suffixes: dict[str, int] = {}
        self.kinds: dict[tuple[int, ...], int] = {}
        self.first_rows: list[int] = []
        self.loaded_kinds: dict[int, None] = {}
        self.other_splits: Counter[str] = Counter()
        self.num_rows = np.zeros(len(SPLITS), np.int64)
        self.has_spans = False
        self._key_hashes: list[np.ndarray] = []
        self._owners: list[list[np.ndarray]] = [[] for _ in SPLITS]
        self._identity_hashers = [IdentityHasher() for _ in SPLITS]
        self._content_hashers = [ContentHasher() for _ in SPLITS]

    def decode(self, tables: Sequence[IndexTable], split: str | None) -> pa.RecordBatch:
        """The rows of the next shards, which were listed under `split`."""
        first_row = sum(stop for _, _, stop in self.tables[-1:])
        first_shard, stops = len(self.tables), first_row + np.cumsum([table.rows.num_rows for table in tables])
        self.tables += [(t.num_bytes, t.plan, stop) for t, stop in zip(tables, stops.tolist(), strict=True)]
        table = IndexTable(0, "", pa.concat_tables([table.rows for table in tables]).combine_chunks())
        codes = self._split_codes(table, split, lambda row: first_shard + bisect_right(stops, first_row + row))
        counts = list_lengths(table.column("suffix"))
        kinds = self._number_kinds(table, counts)
        of_kinds, first = np.unique(kinds, return_index=True)
        new = of_kinds >= len(self.first_rows)
        self.first_rows += (first[new] + first_row).tolist()
        loaded, first = np.unique(kinds[codes != OTHER_SPLIT], return_index=True)
        self.loaded_kinds.update(dict.fromkeys(loaded[np.argsort(first)].tolist()))
        owners = table.column("owners")
        names = compose_names(owners.flatten())
        rows, hashes = flatten_lists(owners)[0], hash_strings(names)
        for code in range(len(SPLITS)):
            self.num_rows[code] += (codes == code).sum()
            self._owners[code].append(distinct_hashes(hashes[codes[rows] == code]))
        texts = {name: compose_names(table.column(name)) for name in ("key", "group", "label")}
        self._key_hashes.append(hash_strings(texts["key"]))
        numbers = [table.members(field.name) for field in MEMBERS.value_type]
        fields = [pa.array(n, f.type) for n, f in zip(numbers, MEMBERS.value_type, strict=True)]
        columns = {
            **texts,
            "split": pa.array(codes.astype(np.int8)),
            "owner": _lists(list_lengths(owners), names),
            "kind": pa.array(kinds.astype(np.int32)),
            "members": _lists(counts, pa.StructArray.from_arrays(fields, fields=list(MEMBERS.value_type))),
            "spans": self._spans(table, counts),
        }
        return pa.record_batch([columns[name] for name in SCHEMA.names], schema=SCHEMA)

    def _split_codes(self, table: IndexTable, split: str | None, shard_of: Callable[[int], int]) -> np.ndarray:
        encoded = table.column("split").dictionary_encode()
        stored = [*encoded.dictionary.to_pylist(), ""]
        places_N = pc.fill_null(encoded.indices, len(stored) - 1).to_numpy()
        is_other = np.array([bool(split and text and text != split) for text in stored])
        if len(rows := np.flatnonzero(is_other[places_N])):
            row = int(rows[0])
            text = stored[places_N[row]]
            raise ValueError(
                f"{shown(self.files[shard_of(row)].shard)}: the sample {table.column('key')[row].as_py()!r} is of the "
                f"split {text!r}; list the shard as data.shards.{text}"
            )
        splits = [text or split or "train" for text in stored]
        for text, count in zip(splits, np.bincount(places_N, minlength=len(splits)).tolist(), strict=True):
            if text not in SPLITS and count:
                self.other_splits[text] += count
        codes: np.ndarray = np.array([SPLITS.index(t) if t in SPLITS else OTHER_SPLIT for t in splits])[places_N]
        return codes

    def _number_kinds(self, table: IndexTable, counts: np.ndarray) -> np.ndarray:
        """The kind (N,) of every sample: samples of one kind have the same suffixes in the same order."""
        encoded = table.column("suffix").flatten().dictionary_encode()
        numbers = [self.suffixes.setdefault(text, len(self.suffixes)) for text in encoded.dictionary.to_pylist()]
        ids = np.array(numbers, np.int64)[encoded.indices.to_numpy()]
        first = np.cumsum(counts) - counts
        kinds = np.zeros(len(counts), np.int64)
        first_uses: dict[tuple[int, ...], int] = {}
        parts = []
        for count in np.flatnonzero(np.bincount(counts)).tolist():
            rows = np.flatnonzero(counts == count)
            is_all = len(rows) == len(counts)
            ids_of_rows = ids.reshape(len(rows), count) if is_all else ids[first[rows][:, None] + np.arange(count)]
            if (ids_of_rows == ids_of_rows[:1]).all():
                distinct, first_use, inverse = ids_of_rows[:1], np.zeros(1, np.int64), np.zeros(len(rows), np.int64)
            else:
                distinct, first_use, inverse = np.unique(ids_of_rows, axis=0, return_index=True, return_inverse=True)
            suffixes = list(map(tuple, distinct.tolist()))
            first_uses.update(zip(suffixes, rows[first_use].tolist(), strict=True))
            parts.append((rows, suffixes, inverse.reshape(-1)))
        for kind in sorted(first_uses, key=first_uses.__getitem__):
            self.kinds.setdefault(kind, len(self.kinds))
        for rows, suffixes, inverse in parts:
            kinds[rows] = np.array([self.kinds[kind] for kind in suffixes])[inverse]
        return kinds

    def _spans(self, table: IndexTable, counts: np.ndarray) -> pa.Array:
        starts, ends = table.members("start_seconds"), table.members("end_seconds")
        members = np.flatnonzero(~(np.isnan(starts) & np.isnan(ends)))
        self.has_spans = self.has_spans or len(members) > 0
        first = np.cumsum(counts) - counts
        rows = np.searchsorted(first + counts, members, side="right")
        fields = [
            pa.array((members - first[rows]).astype(np.int32)),
            pa.array(starts[members]),
            pa.array(ends[members]),
        ]
        spans = pa.StructArray.from_arrays(fields, fields=list(SPANS.value_type))
        return _lists(np.bincount(rows, minlength=len(counts)), spans)

    def hash_samples(
        self, batch: pa.RecordBatch, suffixes_of_kinds: Sequence[tuple[int, ...]], suffixes: Sequence[str]
    ) -> None:
        """Take rows, with the kinds and suffixes that occur so far, into account for the hashes of each split."""
        codes = batch.column("split").to_numpy()
        kinds = [np.array(kind, np.int64) for kind in suffixes_of_kinds]
        modalities = _usual_modalities(suffixes)
        for code in range(len(SPLITS)):
            is_of_split = codes == code
            if num_rows := int(is_of_split.sum()):
                part = batch if num_rows == batch.num_rows else batch.filter(pa.array(is_of_split))
                self._identity_hashers[code].add(part)
                self._content_hashers[code].add(part, kinds, modalities)

    def _content_hashes(self) -> dict[str, list[tuple[list[int], str]]]:
        """Split → for the suffixes of each usual modality, as places in `suffixes`, the hash of its members."""
        numbers_of: dict[Modality, list[int]] = {}
        for number, modality in enumerate(_usual_modalities(self.suffixes)):
            if modality is not None:
                numbers_of.setdefault(modality, []).append(number)
        texts = list(self.suffixes)
        with ThreadPoolExecutor(NUM_THREADS) as threads:
            coming = {
                split: [(numbers, threads.submit(hasher.hexdigest, m, texts)) for m, numbers in numbers_of.items()]
                for split, hasher in zip(SPLITS, self._content_hashers, strict=True)
            }
            return {split: [(numbers, h.result()) for numbers, h in pairs] for split, pairs in coming.items()}

    def refuse_repeated_keys(self) -> None:
        """Raise ValueError, naming key and shards, where two samples have one key."""
        hashes = np.concatenate(self._key_hashes)
        suspects = np.flatnonzero(np.isin(hashes, repeated)) if len(repeated := repeated_hashes(hashes)) else ()
        starts = [0, *(stop for _, _, stop in self.tables)]
        of_shards = np.searchsorted(starts, suspects, side="right") - 1
        shard_of_key: dict[str, int] = {}
        for shard in np.unique(of_shards).tolist():
            keys = compose_names(self.files[shard].read().column("key"))
            for row in suspects[of_shards == shard] - starts[shard]:
                key = keys[int(row)].as_py()
                if key in shard_of_key:
                    places = [shown(self.files[s].shard) for s in (shard_of_key[key], shard)]
                    raise ValueError(
                        f"the key {key!r} comes twice, in {places[0]} and {places[1]}: keys are unique, so leave one "
                        "of the shards out, or pack them from one manifest"
                    )
                shard_of_key[key] = shard

    def finish(self, identity: dict[str, Any]) -> tuple[dict[str, Any], pa.Table]:
        """What is known now that all shards are there, and size, plan and last row + 1 of every shard."""
        owners = [np.concatenate(parts) if parts else np.zeros(0, np.uint64) for parts in self._owners]
        facts = {
            "identity": identity,
            "suffixes": list(self.suffixes),
            "kinds": list(self.kinds),
            "first_rows": self.first_rows,
            "loaded_kinds": list(self.loaded_kinds),
            "num_rows": self.num_rows.tolist(),
            "other_splits": dict(self.other_splits),
            "has_spans": self.has_spans,
            "shares_owners": len(shared_hashes(owners)) > 0,
            "identity_hashes": {s: h.hexdigest() for s, h in zip(SPLITS, self._identity_hashers, strict=True)},
            "content_hashes": self._content_hashes(),
        }
        num_bytes, plans, stops = zip(*self.tables, strict=True)
        return facts, pa.table({"num_bytes": num_bytes, "plan": plans, "stop": stops})


def _usual_modalities(suffixes: Iterable[str]) -> list[Modality | None]:
    """The modality of every suffix where the user names none; None where that is unknown."""
    parsed = [parse_suffix(text, MODALITY_OF_EXTENSION) for text in suffixes]
    return [None if suffix is None else suffix.modality for suffix in parsed]


def _lists(counts: np.ndarray, items: Any) -> pa.Array:
    """Lists of so many of the items each."""
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), items)
