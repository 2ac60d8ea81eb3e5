"""Uses of files by samples, in columns; identity and size of each file are read once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bind.data.leakage.same_files import file_on_disk
from bind.data.numbering import number_strings
from bind.data.sources.file_identities import FileIdentities
from bind.data.sources.sample_table import END, START, SampleTable, flatten_lists
from bind.types import Clip, FileUses, Modality, Sample, Source, StoredFile, StoredSource

NUM_THREADS = 16
CHUNK_FILES = 256


def find_file_uses(
    source: Source, split: str, modalities: Sequence[Modality], among: np.ndarray | None = None
) -> Iterator[FileUses]:
    """The uses of files by values of `modalities`, in parts; nothing where values are generated or streamed.

    With `among`, hashes (`FileIdentities`), a table's files that are none of these are left out.

    Raises:
        ValueError: for a file that does not exist.
    """
    samples = source.samples(split)
    if isinstance(source, StoredSource):
        yield from source.stored(split, modalities)
    elif isinstance(samples, SampleTable):
        yield _uses_of_table(samples, modalities, among)
    else:
        yield _uses_of_samples(samples, modalities)


def _uses_of_table(table: SampleTable, modalities: Sequence[Modality], among: np.ndarray | None) -> FileUses:
    columns: list[tuple[np.ndarray, ...]] = [(np.zeros(0, np.int64),) * 3 + (np.zeros(0),) * 2]
    paths: list[Any] = []
    identities = FileIdentities(table.folder)
    for place, modality in enumerate(modalities):
        if modality == "text" or modality in table.vectors or modality not in table.modalities:
            continue
        spans = [modality + end for end in (START, END) if modality + end in table.columns.schema.names]
        done = 0
        for part in table.parts([modality, *spans]):
            rows, texts = flatten_lists(part.column(0))
            numbers = np.arange(len(rows)) - np.searchsorted(rows, rows)
            seconds = {name: part.column(name).flatten().to_numpy(zero_copy_only=False) for name in spans}
            starts, ends = (seconds.get(modality + end, np.full(len(rows), np.nan)) for end in (START, END))
            of_part: tuple[np.ndarray, ...] = (rows + done, np.full(len(rows), place), numbers, starts, ends)
            done += part.num_rows
            if among is not None:
                is_among = np.isin(identities.of(texts)[0], among)
                of_part = tuple(column[is_among] for column in of_part)
                texts = texts.filter(pa.array(is_among))
            columns.append(of_part)
            paths.append(texts.cast(pa.large_string()))
    rows, places, numbers, starts, ends = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    texts = pa.concat_arrays([pa.array([], pa.large_string()), *paths])
    order = np.lexsort((numbers, places, rows))
    return _uses_of_paths(
        rows[order],
        numbers[order],
        np.nan_to_num(starts[order], nan=0.0),
        np.nan_to_num(ends[order], nan=np.inf, posinf=np.inf),
        texts.take(pa.array(order)),
        modalities,
        places[order],
        table.folder,
    )


def _uses_of_samples(samples: Sequence[Sample], modalities: Sequence[Modality]) -> FileUses:
    uses = [
        (row, number, clip.start_seconds or 0.0, np.inf if clip.end_seconds is None else clip.end_seconds, place, clip)
        for row, sample in enumerate(samples)
        for place, modality in enumerate(modalities)
        for number, clip in enumerate(sample.values.get(modality, ()))
        if isinstance(clip, Clip) and isinstance(clip.path, Path)
    ]
    rows, numbers, starts, ends, places, clips = zip(*uses, strict=True) if uses else ((),) * 6
    return _uses_of_paths(
        np.array(rows, np.int64),
        np.array(numbers, np.int64),
        np.array(starts, np.float64),
        np.array(ends, np.float64),
        pa.array([str(clip.path) for clip in clips], pa.large_string()),
        modalities,
        np.array(places, np.int64),
        Path(),
    )


def _uses_of_paths(
    rows_U: np.ndarray,
    numbers_U: np.ndarray,
    starts_U: np.ndarray,
    ends_U: np.ndarray,
    paths: Any,
    modalities: Sequence[Modality],
    places_U: np.ndarray,
    folder: Path,
) -> FileUses:
    """Uses of the files at these `paths` (U,), an Arrow array; `places_U` says which of `modalities` a use is of."""
    files_U, first_F = number_strings(paths)
    distinct, places_F = paths.take(pa.array(first_F)), places_U[first_F]
    chunks = [distinct[start : start + CHUNK_FILES].to_pylist() for start in range(0, len(distinct), CHUNK_FILES)]
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        facts = list(threads.map(partial(_look_at, folder), chunks))
    facts_F3 = np.concatenate([np.zeros((0, 3), np.int64), *facts])

    def file(number: int) -> StoredFile:
        return file_on_disk(folder / distinct[number].as_py(), modalities[places_F[number]])

    return FileUses(
        rows_U, numbers_U, starts_U, ends_U, files_U, facts_F3[:, :2], facts_F3[:, 2], np.full(len(first_F), -1), file
    )


def _look_at(folder: Path, paths: Sequence[str]) -> np.ndarray:
    """Device and inode, so that links count as what they lead to, and size of each file, (F, 3) int64."""
    facts = []
    for path in paths:
        try:
            stat = os.stat(folder / path)
        except OSError as error:
            raise ValueError(f"{folder / path}: {error.strerror}; restore it or drop its row") from error
        facts.append((stat.st_dev, stat.st_ino, stat.st_size))
    return np.array(facts, np.uint64).astype(np.int64)
