"""Files that both sides of an audit read: one file, or copies, where the stretches of two uses overlap in time."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bind.data.hashes import combine_hashes, distinct_hashes
from bind.data.leakage.file_uses import find_file_uses
from bind.data.leakage.leaks import Audit, Leak, SourceSplit
from bind.data.leakage.same_files import FileComparison
from bind.data.sources.sample_columns import file_hashes
from bind.data.sources.sample_table import SampleTable, join_arrays
from bind.data.sources.splits import OVERLAP_TOLERANCE_SECONDS
from bind.data.sources.table_facts import MAX_FILES
from bind.types import FactorSource, FileUses, Modality, Sample, StoredFile, StoredSource


@dataclass(frozen=True, slots=True)
class _FileUse:
    """The stretch of a stored file that a sample reads, in seconds; all of it is from 0 to infinity."""

    start: float
    end: float
    source: str
    key: str
    file: StoredFile

    @property
    def is_whole(self) -> bool:
        return self.start == 0 and self.end == math.inf


def compare_files(
    audit: Audit, evaluated: Sequence[SourceSplit], trained: Sequence[SourceSplit], max_bytes: float
) -> None:
    evaluated_uses = list(_uses(evaluated, audit))
    evaluated_files = _FileSet((uses, np.ones(len(uses.num_bytes_F), bool)) for _, uses in evaluated_uses)
    if not evaluated_files.num_files:
        return
    among = None if max_bytes == math.inf else _file_hashes_of(evaluated)
    hashes, candidates = [], []
    for part, uses in _uses(trained, audit, among):
        hashes.append(_hash_identities(uses))
        if (is_alike_F := evaluated_files.holds_alike(uses)).any():
            candidates.append((part, uses, is_alike_F))
    trained_files = _FileSet((uses, is_alike_F) for _, uses, is_alike_F in candidates)
    uses_of = _uses_by_file((part, uses, trained_files.holds_alike(uses)) for part, uses in evaluated_uses)
    trained_uses = _uses_by_file(candidates)
    evaluated_side, trained_side = ([same[0].file for same in side.values()] for side in (uses_of, trained_uses))
    comparison = FileComparison(evaluated_side, trained_side, max_bytes)
    for modality, (num_files, num_bytes) in comparison.left_out.items():
        audit.not_checked.append(
            f"copies of {num_files} files of {modality}: {num_bytes / 1e9:.1f} GB of equal size would have to be read"
        )
    for identity, identities in comparison.equal.items():
        stretches = _Stretches(use for copy in identities for use in trained_uses[copy])
        for use in uses_of[identity]:
            if other := stretches.overlapping(use):
                kind = "files" if use.is_whole and other.is_whole else "windows"
                shared = use.file.name + ("" if use.file.name == other.file.name else f" equals {other.file.name}")
                audit.add(kind, Leak(use.key, other.source, other.key, shared))
    num_trained = len(distinct_hashes(join_arrays(hashes, np.uint64)))
    audit.checked["files"] = (
        f"{evaluated_files.num_files} evaluated files against {num_trained}, and stretches of recordings"
    )


def _hash_identities(uses: FileUses) -> np.ndarray:
    return combine_hashes(*uses.identities_F2.astype(np.uint64).T)


class _FileSet:
    """Files of a side, of which columns are kept that tell whether another file may be, or equal, one of them.

    Args:
        files: uses, and which of their files are in the set, bool (F,).
    """

    def __init__(self, files: Iterable[tuple[FileUses, np.ndarray]]) -> None:
        columns = [(np.zeros(0, np.uint64), *(np.zeros(0, np.int64),) * 2)]
        columns += [
            (_hash_identities(uses)[mask_F], uses.num_bytes_F[mask_F], uses.checksums_F[mask_F])
            for uses, mask_F in files
        ]
        identities, num_bytes, checksums = (np.concatenate(column) for column in zip(*columns, strict=True))
        self.identities = distinct_hashes(identities)
        self.num_files = len(self.identities)
        self.sizes = np.unique(num_bytes)
        self.sizes_without_checksum = np.unique(num_bytes[checksums < 0])
        self.contents = distinct_hashes(_hash_contents(num_bytes, checksums))

    def holds_alike(self, uses: FileUses) -> np.ndarray:
        """Bool (F,): the files that may be, or equal, one of the set. Of one size, they differ where checksums do."""
        num_bytes_F, checksums_F = uses.num_bytes_F, uses.checksums_F
        is_alike_F: np.ndarray = np.isin(num_bytes_F, self.sizes)
        is_alike_F &= (
            (checksums_F < 0)
            | np.isin(num_bytes_F, self.sizes_without_checksum)
            | np.isin(_hash_contents(num_bytes_F, checksums_F), self.contents)
        )
        return is_alike_F | np.isin(_hash_identities(uses), self.identities)


def _hash_contents(num_bytes: np.ndarray, checksums: np.ndarray) -> np.ndarray:
    return combine_hashes(num_bytes.astype(np.uint64), checksums.astype(np.uint64))


def _uses_by_file(side: Iterable[tuple[SourceSplit, FileUses, np.ndarray]]) -> dict[Any, list[_FileUse]]:
    """Identity of a file → its uses, of those files that a mask, bool (F,), chooses."""
    of_files: dict[Any, list[_FileUse]] = defaultdict(list)
    for part, uses, mask_F in side:
        samples = part.samples
        files = {number: uses.file(number) for number in np.flatnonzero(mask_F).tolist()}
        for use in np.flatnonzero(mask_F[uses.files_U]).tolist():
            file = files[int(uses.files_U[use])]
            start, end = float(uses.start_seconds_U[use]), float(uses.end_seconds_U[use])
            of_files[file.identity].append(_FileUse(start, end, part.name, samples[int(uses.rows_U[use])].key, file))
    return of_files


class _Stretches:
    """Uses of files with one content, searched by time."""

    def __init__(self, uses: Iterable[_FileUse]) -> None:
        self.uses = sorted(uses, key=lambda use: use.start)
        self.starts = [use.start for use in self.uses]
        self.furthest: list[_FileUse] = []  # of the first stretches, the one that ends last
        for use in self.uses:
            last = self.furthest[-1] if self.furthest else use
            self.furthest.append(use if use.end > last.end else last)

    def overlapping(self, use: _FileUse) -> _FileUse | None:
        """One that shares more with `use` than a point in time."""
        before = bisect_left(self.starts, use.end - OVERLAP_TOLERANCE_SECONDS)
        if before and self.furthest[before - 1].end > use.start + OVERLAP_TOLERANCE_SECONDS:
            return self.furthest[before - 1]
        return None


def _file_hashes_of(parts: Sequence[SourceSplit]) -> np.ndarray:
    """The `FileIdentities` of all files that the parts read."""
    hashes = [file_hashes(part.source.samples(part.split), m)[1] for part in parts for m in part.modalities]
    return distinct_hashes(join_arrays(hashes, np.uint64))


def _uses(
    parts: Sequence[SourceSplit], audit: Audit, among: np.ndarray | None = None
) -> Iterator[tuple[SourceSplit, FileUses]]:
    """The uses of files by each part. A generated or streamed source has none, which the audit notes.

    Of a table with very many files only those `among` these, by their paths, where that is given; the audit notes it.
    """
    for part in parts:
        samples, among_files = part.samples, None
        if not isinstance(part.source, StoredSource):
            if not _has_values(samples, part.modalities):
                reason = "it is generated" if isinstance(part.source, FactorSource) else "it is not stored as files"
                note = f"files of {part.name}: {reason}"
                if note not in audit.not_checked:
                    audit.not_checked.append(note)
                continue
            if isinstance(samples, SampleTable) and among is not None:
                num_files = sum(samples.count_values(m) for m in part.modalities if m != "text")
                if num_files > MAX_FILES:
                    among_files = among
                    audit.not_checked.append(
                        f"copies of {num_files} files of {part.name}: so many are compared by their paths only; "
                        "bindspace leakage compares all"
                    )
        for uses in find_file_uses(part.source, part.split, part.modalities, among_files):
            yield part, uses


def _has_values(samples: Sequence[Sample], modalities: Sequence[Modality]) -> bool:
    if isinstance(samples, SampleTable):
        return any(map(samples.count_values, modalities))
    return any(sample.values.get(m) for sample in samples for m in modalities)
