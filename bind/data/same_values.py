"""Values of a split that are one and the same: equal texts, and files with equal content."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.leakage.file_uses import find_file_uses
from bind.data.leakage.same_files import equal_files
from bind.data.numbering import number_rows, number_strings
from bind.data.sources.sample_columns import key_column
from bind.data.sources.sample_table import SampleTable
from bind.data.value_ids import ValueIds
from bind.types import FactorSource, FileUses, Modality, Source, StoredVector

NO_GROUP = -1


@dataclass(frozen=True)
class IdentifiedValues:
    """V values of samples in some splits of some sources, (V,) int64 each: equal values share an id.

    Attributes:
        parts_V: which split of which source.
        rows_V: the sample within it, ascending within a part.
        numbers_V: which of the sample's values.
        ids_V: counted from 0 in the order in which values first occur.
    """

    parts_V: np.ndarray
    rows_V: np.ndarray
    numbers_V: np.ndarray
    ids_V: np.ndarray


def identify_values(parts: Sequence[tuple[Source, str]], modality: Modality) -> IdentifiedValues:
    """Number the values of a modality in some splits of some sources so that equal ones share an id.

    Equal are texts of the same letters, and stretches of files with the same bytes, wherever they lie, in shards too.
    Files are compared by size first, so that little is read. What a source makes, or streams without an index, is not
    compared; of a source that knows its factors, equal texts are one within their group only, as its ceilings have it.
    """
    return _identify_texts(parts) if modality == "text" else _identify_files(parts, modality)


def equal_values(sources: Sequence[Source], split: str, modalities: Sequence[Modality]) -> dict[Modality, ValueIds]:
    """Modality → the ids of its values (see `identify_values`), for modalities of which some values are equal."""
    equal: dict[Modality, ValueIds] = {}
    for modality in modalities:
        parts = [source for source in sources if modality in source.modalities()]
        values = identify_values([(source, split) for source in parts], modality)
        if len(values.ids_V) and values.ids_V.max() + 1 < len(values.ids_V):
            columns = [key_column(source.samples(split)) for source in parts]
            starts = np.cumsum([0, *map(len, columns)])
            keys = pa.concat_arrays(columns)
            equal[modality] = ValueIds(keys, values.rows_V + starts[values.parts_V], values.numbers_V, values.ids_V)
    return equal


def values_in_both(
    evaluated: Sequence[tuple[Source, str]], trained: Sequence[tuple[Source, str]], modality: Modality
) -> set[tuple[str, int]]:
    """The values on the evaluated side (key, which of its values) that the trained side has too."""
    values = identify_values([*evaluated, *trained], modality)
    is_evaluated = values.parts_V < len(evaluated)
    shared = np.flatnonzero(is_evaluated & np.isin(values.ids_V, values.ids_V[~is_evaluated]))
    samples = [source.samples(split) for source, split in evaluated]
    places = zip(
        *(column[shared].tolist() for column in (values.parts_V, values.rows_V, values.numbers_V)), strict=True
    )
    return {(samples[part][row].key, number) for part, row, number in places}


def _identify_files(parts: Sequence[tuple[Source, str]], modality: Modality) -> IdentifiedValues:
    uses: list[FileUses] = []
    of_parts: list[np.ndarray] = []
    for part, (source, split) in enumerate(parts):
        for of_part in find_file_uses(source, split, [modality]):
            uses.append(of_part)
            of_parts.append(np.full(len(of_part), part))
    if not uses:
        return IdentifiedValues(*(np.zeros(0, np.int64),) * 4)
    starts = np.cumsum([0, *(len(u.num_bytes_F) for u in uses)])
    identities_F2 = np.concatenate([u.identities_F2 for u in uses])
    numbers_F, first_F = number_rows(*identities_F2.T)
    num_bytes, checksums = (
        np.concatenate(column)[first_F] for column in zip(*((u.num_bytes_F, u.checksums_F) for u in uses), strict=True)
    )
    alike = number_rows(num_bytes, checksums)[0]
    suspects = np.flatnonzero(np.bincount(alike)[alike] > 1)
    number_of, files = {}, []
    for number in suspects.tolist():
        which = int(np.searchsorted(starts, first_F[number], side="right")) - 1
        file = uses[which].file(int(first_F[number] - starts[which]))
        number_of[file.identity] = number
        files.append(file)
    copies = np.arange(len(first_F))
    for identity, first in equal_files(files).items():
        copies[number_of[identity]] = number_of[first]
    contents_U = np.concatenate([copies[numbers_F[u.files_U + start]] for u, start in zip(uses, starts, strict=False)])
    seconds = ([u.start_seconds_U for u in uses], [u.end_seconds_U for u in uses])
    ids_U, _ = number_rows(contents_U, *map(np.concatenate, seconds))
    return IdentifiedValues(
        np.concatenate(of_parts),
        np.concatenate([u.rows_U for u in uses]),
        np.concatenate([u.numbers_U for u in uses]),
        ids_U,
    )


def _identify_texts(parts: Sequence[tuple[Source, str]]) -> IdentifiedValues:
    columns: list[tuple[np.ndarray, ...]] = [(np.zeros(0, np.int64),) * 5]
    contents: list[Any] = [pa.array([], pa.large_binary())]
    for part, (source, split) in enumerate(parts):
        samples = source.samples(split)
        groups = np.array([s.group_id for s in samples], np.int64) if isinstance(source, FactorSource) else None
        for rows, content, is_vector in _texts(source, split):
            numbers = np.arange(len(rows)) - np.searchsorted(rows, rows)
            groups_V = np.full(len(rows), NO_GROUP) if groups is None else groups[rows]
            columns.append((np.full(len(rows), part), rows, numbers, groups_V, np.full(len(rows), int(is_vector))))
            contents.append(content)
    parts_V, rows_V, numbers_V, groups_V, kinds_V = map(np.concatenate, zip(*columns, strict=True))
    ids_V, _ = number_rows(number_strings(pa.concat_arrays(contents))[0], groups_V, kinds_V)
    return IdentifiedValues(parts_V, rows_V, numbers_V, ids_V)


def _texts(source: Source, split: str) -> Iterator[tuple[np.ndarray, Any, bool]]:
    """The sample (n,) of each text, the bytes of the texts as an Arrow array, whether they are vectors; in parts."""
    samples = source.samples(split)
    if isinstance(samples, SampleTable):
        is_vector = "text" in samples.vectors
        for rows, items in samples.flat_values("text"):
            yield rows, _bytes_of_vectors(items) if is_vector else items.cast(pa.large_binary()), is_vector
        if samples.count_values("text") or not samples.has("text").any():
            return  # else they are in shards
        of_samples: Sequence[Sequence[Any]] = []
    else:
        of_samples = [sample.values.get("text", ()) for sample in samples]
    if not any(map(len, of_samples)):
        of_samples = [values.get("text", ()) for values in source.fetch(split, range(len(samples)), ["text"], None)]
    values = [(row, value) for row, of_sample in enumerate(of_samples) for value in of_sample]
    for is_vector, of_kind in itertools.groupby(values, lambda value: isinstance(value[1], StoredVector)):
        rows_and_values = list(of_kind)
        content = [v.values.tobytes() if is_vector else v.encode() for _, v in rows_and_values]
        yield np.array([row for row, _ in rows_and_values], np.int64), pa.array(content, pa.large_binary()), is_vector


def _bytes_of_vectors(vectors: Any) -> Any:
    """The bytes of every list of an Arrow array of lists of numbers."""
    values = np.ascontiguousarray(vectors.flatten().to_numpy(zero_copy_only=False))
    lengths = pc.list_value_length(vectors).to_numpy().astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]) * values.itemsize
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(vectors), [None, pa.py_buffer(offsets), pa.py_buffer(values)]
    )
