"""Facts of a whole table, gathered batch by batch while it is decoded: what its checks, hashes and openings need."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.hashes import hash_strings, shared_hashes, string_bytes
from bind.data.sources.file_identities import FileIdentities
from bind.data.sources.sample_table import CLOCK, OTHER_SPLIT, SPLITS, flatten_lists, list_lengths, validity
from bind.types import Modality

MAX_FILES = 100_000
"""Files that are all looked at whenever a table is opened; of more, a sample is, and the doctor looks at all."""
SAMPLED_FILES = 10_000
SAMPLED_ROWS_PER_BATCH = 128


class FactsCollector:
    """Collector of the facts of a table from its batches, each of which `add_values` and `add_files` take into account.

    These two share nothing, so that each may have a thread of its own.

    Args:
        folder: of the table.
        modalities: its columns of values.
        vectors: those of them that hold vectors.
    """

    def __init__(self, folder: Path, modalities: Sequence[Modality], vectors: Collection[Modality] = ()) -> None:
        self.modalities = list(modalities)
        self.file_modalities = [m for m in modalities if m != "text" and m not in vectors]
        self._identities = FileIdentities(folder)
        self._key_hashes: list[np.ndarray] = []
        self._owners: list[list[np.ndarray]] = [[] for _ in SPLITS]
        self._files: list[list[np.ndarray]] = [[] for _ in SPLITS]
        self._num_rows = [0] * len(SPLITS)
        self._carried: set[Modality] = set()
        self._digests: dict[str, dict[str, _ColumnDigest]] = {split: {} for split in SPLITS}
        self._seen: np.ndarray | None = np.zeros(0, np.uint64)
        self._first_uses: list[_Uses] = []
        self._sampled: list[_Uses] = []
        self._rows_done = self._file_rows_done = 0
        self._with_clock: list[np.ndarray] = []
        self._without_clock: list[np.ndarray] = []
        self.empty_rows: list[int] = []

    def add_values(self, batch: pa.RecordBatch) -> None:
        """Take all of the next batch but its files into account."""
        splits = batch.column("split").to_numpy()
        self._key_hashes.append(hash_strings(batch.column("key")))
        num_values = np.zeros(batch.num_rows, np.int64)
        for modality in self.modalities:
            counts = list_lengths(batch.column(modality))
            num_values += counts
            if counts[splits != OTHER_SPLIT].any():
                self._carried.add(modality)
        is_empty = (splits != OTHER_SPLIT) & (num_values == 0)
        self.empty_rows += (np.flatnonzero(is_empty) + self._rows_done).tolist()
        for split, name in enumerate(SPLITS):
            is_of_split = splits == split
            if num_rows := int(is_of_split.sum()):
                part = batch.select([column for column in batch.schema.names if column not in ("split", "label")])
                part = part if num_rows == batch.num_rows else part.filter(pa.array(is_of_split))
                self._num_rows[split] += num_rows
                self._owners[split].append(hash_strings(part.column("owner").flatten()))
                self._add_digests(name, part)
        self._rows_done += batch.num_rows

    def _add_digests(self, split: str, part: pa.RecordBatch) -> None:
        digests = self._digests[split]
        for name in part.schema.names:
            if name != "owner":
                if name not in digests:
                    digests[name] = _ColumnDigest()
                digests[name].update(part.column(name))

    def add_files(self, batch: pa.RecordBatch) -> None:
        """Note the files of each split and of each clock, the first use of every file, and some uses of this batch."""
        splits = batch.column("split").to_numpy()
        first_row, self._file_rows_done = self._file_rows_done, self._file_rows_done + batch.num_rows
        loaded = np.flatnonzero(splits != OTHER_SPLIT)
        is_sampled = np.zeros(batch.num_rows, bool)
        if len(loaded):
            is_sampled[loaded[np.linspace(0, len(loaded) - 1, SAMPLED_ROWS_PER_BATCH).astype(int)]] = True
        new_uses, new_hashes, sampled = [], [], []
        for place, modality in enumerate(self.file_modalities):
            column = batch.column(modality)
            rows, paths = flatten_lists(column)
            if not len(rows):
                continue
            identities, hashes = self._identities.of(paths)
            splits_of_uses = splits[rows]
            for split in range(len(SPLITS)):
                self._files[split].append(identities[splits_of_uses == split])
            self._add_clocks(batch, modality, rows, identities)
            uses = _Uses.of_column(column, rows, place, paths, first_row)
            sampled.append(uses.at(np.flatnonzero(is_sampled[rows])))
            if self._seen is not None:
                at = np.searchsorted(self._seen, hashes)
                is_seen = np.append(self._seen, 0)[at] == hashes if len(self._seen) else np.zeros(len(hashes), bool)
                new = np.flatnonzero(~is_seen & (splits_of_uses != OTHER_SPLIT))
                new_uses.append(uses.at(new))
                new_hashes.append(hashes[new])
        if sampled:
            some = _Uses.join(sampled)
            self._sampled.append(some.at(some.order()))
        if self._seen is not None and any(len(hashes) for hashes in new_hashes):
            use, hashed = _Uses.join(new_uses), np.concatenate(new_hashes)
            order = use.order()
            distinct, first = np.unique(hashed[order], return_index=True)
            self._first_uses.append(use.at(order[np.sort(first)]))
            self._seen = np.sort(np.concatenate([self._seen, distinct]))
            if len(self._seen) > MAX_FILES:
                self._seen, self._first_uses = None, []

    def _add_clocks(self, batch: pa.RecordBatch, modality: Modality, rows: np.ndarray, identities: np.ndarray) -> None:
        """Note which files are used by the clock of their first row, and which are not."""
        if not any(name.endswith(CLOCK) for name in batch.schema.names[5:]):
            return
        place = batch.schema.get_field_index(modality + CLOCK)
        clocks = np.zeros(batch.num_rows, bool)
        if place >= 0:
            clocks = pc.fill_null(batch.column(place), False).to_numpy(zero_copy_only=False)
        self._with_clock.append(identities[clocks[rows]])
        self._without_clock.append(identities[~clocks[rows]])

    def has_two_clocks(self) -> bool:
        """Whether a file may be used by both clocks."""
        sides = [np.concatenate(side) for side in (self._with_clock, self._without_clock) if side]
        return len(shared_hashes(sides)) > 0

    def key_hashes(self) -> np.ndarray:
        """Of all rows, in their order."""
        return np.concatenate(self._key_hashes)

    def finish(self) -> tuple[dict[str, Any], pa.Table]:
        """What is known now that all batches are there, and the uses of files to look at: row, modality, path."""
        self._key_hashes = []
        owners = [np.concatenate(parts) if parts else np.zeros(0, np.uint64) for parts in self._owners]
        shares_owners = len(shared_hashes(owners)) > 0
        self._owners = []
        files = [np.concatenate(parts) if parts else np.zeros(0, np.uint64) for parts in self._files]
        self._files = []
        shares_files = len(shared_hashes(files)) > 0
        num_uses = sum(len(part) for part in files)
        parts = self._first_uses if self._seen is not None else self._sampled
        uses = _Uses.join(parts)
        if self._seen is None and len(uses.paths) > SAMPLED_FILES:
            uses = uses.at(np.linspace(0, len(uses.paths) - 1, SAMPLED_FILES).astype(int))
        table = pa.table({"row": uses.places[:, 0], "modality": uses.places[:, 1], "path": uses.paths})
        facts = {
            "num_rows": dict(zip(SPLITS, self._num_rows, strict=True)),
            "modalities": [m for m in self.modalities if m in self._carried],
            "shares_owners": shares_owners,
            "shares_files": shares_files,
            "num_uses": num_uses,
            "all_files": self._seen is not None,
            "hashes": {
                split: {name: digest.hexdigest() for name, digest in digests.items()}
                for split, digests in self._digests.items()
            },
        }
        return facts, table


@dataclass(frozen=True)
class _Uses:
    """Uses of files: row, place of the modality and number within the sample, (n, 3) int64, and their paths."""

    places: np.ndarray
    paths: Any

    @classmethod
    def of_column(cls, column: Any, rows: np.ndarray, place: int, paths: Any, first_row: int) -> _Uses:
        """All of a column of a batch, of which the first row is `first_row` and `rows` those of its paths."""
        counts = list_lengths(column)
        numbers = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
        return cls(np.stack([rows + first_row, np.full(len(rows), place), numbers], axis=1), paths)

    @classmethod
    def join(cls, parts: Sequence[_Uses]) -> _Uses:
        """One after the other."""
        places = [np.zeros((0, 3), np.int64), *(part.places for part in parts)]
        return cls(np.concatenate(places), pa.concat_arrays([pa.array([], pa.string()), *(p.paths for p in parts)]))

    def at(self, items: np.ndarray) -> _Uses:
        """Some of them."""
        return _Uses(self.places[items], self.paths.take(pa.array(items)))

    def order(self) -> np.ndarray:
        """Their order by row, modality and number."""
        return np.lexsort(self.places.T[::-1])


class _ColumnDigest:
    """A hash of the values of a column, however they lie in batches."""

    def __init__(self) -> None:
        self._counts, self._lengths, self._content = (hashlib.blake2b(digest_size=16) for _ in range(3))

    def update(self, column: Any) -> None:
        while pa.types.is_list(column.type):
            # One more than the length, so that a missing and an empty list differ.
            self._counts.update(np.where(validity(column), list_lengths(column) + 1, 0).astype("<i4").tobytes())
            column = column.flatten()
        if pa.types.is_string(column.type):
            content, _, lengths = string_bytes(column)
            self._lengths.update(np.where(validity(column), lengths + 1, 0).astype("<i4").tobytes())
            self._content.update(content.data)
        elif pa.types.is_boolean(column.type):
            self._content.update(pc.fill_null(column.cast(pa.int8()), 2).to_numpy().tobytes())
        else:
            kind = "<f4" if pa.types.is_float32(column.type) else "<f8"  # of vectors, and of times
            self._content.update(column.to_numpy(zero_copy_only=False).astype(kind).tobytes())

    def hexdigest(self) -> str:
        parts = (self._counts, self._lengths, self._content)
        return hashlib.blake2b(b"".join(part.digest() for part in parts), digest_size=16).hexdigest()
