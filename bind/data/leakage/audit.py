"""Audit of leakage: what an evaluated split shares with training data, by owners, files, stretches and combinations."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bind.data.hashes import distinct_hashes, hash_strings
from bind.data.leakage.same_files import FileComparison, file_on_disk
from bind.data.sources.sample_table import SampleTable, file_hashes, join_arrays, owner_hashes
from bind.data.sources.splits import OVERLAP_TOLERANCE_SECONDS
from bind.data.sources.table_facts import MAX_FILES
from bind.types import Clip, FactorSource, Modality, Sample, Source, StoredFile, StoredSource

NUM_NAMED = 3
LEAK_KINDS = {
    "owners": "of an owner that was trained on",
    "files": "with a file that was trained on, or a copy of it",
    "windows": "with a stretch of a recording that was trained on",
    "combinations": "of a combination that was trained on",
    "near": "nearly the same as a picture that was trained on",
}


@dataclass(frozen=True, slots=True)
class SourceSplit:
    """One split of one source on one side of an audit, and the modalities that are read of its samples."""

    name: str
    source: Source
    split: str
    modalities: tuple[Modality, ...]


@dataclass(frozen=True, slots=True)
class Leak:
    """An evaluated sample, the sample of `source` that was trained on, and what they share."""

    key: str
    source: str
    trained_key: str
    shared: str


@dataclass
class Audit:
    """The leaks between the evaluated samples and the training samples, and what was compared.

    Attributes:
        num_samples: evaluated ones.
        trained_on: sources, with their runs where these are earlier ones.
        leaks: kind → key of an evaluated sample → its first leak.
        checked: kind → what was compared.
        not_checked: what was not, and why.
        notes: what is worth knowing and no leakage.
    """

    num_samples: int
    trained_on: list[str]
    leaks: dict[str, dict[str, Leak]] = field(default_factory=lambda: defaultdict(dict))
    checked: dict[str, str] = field(default_factory=dict)
    not_checked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, leak: Leak) -> None:
        """Keep the leak, unless its sample has one of this kind."""
        self.leaks[kind].setdefault(leak.key, leak)

    @property
    def leaked(self) -> set[str]:
        """The keys of all samples with any leak."""
        return {key for leaks in self.leaks.values() for key in leaks}

    def figures(self) -> dict[str, Any]:
        """The entry `leakage` of `metrics.json`, in plain values."""
        leaks_by_kind = {kind: self.leaks[kind] for kind in LEAK_KINDS if self.leaks.get(kind)}
        return {
            "samples": self.num_samples,
            "leaked": len(self.leaked),
            "share": len(self.leaked) / self.num_samples,
            "kinds": {
                kind: {
                    "samples": len(leaks),
                    "share": len(leaks) / self.num_samples,
                    "first": [
                        {"key": x.key, "trained_key": x.trained_key, "source": x.source, "shared": x.shared}
                        for x in list(leaks.values())[:NUM_NAMED]
                    ],
                }
                for kind, leaks in leaks_by_kind.items()
            },
            "trained_on": self.trained_on,
            "checked": self.checked,
            "not_checked": self.not_checked,
            "notes": self.notes,
        }


def exact_audit(evaluated: Sequence[SourceSplit], trained: Sequence[SourceSplit], max_bytes: float = math.inf) -> Audit:
    """Compare owners, captions, generated combinations and files of both sides; nothing is decoded.

    Two uses of one file, or of files with equal bytes, are leakage where their stretches overlap: `windows` where at
    least one of them is cut out, else `files`.

    Args:
        evaluated: all parts of the evaluated split.
        trained: everything trained on.
        max_bytes: what may be read at most to compare files of equal size.

    Examples:
        >>> from bind.data.sources.toy.world import ToySource
        >>> toy = ToySource(num_train=8, num_test_queries=1)
        >>> train, test = (SourceSplit("toy", toy, split, toy.modalities()) for split in ("train", "test"))
        >>> audit = exact_audit([test], [train])
        >>> audit.num_samples, audit.leaked, audit.not_checked
        (230, set(), ['files of toy: it is generated'])
    """
    audit = Audit(sum(len(part.source.samples(part.split)) for part in evaluated), [part.name for part in trained])
    _compare_owners(audit, evaluated, trained)
    _compare_captions(audit, evaluated, trained)
    _compare_combinations(audit, evaluated, trained)
    _compare_files(audit, evaluated, trained, max_bytes)
    return audit


def _compare_owners(audit: Audit, evaluated: Sequence[SourceSplit], trained: Sequence[SourceSplit]) -> None:
    evaluated_hashes = [owner_hashes(part.source.samples(part.split))[1] for part in evaluated]
    trained_hashes = [owner_hashes(part.source.samples(part.split)) for part in trained]
    num_trained = len(distinct_hashes(join_arrays([hashes for _, hashes in trained_hashes], np.uint64)))
    # Of what was trained on only the samples whose owners may be those of evaluated ones are looked at one by one.
    among = join_arrays(evaluated_hashes, np.uint64)
    trained_owners: dict[str, tuple[str, str]] = {}  # owner → source and key of its first sample
    for part, (places, hashes) in zip(trained, trained_hashes, strict=True):
        samples = part.source.samples(part.split)
        for sample in (samples[i] for i in np.unique(places[np.isin(hashes, among)]).tolist()):
            for owner in sample.owners:
                trained_owners.setdefault(owner, (part.name, sample.key))
    owned = [sample for _, sample in _samples(evaluated) if sample.owners]
    for sample in owned:
        for owner in sample.owners:
            if owner in trained_owners:
                audit.add("owners", Leak(sample.key, *trained_owners[owner], f"owner {owner!r}"))
    if owned and num_trained:
        numbers = f"{len(owned)} evaluated samples against {num_trained}"
        audit.checked["owners"] = f"those of {numbers} that were trained on"
    if len(owned) < audit.num_samples:
        audit.not_checked.append(f"owners: {audit.num_samples - len(owned)} evaluated samples name none")
    if owned and not num_trained:
        audit.not_checked.append("owners: what was trained on names none")


def _compare_captions(audit: Audit, evaluated: Sequence[SourceSplit], trained: Sequence[SourceSplit]) -> None:
    evaluated_hashes = [hashes for part in evaluated for hashes, _ in _hashed_captions(part)]
    among = distinct_hashes(join_arrays(evaluated_hashes, np.uint64))
    trained_captions: set[str] = set()
    for part in trained:
        for hashes, texts in _hashed_captions(part):
            trained_captions.update(texts.filter(pa.array(np.isin(hashes, among))).to_pylist())
    num_shared = sum(any(text in trained_captions for text in s.values.get("text", ())) for _, s in _samples(evaluated))
    if num_shared:
        audit.notes.append(
            f"captions: {num_shared} evaluated samples have one that was trained on too, which is no leakage by itself"
        )


def _hashed_captions(part: SourceSplit) -> Iterator[tuple[np.ndarray, Any]]:
    """The captions of a part that are in memory, as Arrow arrays, each with the hashes of its captions."""
    samples = part.source.samples(part.split)
    if isinstance(samples, SampleTable):
        for _, texts in samples.flat_values("text") if "text" not in samples.vectors else ():
            yield hash_strings(texts), texts
        return
    values = (text for sample in samples for text in sample.values.get("text", ()))
    texts = pa.array([text for text in values if isinstance(text, str)], pa.string())
    yield hash_strings(texts), texts


def _samples(parts: Sequence[SourceSplit]) -> Iterator[tuple[SourceSplit, Sample]]:
    return ((part, sample) for part in parts for sample in part.source.samples(part.split))


def _compare_combinations(audit: Audit, evaluated: Sequence[SourceSplit], trained: Sequence[SourceSplit]) -> None:
    trained_combinations: dict[tuple[Any, ...], tuple[str, str]] = {}  # → source and key of its first sample
    for part, combination, key in _combinations(trained):
        trained_combinations.setdefault(combination, (part.name, key))
    num_compared = 0
    for _, combination, key in _combinations(evaluated):
        num_compared += 1
        if combination in trained_combinations:
            shared = f"combination {combination[1:]}"
            audit.add("combinations", Leak(key, *trained_combinations[combination], shared))
    if num_compared and trained_combinations:
        numbers = f"{num_compared} evaluated samples against {len(trained_combinations)}"
        audit.checked["combinations"] = f"generated: those of {numbers}"


def _combinations(parts: Sequence[SourceSplit]) -> Iterator[tuple[SourceSplit, tuple[Any, ...], str]]:
    """The factors of the samples of generated sources, each behind the names of the factors."""
    for part in parts:
        if isinstance(part.source, FactorSource):
            rows = part.source.factor_table(part.split).tolist()
            for row, sample in zip(rows, part.source.samples(part.split), strict=True):
                yield part, (part.source.factor_names, *row), sample.key


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


def _compare_files(
    audit: Audit, evaluated: Sequence[SourceSplit], trained: Sequence[SourceSplit], max_bytes: float
) -> None:
    uses: dict[Any, list[_FileUse]] = defaultdict(list)
    for use in _uses(evaluated, audit):
        uses[use.file.identity].append(use)
    if not uses:
        return
    sizes = {uses_of_file[0].file.num_bytes for uses_of_file in uses.values()}
    trained_uses: dict[Any, list[_FileUse]] = defaultdict(list)
    trained_files = set()
    among = None if max_bytes == math.inf else _file_hashes_of(evaluated)
    for use in _uses(trained, audit, among):
        trained_files.add(use.file.identity)
        if use.file.identity in uses or use.file.num_bytes in sizes:
            trained_uses[use.file.identity].append(use)
    evaluated_side, trained_side = ([same[0].file for same in side.values()] for side in (uses, trained_uses))
    comparison = FileComparison(evaluated_side, trained_side, max_bytes)
    for modality, (num_files, num_bytes) in comparison.left_out.items():
        audit.not_checked.append(
            f"copies of {num_files} files of {modality}: {num_bytes / 1e9:.1f} GB of equal size would have to be read"
        )
    for identity, identities in comparison.equal.items():
        stretches = _Stretches(use for copy in identities for use in trained_uses[copy])
        for use in uses[identity]:
            if other := stretches.overlapping(use):
                kind = "files" if use.is_whole and other.is_whole else "windows"
                shared = use.file.name + ("" if use.file.name == other.file.name else f" equals {other.file.name}")
                audit.add(kind, Leak(use.key, other.source, other.key, shared))
    audit.checked["files"] = f"{len(uses)} evaluated files against {len(trained_files)}, and stretches of recordings"


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


def _uses(parts: Sequence[SourceSplit], audit: Audit, among: np.ndarray | None = None) -> Iterator[_FileUse]:
    """Every stored file that a part reads. A generated or streamed source has none, which the audit notes.

    Of a table with very many files only those `among` these, by their paths, where that is given; the audit notes it.
    """
    files: dict[Path, StoredFile] = {}
    for part in parts:
        samples = part.source.samples(part.split)
        if isinstance(part.source, StoredSource):
            for row, file, start, end in part.source.stored(part.split, part.modalities):
                yield _FileUse(start or 0.0, math.inf if end is None else end, part.name, samples[row].key, file)
            continue
        if isinstance(samples, SampleTable) and among is not None:
            num_files = sum(samples.count_values(m) for m in part.modalities if m != "text")
            if num_files > MAX_FILES:
                found = [file_hashes(samples, m) for m in part.modalities]
                places = [rows[np.isin(hashes, among)] for rows, hashes in found]
                samples = [samples[i] for i in np.unique(join_arrays(places, np.int64)).tolist()]
                audit.not_checked.append(
                    f"copies of {num_files} files of {part.name}: so many are compared by their paths only; "
                    "bindspace leakage compares all"
                )
                if not samples:
                    continue
        if not any(sample.values.get(m) for sample in samples for m in part.modalities):
            reason = "it is generated" if isinstance(part.source, FactorSource) else "it is not stored as files"
            note = f"files of {part.name}: {reason}"
            if note not in audit.not_checked:
                audit.not_checked.append(note)
            continue
        for sample in samples:
            for modality in part.modalities:
                for value in sample.values.get(modality, ()):
                    if isinstance(value, Clip) and isinstance(value.path, Path):
                        if value.path not in files:
                            files[value.path] = file_on_disk(value.path, modality)
                        end = math.inf if value.end_seconds is None else value.end_seconds
                        yield _FileUse(value.start_seconds or 0.0, end, part.name, sample.key, files[value.path])
