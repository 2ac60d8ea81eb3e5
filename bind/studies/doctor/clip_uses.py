"""Uses of clips by samples, in columns: which files a table names, and which samples touch each."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.numbering import number_rows, number_strings
from bind.data.sources.file_identities import FileIdentities
from bind.data.sources.sample_columns import key_column
from bind.data.sources.sample_table import CLOCK, END, SPLITS, START, SampleTable, flatten_lists
from bind.studies.doctor.findings import FileFacts, Item
from bind.types import Clip

Examined = Mapping[int, FileFacts]
"""The number of a file that is there → its facts."""

NUM_THREADS = 16
CHUNK_FILES = 256
NO_TIME = -1.0


class ClipUses:
    """Uses of clips by the samples of a table: U uses of C clips of F files, grouped by file and then by clip.

    Files, and the clips of each, are in the order in which they are first used. A file that two modalities use is two.

    Attributes:
        samples: the table.
        modalities: its columns of files.
        rows_U: the sample of each use.
        clips_U: the clip of each use.
        is_first_U: whether it is the first value that the sample has of its modality.
        files_C: the file of each clip.
        places_F: the modality of each file, as a place in `modalities`.
        exists_F: whether there is such a file.
        identities_F: equal for names that lead to one file.
    """

    def __init__(self, samples: SampleTable) -> None:
        self.samples = samples
        self.modalities = [m for m in samples.modalities if m != "text" and m not in samples.vectors]
        rows_U, places_U, starts_U, ends_U, clocks_U, paths = self._columns()
        paths_U, distinct = _number_paths(paths)
        exists_P, identities_P = _look_at_all(samples.folder, distinct)
        files_U, first_F = number_rows(places_U, paths_U)
        clips_U, first_C = number_rows(files_U, starts_U, ends_U, clocks_U)
        files_C = files_U[first_C]
        order_C = np.argsort(files_C, kind="stable")
        order_U = np.lexsort((clips_U, files_U))
        of_sample_U = rows_U * len(self.modalities) + places_U
        self.rows_U = rows_U[order_U]
        self.is_first_U = np.append(True, of_sample_U[1:] != of_sample_U[:-1])[: len(order_U)][order_U]
        counts_C = np.bincount(clips_U, minlength=len(first_C))[order_C]
        self._uses_of_C = np.append(0, np.cumsum(counts_C))
        self.clips_U = np.repeat(np.arange(len(first_C)), counts_C)
        self.files_C = files_C[order_C]
        self._clips_of_F = np.append(0, np.cumsum(np.bincount(self.files_C, minlength=len(first_F))))
        self._starts_C, self._ends_C, self._clocks_C = (x[first_C][order_C] for x in (starts_U, ends_U, clocks_U))
        self.places_F = places_U[first_F]
        self._paths = distinct.take(pa.array(paths_U[first_F]))
        self.exists_F, self.identities_F = (x[paths_U[first_F]] for x in (exists_P, identities_P))

    def _columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, pa.Array]:
        """Sample, modality, span, clock and path of every use, in the order of samples, modalities and values."""
        kinds = (np.int64, np.int8, np.float64, np.float64, bool)
        columns: list[tuple[np.ndarray, ...]] = [tuple(np.zeros(0, kind) for kind in kinds)]
        paths = [pa.array([], pa.large_string())]
        for place, modality in enumerate(self.modalities):
            names = [m for end in (START, END, CLOCK) if (m := modality + end) in self.samples.columns.schema.names]
            done = 0
            for part in self.samples.parts([modality, *names]):
                rows, texts = flatten_lists(part.column(0))
                starts, ends = (
                    np.nan_to_num(part.column(modality + end).flatten().to_numpy(zero_copy_only=False), nan=NO_TIME)
                    if modality + end in names
                    else np.full(len(rows), NO_TIME)
                    for end in (START, END)
                )
                clocks = np.zeros(len(rows), bool)
                if modality + CLOCK in names:
                    clocks = part.column(modality + CLOCK).fill_null(False).to_numpy(zero_copy_only=False)[rows]
                columns.append((rows + done, np.full(len(rows), place, np.int8), starts, ends, clocks))
                paths.append(texts.cast(pa.large_string()))
                done += part.num_rows
        rows, *others = (np.concatenate(parts) for parts in zip(*columns, strict=True))
        texts = pa.concat_arrays(paths)
        order = np.argsort(rows, kind="stable")
        places, starts, ends, clocks = (column[order] for column in others)
        return rows[order], places, starts, ends, clocks, texts.take(pa.array(order))

    def modality(self, file: int) -> str:
        """The modality that uses a file."""
        modality: str = self.modalities[self.places_F[file]]
        return modality

    def name(self, file: int) -> str:
        """A file as the manifest writes it."""
        text: str = self._paths[file].as_py()
        return text.removeprefix(f"{self.samples.folder}/") if text.startswith("/") else text

    def path(self, file: int) -> Path:
        """The path of a file."""
        path: Path = self.samples.folder / self._paths[file].as_py()
        return path

    def clips_of(self, file: int) -> range:
        """The numbers of the clips of a file."""
        return range(self._clips_of_F[file], self._clips_of_F[file + 1])

    def clip(self, clip: int) -> Clip:
        """A clip by its number."""
        start, end = (None if x[clip] == NO_TIME else float(x[clip]) for x in (self._starts_C, self._ends_C))
        return Clip(self.path(self.files_C[clip]), start, end, bool(self._clocks_C[clip]))

    def are_cut(self) -> np.ndarray:
        """Bool (C,): whether a clip is a stretch of its file."""
        is_cut_C: np.ndarray = (self._starts_C != NO_TIME) | (self._ends_C != NO_TIME)
        return is_cut_C

    def rows(self, clips: range) -> np.ndarray:
        """The samples that use neighbouring clips."""
        return self.rows_U[self._uses_of_C[clips.start] : self._uses_of_C[clips.stop]]

    def keys(self, clips: range) -> tuple[str, ...]:
        """The keys of the samples that use neighbouring clips, each once."""
        return tuple(dict.fromkeys(self._keys.take(pa.array(self.rows(clips))).to_pylist()))

    @functools.cached_property
    def _keys(self) -> Any:
        return key_column(self.samples)

    def missing(self) -> Iterator[tuple[int, str, tuple[str, ...]]]:
        """The files that are not there, the split of the first sample that uses each, and the keys of all that do."""
        files_U = self.files_C[self.clips_U]
        uses = np.flatnonzero(~self.exists_F[files_U])
        files, starts, counts = np.unique(files_U[uses], return_index=True, return_counts=True)
        codes = self.samples.split_codes()[self.rows_U[uses[starts]]].tolist()
        keys = self._keys.take(pa.array(self.rows_U[uses]))
        for file, code, start, count in zip(files.tolist(), codes, starts.tolist(), counts.tolist(), strict=True):
            yield file, SPLITS[code], tuple(dict.fromkeys(keys[start : start + count].to_pylist()))

    def items(self, clip: int) -> list[Item]:
        """The samples that use a clip."""
        rows = self.rows(range(clip, clip + 1)).tolist()
        file, modality = self.clip(clip), self.modality(self.files_C[clip])
        samples = ((self.samples[row], self.samples.group_id(row)) for row in rows)
        return [Item(sample.key, sample.split, modality, file, group_id) for sample, group_id in samples]

    def first_clips(self, modality: str) -> np.ndarray:
        """The clip (N,) that is the first value of every sample, -1 where it has none of this modality."""
        clips_N = np.full(len(self.samples), -1)
        if modality in self.modalities:
            is_of = self.is_first_U & (self.places_F[self.files_C] == self.modalities.index(modality))[self.clips_U]
            clips_N[self.rows_U[is_of]] = self.clips_U[is_of]
        return clips_N

    def stretches(self, modality: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of every use (V,) by a modality: the number of its stretch of a file, its sample and its clip.

        Names that lead to one file are one file.
        """
        is_of = (self.places_F[self.files_C] == self.modalities.index(modality))[self.clips_U]
        clips_V, rows_V = self.clips_U[is_of], self.rows_U[is_of]
        spans = (x[clips_V] for x in (self._starts_C, self._ends_C, self._clocks_C))
        return number_rows(self.identities_F[self.files_C[clips_V]], *spans)[0], rows_V, clips_V

    def rows_by_identity(self, known: Collection[str]) -> tuple[np.ndarray, np.ndarray]:
        """Of every use by other modalities than `known`: its sample, and the identity of its file."""
        is_new_F = np.array([m not in known for m in self.modalities], bool)[self.places_F]
        files_U = self.files_C[self.clips_U]
        is_new_U = is_new_F[files_U]
        return self.rows_U[is_new_U], self.identities_F[files_U[is_new_U]]


