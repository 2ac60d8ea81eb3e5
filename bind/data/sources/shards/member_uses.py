"""Uses of the members of shards by their samples, in columns: each member is a file by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from bind.data.sources.sample_table import SampleTable
from bind.data.sources.shards.content_hashes import seconds_of_members
from bind.data.sources.shards.members import Members
from bind.data.sources.shards.names import Suffix
from bind.data.sources.shards.remote import read_range
from bind.types import FileUses, Modality, StoredFile, stable_id


def uses_of_members(table: Members, rows: range | np.ndarray, modalities: Sequence[Modality]) -> Iterator[FileUses]:
    """The members of `modalities` of these rows, but for texts and sidecars, in parts."""
    of_kinds = [_files_of_kind([table.suffixes[i] for i in kind], modalities) for kind in table.kinds]
    place_of_shard = np.array([stable_id(shard) for shard in table.shards], np.int64)
    done = 0
    for part in SampleTable(table.columns, rows, Path(), ()).parts(["kind", "members", "spans"]):
        table_rows = np.asarray(rows[done : done + part.num_rows])
        yield _uses_in_part(table, part, done, table_rows, of_kinds, place_of_shard)
        done += part.num_rows


def _uses_in_part(
    table: Members,
    part: pa.RecordBatch,
    first_row: int,
    table_rows: np.ndarray,
    of_kinds: Sequence[Sequence[tuple[int, int, Modality]]],
    place_of_shard: np.ndarray,
) -> FileUses:
    kinds = part.column("kind").to_numpy()
    counts = np.array([len(kind) for kind in table.kinds])[kinds]
    first = np.cumsum(counts) - counts
    columns = [(np.zeros(0, np.int64),) * 3]
    for kind in np.unique(kinds).tolist():
        rows = np.flatnonzero(kinds == kind)
        members, numbers = np.array([files[:2] for files in of_kinds[kind]], np.int64).reshape(-1, 2).T
        columns.append((np.repeat(rows, len(members)), np.tile(members, len(rows)), np.tile(numbers, len(rows))))
    rows_U, members_U, numbers_U = (np.concatenate(arrays) for arrays in zip(*columns, strict=True))
    order = np.argsort(rows_U, kind="stable")
    rows_U, members_U, numbers_U = rows_U[order], members_U[order], numbers_U[order]
    places_U = first[rows_U] + members_U
    fields = part.column("members").flatten()
    offsets_U, sizes_U, checksums_U = (
        fields.field(name).to_numpy()[places_U].astype(np.int64) for name in ("offset", "size", "crc32")
    )
    shards_U = table.shards_of(table_rows)[rows_U]
    seconds = seconds_of_members(part.column("spans"), first, len(fields))
    starts, ends = (of_members[places_U] for of_members in seconds) if seconds else (np.full(len(rows_U), np.nan),) * 2

    def file(number: int) -> StoredFile:
        row, member, shard = int(table_rows[rows_U[number]]), int(members_U[number]), int(shards_U[number])
        path, offset = table.shards[shard], int(offsets_U[number])
        kind = int(kinds[rows_U[number]])
        [modality] = [modality for place, _, modality in of_kinds[kind] if place == member]
        suffix = table.suffix_texts[table.kinds[kind][member]]
        return StoredFile(
            f"{table.shown[shard]}: {table.cell(row, 'key')}.{suffix}",
            (path, offset),
            int(sizes_U[number]),
            modality,
            partial(_read_member, path, offset, table.num_bytes[shard]),
            int(checksums_U[number]),
        )

    return FileUses(
        rows_U + first_row,
        numbers_U,
        np.where(np.isnan(starts), 0.0, starts),
        np.where(np.isnan(ends), np.inf, ends),
        np.arange(len(rows_U)),
        np.stack([place_of_shard[shards_U], offsets_U], axis=1),
        sizes_U,
        checksums_U,
        file,
    )


def _files_of_kind(
    suffixes: Sequence[Suffix | None], modalities: Sequence[Modality]
) -> list[tuple[int, int, Modality]]:
    """Which member, which value of its modality, and modality, in the order of `fetch`, but for texts and sidecars."""
    chosen = [
        (suffix.modality, suffix.number, member)
        for member, suffix in enumerate(suffixes)
        if suffix is not None and suffix.modality in modalities
        if suffix.modality != "text" and suffix.extension != "json"  # beside an array, alike for many of them
    ]
    files, num_values = [], Counter[Modality]()
    for modality, _, member in sorted(chosen):
        files.append((member, num_values[modality], modality))
        num_values[modality] += 1
    return files


def _read_member(shard: str, offset: int, num_bytes: int, start: int, stop: int) -> bytes:
    return read_range(shard, offset + start, offset + stop, num_bytes)
