"""Table of samples: columns in Arrow, in memory or mapped; a row becomes a `Sample` when it is asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
import pyarrow as pa

from bind.data.hashes import hash_strings
from bind.types import Clip, Modality, Sample, StoredVector, group_id_of, stable_id

SPLITS = ("train", "val", "test")
OTHER_SPLIT = len(SPLITS)
"""In the column `split`, which holds places in `SPLITS`: of a split that is never loaded."""
START, END, CLOCK = "_start_seconds", "_end_seconds", "_clock"


VECTOR = pa.list_(pa.float32())
"""A value in a column of vectors; in others it is a text or a path."""


def sample_schema(
    modalities: Iterable[Modality], extra: Iterable[str] = (), vectors: Collection[Modality] = ()
) -> pa.Schema:
    """The columns of samples: their metadata, and per modality a list of texts or paths, null where it is missing.

    Args:
        modalities: in the order in which samples have them.
        extra: columns of spans and clocks that there are, `{modality}_start_seconds` and so on. Spans are lists as
            long as that of the files, NaN where there is no time; a clock is whether spans count from the first row.
        vectors: the modalities whose values are vectors.
    """
    text = pa.string()
    fields = [("key", text), ("split", pa.int8()), ("group", text), ("owner", pa.list_(text)), ("label", text)]
    fields += [(modality, pa.list_(VECTOR if modality in vectors else text)) for modality in modalities]
    fields += [(name, pa.bool_() if name.endswith(CLOCK) else pa.list_(pa.float64())) for name in extra]
    return pa.schema(fields)


def batch_of_samples(samples: Sequence[Sample], schema: pa.Schema, paths: Callable[[Any], str]) -> pa.RecordBatch:
    """Columns of samples; `paths` gives the text of a clip's path."""
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for sample in samples:
        columns["key"].append(sample.key)
        columns["split"].append(SPLITS.index(sample.split) if sample.split in SPLITS else OTHER_SPLIT)
        columns["group"].append(sample.group)
        columns["owner"].append(list(sample.owners))
        columns["label"].append(sample.label)
        for name in schema.names[5:]:
            modality = name.removesuffix(START).removesuffix(END).removesuffix(CLOCK)
            values = sample.values.get(name if name in sample.values else modality)
            if values is None:
                columns[name].append(None)
            elif name in sample.values:
                columns[name].append([_as_cell(value, paths) for value in values])
            elif name.endswith(CLOCK):
                columns[name].append(any(clip.from_first_row for clip in values))
            else:
                times = [clip.start_seconds if name.endswith(START) else clip.end_seconds for clip in values]
                columns[name].append([np.nan if time is None else time for time in times])
    return pa.record_batch([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _as_cell(value: Any, paths: Callable[[Any], str]) -> Any:
    if isinstance(value, StoredVector):
        return value.values
    return paths(value.path) if isinstance(value, Clip) else value


class SampleColumns(Protocol):
    """Record batches of `sample_schema`; those of batch i are the rows from `starts[i]` to `starts[i + 1]`."""

    schema: pa.Schema
    starts: Sequence[int]

    def batch(self, number: int) -> pa.RecordBatch:
        """A batch; ValueError naming the file where it is damaged."""

    def batch_unverified(self, number: int) -> pa.RecordBatch:
        """The same for a look at some of its bytes, which are not compared with a checksum."""


class ColumnsInMemory:
    """`SampleColumns` of a list of batches."""

    def __init__(self, batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> None:
        self.batches, self.schema = list(batches), schema
        self.starts = np.cumsum([0, *(batch.num_rows for batch in batches)]).tolist()

    def batch(self, number: int) -> pa.RecordBatch:
        """See `SampleColumns`."""
        return self.batches[number]

    batch_unverified = batch


class SampleTable(Sequence[Sample]):
    """Some rows of `SampleColumns`, in their order, as a sequence of samples.

    What asks about all samples asks for columns (`parts`, `has`, …), which costs no Python per row.

    Args:
        columns: of all rows.
        rows: numbers of the rows, ascending.
        folder: what paths are relative to.
        modalities: the columns of values.
        hashes: column → a hash of all its values in these rows, where that is known.
        identity_hash: what `identify_samples` finds as their hash, where that is known.
    """

    def __init__(
        self,
        columns: SampleColumns,
        rows: range | np.ndarray,
        folder: Path,
        modalities: Sequence[Modality],
        hashes: Mapping[str, str] | None = None,
        *,
        identity_hash: str | None = None,
    ) -> None:
        rows = _as_range(rows)
        self.columns, self.rows, self.folder, self.modalities = columns, rows, folder, tuple(modalities)
        self.hashes = hashes or {}
        self.identity_hash = identity_hash
        self._extra = frozenset(columns.schema.names[5:])
        kinds = ((m, columns.schema.field(m).type.value_type) for m in self.modalities)
        self.vectors = frozenset(m for m, kind in kinds if kind == VECTOR)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            if index.step not in (None, 1):
                return [self[place] for place in range(*index.indices(len(self)))]
            return SampleTable(self.columns, self.rows[index], self.folder, self.modalities)
        batch, row = self._place(index)
        cells = {name: batch.column(i)[row].as_py() for i, name in enumerate(batch.schema.names)}
        return self._sample(cells)

    def __iter__(self) -> Iterator[Sample]:
        for part in self.parts():
            for start in range(0, part.num_rows, 1024):
                yield from map(self._sample, part.slice(start, 1024).to_pylist())

    def at(self, places: np.ndarray) -> SampleTable:
        """Some of the samples, by their places, ascending."""
        rows = places + self.rows.start if isinstance(self.rows, range) else self.rows[places]
        return SampleTable(self.columns, rows, self.folder, self.modalities)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _place(self, index: int) -> tuple[pa.RecordBatch, int]:
        row = int(self.rows[index])
        number = bisect_right(self.columns.starts, row) - 1
        return self.columns.batch(number), row - self.columns.starts[number]

    def _sample(self, cells: dict[str, Any]) -> Sample:
        values = {m: self._values(m, cells) for m in self.modalities if cells[m] is not None}
        split = SPLITS[cells["split"]]
        return Sample(cells["key"], split, values, cells["group"], tuple(cells["owner"]), cells["label"])

    def _values(self, modality: Modality, cells: dict[str, Any]) -> list[Any]:
        items: list[Any] = cells[modality]
        if modality in self.vectors:
            name = f"{modality} of key {cells['key']!r}"
            return [StoredVector(np.array(numbers, np.float32), name) for numbers in items]
        if modality == "text":
            return items
        no_times = [np.nan] * len(items)
        starts, ends = (cells.get(modality + name) or no_times for name in (START, END))
        from_first_row = bool(cells.get(modality + CLOCK))
        return [
            Clip(self.folder / item, None if start != start else start, None if end != end else end, from_first_row)
            for item, start, end in zip(items, starts, ends, strict=True)
        ]

    def values(self, index: int, modalities: Sequence[Modality]) -> dict[Modality, list[Any]]:
        """The values of these modalities that a sample has."""
        batch, row = self._place(index)
        values = {}
        for modality in modalities:
            if modality in self.modalities and (items := batch.column(modality)[row]).is_valid:
                if modality in self.vectors:
                    name = f"{modality} of key {self.key(index)!r}"
                    vectors = (vector.values.to_numpy(zero_copy_only=False) for vector in items.values)
                    values[modality] = [StoredVector(vector, name) for vector in vectors]
                    continue
                names = [n for n in (modality + START, modality + END, modality + CLOCK) if n in self._extra]
                cells = {name: batch.column(name)[row].as_py() for name in names}
                values[modality] = self._values(modality, {modality: items.as_py(), **cells})
        return values

    def entries(self, modalities: Sequence[Modality]) -> Iterator[tuple[str, str | None, dict[Modality, list[Any]]]]:
        """Key, group, and values of these modalities of every sample, without what else it has."""
        chosen = [modality for modality in modalities if modality in self.modalities]
        spans = [m + name for m in chosen for name in (START, END, CLOCK) if m + name in self._extra]
        for part in self.parts(["key", "group", *chosen, *spans]):
            for start in range(0, part.num_rows, 1024):
                for cells in part.slice(start, 1024).to_pylist():
                    values = {m: self._values(m, cells) for m in chosen if cells[m] is not None}
                    yield cells["key"], cells["group"], values

    def key(self, index: int) -> str:
        """The key of a sample."""
        batch, row = self._place(index)
        key: str = batch.column(0)[row].as_py()
        return key

    def group_id(self, index: int) -> int:
        """See `Sample.group_id`."""
        [key], [group] = self.keys_and_groups([index])
        return group_id_of(key, group)

    def keys_and_groups(self, indices: Sequence[int]) -> tuple[list[str], list[str | None]]:
        """The keys and the groups of some samples, in the order of `indices`."""
        columns: dict[int, tuple[Any, Any]] = {}  # making one takes longer than reading a cell
        keys, groups = [], []
        for index in indices:
            row = int(self.rows[index])
            number = bisect_right(self.columns.starts, row) - 1
            if number not in columns:
                batch = self.columns.batch(number)
                columns[number] = batch.column(0), batch.column(2)
            of_keys, of_groups = columns[number]
            row -= self.columns.starts[number]
            keys.append(of_keys[row].as_py())
            groups.append(of_groups[row].as_py())
        return keys, groups

    def parts(self, columns: Sequence[str] | None = None, *, verify: bool = True) -> Iterator[pa.RecordBatch]:
        """The samples in their order, as record batches of these columns, all by default."""
        for batch, rows in self._stretches(verify):
            part = batch if columns is None else batch.select(columns)
            yield part.slice(rows.start, len(rows)) if isinstance(rows, range) else part.take(pa.array(rows))

    def _stretches(self, verify: bool) -> Iterator[tuple[pa.RecordBatch, range | np.ndarray]]:
        """The batches that hold samples, and which of their rows these are."""
        read = self.columns.batch if verify else self.columns.batch_unverified
        for number, (start, stop) in enumerate(pairwise(self.columns.starts)):
            if isinstance(self.rows, range):
                rows: range | np.ndarray = range(max(start, self.rows.start) - start, min(stop, self.rows.stop) - start)
            else:
                low, high = np.searchsorted(self.rows, [start, stop])
                rows = _as_range(self.rows[low:high] - start)
            if len(rows):
                yield read(number), rows

    def has(self, modality: Modality) -> np.ndarray:
        """Bool (N,): the samples that have a modality."""
        if modality not in self.modalities:
            return np.zeros(len(self), bool)
        return join_arrays([validity(b.column(modality))[_index(rows)] for b, rows in self._stretches(False)], bool)

    def keys(self) -> list[str]:
        """The key of every sample, in their order."""
        return [key for part in self.parts(["key"]) for key in part.column(0).to_pylist()]

    def key_ids(self) -> np.ndarray:
        """See `ColumnarSamples`."""
        ids = [np.fromiter(map(stable_id, p.column(0).to_pylist()), np.int64, len(p)) for p in self.parts(["key"])]
        return join_arrays(ids, np.int64)

    def labels(self) -> list[str | None]:
        """The label of every sample, in their order."""
        return [label for part in self.parts(["label"]) for label in part.column(0).to_pylist()]

    def owners(self) -> list[list[str]]:
        """The owners of every sample, in their order."""
        return [owners for part in self.parts(["owner"]) for owners in part.column(0).to_pylist()]

    def count_values(self, modality: Modality) -> int:
        """The number of values of a modality that all samples have together."""
        if modality not in self.modalities:
            return 0
        return sum(int(list_lengths(b.column(modality))[_index(rows)].sum()) for b, rows in self._stretches(False))

    def key_hashes(self) -> np.ndarray:
        """The hashes (N,) uint64 of the keys."""
        return join_arrays([hash_strings(part.column(0)) for part in self.parts(["key"])], np.uint64)

    def split_codes(self) -> np.ndarray:
        """The split (N,) of every sample, as a place in `SPLITS`."""
        return join_arrays([part.column(0).to_numpy() for part in self.parts(["split"])], np.int8)

    def owner_hashes(self) -> tuple[np.ndarray, np.ndarray]:
        """Of every owner of every sample: the place of the sample, and the hash of the owner's name."""
        places, hashes, done = [], [], 0
        for part in self.parts(["owner"]):
            rows, owners = flatten_lists(part.column(0))
            places.append(rows + done)
            hashes.append(hash_strings(owners))
            done += part.num_rows
        return join_arrays(places, np.int64), join_arrays(hashes, np.uint64)

    def flat_values(self, modality: Modality) -> Iterator[tuple[np.ndarray, Any]]:
        """Of every value of a modality: the place of its sample, and its text or the text of its path; in parts."""
        done = 0
        for part in self.parts([modality] if modality in self.modalities else ["key"]):
            if modality in self.modalities:
                rows, items = flatten_lists(part.column(0))
                yield rows + done, items
            done += part.num_rows


def _as_range(rows: range | np.ndarray) -> range | np.ndarray:
    """Ascending numbers as a range, where they are one."""
    if isinstance(rows, np.ndarray) and len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        return range(int(rows[0]), int(rows[-1]) + 1)
    return rows


def _index(rows: range | np.ndarray) -> slice | np.ndarray:
    return slice(rows.start, rows.stop) if isinstance(rows, range) else rows


def join_arrays(parts: Sequence[np.ndarray], kind: Any) -> np.ndarray:
    """One array of several, of which there may be none."""
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def validity(array: Any) -> np.ndarray:
    """Bool (N,): the places of an Arrow array that are not null."""
    if not array.null_count:
        return np.ones(len(array), bool)
    valid: np.ndarray = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def list_lengths(lists: Any) -> np.ndarray:
    """The number of items (N,) int64 of every list of an Arrow array; 0 of a null."""
    if not len(lists):
        return np.zeros(0, np.int64)
    lengths = np.diff(lists.offsets.to_numpy()).astype(np.int64)
    return lengths if not lists.null_count else np.where(validity(lists), lengths, 0)


def flatten_lists(lists: Any) -> tuple[np.ndarray, Any]:
    """Place of its list (num_items,), and all items, of an Arrow array of lists."""
    return np.repeat(np.arange(len(lists)), list_lengths(lists)), lists.flatten()