def _number_paths(paths: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """The number (U,) of every path, and the paths, in the form in which `Path` has them: `./a` is `a`."""
    numbers_U, first_P = number_strings(paths)
    distinct = paths.take(pa.array(first_P))
    is_other = pc.match_substring_regex(distinct, r"//|(^|/)\./|/\.?$")
    if not pc.any(is_other).as_py():
        return numbers_U, distinct
    plain = pa.array([str(Path(path)) for path in distinct.to_pylist()], pa.large_string())
    same_P, first_P = number_strings(plain)
    return same_P[numbers_U], plain.take(pa.array(first_P))


def _look_at_all(folder: Path, paths: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Whether there is such a file, bool (P,), and its identity, uint64 (P,): of a link, that of what it leads to."""
    chunks = [paths[start : start + CHUNK_FILES].to_pylist() for start in range(0, len(paths), CHUNK_FILES)]
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        looked_at = list(threads.map(partial(_look_at, folder), chunks))
    exists_P = np.array([exists for chunk in looked_at for exists, _ in chunk], bool)
    identities = FileIdentities(folder)
    identities_P = np.zeros(0, np.uint64)
    if len(paths):
        identities_P = identities.of(paths)[0]
    links = [(place, real) for place, (_, real) in enumerate(x for chunk in looked_at for x in chunk) if real]
    if links:
        places, real_paths = zip(*links, strict=True)
        identities_P[list(places)] = identities.of(pa.array(real_paths, pa.large_string()))[0]
    return exists_P, identities_P


def _look_at(folder: Path, paths: Sequence[str]) -> list[tuple[bool, str]]:
    """Of each path: whether there is such a file, and where it leads to if it is a link."""
    facts = []
    for path in map(folder.joinpath, paths):
        try:
            mode = os.lstat(path).st_mode
        except (OSError, ValueError):  # ValueError: a path with a zero byte
            facts.append((False, ""))
            continue
        is_link = stat.S_ISLNK(mode)
        facts.append((path.is_file() if is_link else stat.S_ISREG(mode), os.path.realpath(path) if is_link else ""))
    return facts
