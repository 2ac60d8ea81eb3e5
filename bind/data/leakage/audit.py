"""What an evaluated split shares with what was trained on: owners, files, stretches of files, made combinations."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bind.data.leakage.same_files import Comparison, StoredFile, on_disk
from bind.data.sources.splits import OVERLAP_TOLERANCE_SECONDS
from bind.types import Clip, Modality, Sample, Source

NUM_NAMED = 3
KINDS = {
    "owners": "of an owner that was trained on",
    "files": "with a file that was trained on, or a copy of it",
    "windows": "with a stretch of a recording that was trained on",
    "combinations": "of a combination that was trained on",
    "near": "nearly the same as a picture that was trained on",
}


@dataclass(frozen=True, slots=True)
class Part:
    """The samples of one source and split on one side of an audit, and the modalities that are read of them."""

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
    """What was found between the evaluated samples and the training samples.

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
        self.leaks[kind].setdefault(leak.key, leak)

    @property
    def leaked(self) -> set[str]:
        """The keys of all samples with any leak."""
        return {key for leaks in self.leaks.values() for key in leaks}

    def figures(self) -> dict[str, Any]:
        """`leakage` of `metrics.json`, plain values."""
        found = {kind: self.leaks[kind] for kind in KINDS if self.leaks.get(kind)}
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
                for kind, leaks in found.items()
            },
            "trained_on": self.trained_on,
            "checked": self.checked,
            "not_checked": self.not_checked,
            "notes": self.notes,
        }


def exact_audit(evaluated: Sequence[Part], trained: Sequence[Part], max_bytes: float = math.inf) -> Audit:
    """Owners, captions, made combinations and files of both sides, compared; nothing is decoded.

    Two uses of one file, or of files with equal bytes, are leakage where their stretches overlap: `windows` where at
    least one of them is cut out, else `files`.

    Args:
        evaluated: all parts of the evaluated split.
        trained: everything trained on.
        max_bytes: what may be read at most to compare files of equal size.
    """
    audit = Audit(sum(len(part.source.samples(part.split)) for part in evaluated), [part.name for part in trained])
    _compare_owners(audit, evaluated, trained)
    _compare_captions(audit, evaluated, trained)
    _compare_combinations(audit, evaluated, trained)
    _compare_files(audit, evaluated, trained, max_bytes)
    return audit


def _compare_owners(audit: Audit, evaluated: Sequence[Part], trained: Sequence[Part]) -> None:
    first: dict[str, tuple[str, str]] = {}
    for part, sample in _samples(trained):
        for owner in sample.owners:
            first.setdefault(owner, (part.name, sample.key))
    owned = [sample for _, sample in _samples(evaluated) if sample.owners]
    for sample in owned:
        for owner in sample.owners:
            if owner in first:
                audit.add("owners", Leak(sample.key, *first[owner], f"owner {owner!r}"))
    if owned and first:
        audit.checked["owners"] = f"those of {len(owned)} evaluated samples against {len(first)} that were trained on"
    if len(owned) < audit.num_samples:
        audit.not_checked.append(f"owners: {audit.num_samples - len(owned)} evaluated samples name none")
    if owned and not first:
        audit.not_checked.append("owners: what was trained on names none")


def _compare_captions(audit: Audit, evaluated: Sequence[Part], trained: Sequence[Part]) -> None:
    seen = {text for _, sample in _samples(trained) for text in sample.values.get("text", ())}
    shared = sum(any(text in seen for text in s.values.get("text", ())) for _, s in _samples(evaluated))
    if shared:
        audit.notes.append(
            f"captions: {shared} evaluated samples have one that was trained on too, which is no leakage by itself"
        )


def _samples(parts: Sequence[Part]) -> Iterator[tuple[Part, Sample]]:
    return ((part, sample) for part in parts for sample in part.source.samples(part.split))


def _compare_combinations(audit: Audit, evaluated: Sequence[Part], trained: Sequence[Part]) -> None:
    made = [[part for part in parts if hasattr(part.source, "factor_table")] for parts in (evaluated, trained)]
    first: dict[tuple[Any, ...], tuple[str, str]] = {}
    for part, combination, key in _combinations(made[1]):
        first.setdefault(combination, (part.name, key))
    num = 0
    for _, combination, key in _combinations(made[0]):
        num += 1
        if combination in first:
            audit.add("combinations", Leak(key, *first[combination], f"combination {combination[1:]}"))
    if num and first:
        audit.checked["combinations"] = f"generated: those of {num} evaluated samples against {len(first)}"


def _combinations(parts: Sequence[Part]) -> Iterator[tuple[Part, tuple[Any, ...], str]]:
    """The factors of samples of a made world, with what the factors are called."""
    for part in parts:
        world: Any = part.source
        rows = world.factor_table(part.split).tolist()
        for row, sample in zip(rows, part.source.samples(part.split), strict=True):
            yield part, (world.factor_names, *row), sample.key


@dataclass(frozen=True, slots=True)
class _Use:
    """The stretch of a stored file that a sample reads, in seconds."""

    start: float
    end: float
    part: str
    key: str
    file: StoredFile

    @property
    def is_whole(self) -> bool:
        return self.start == 0 and self.end == math.inf


def _compare_files(audit: Audit, evaluated: Sequence[Part], trained: Sequence[Part], max_bytes: float) -> None:
    uses: dict[Any, list[_Use]] = defaultdict(list)
    for use in _uses(evaluated, audit):
        uses[use.file.identity].append(use)
    if not uses:
        return
    sizes = {found[0].file.num_bytes for found in uses.values()}
    others: dict[Any, list[_Use]] = defaultdict(list)
    num_trained = set()
    for use in _uses(trained, audit):
        num_trained.add(use.file.identity)
        if use.file.identity in uses or use.file.num_bytes in sizes:
            others[use.file.identity].append(use)
    one_side, other_side = ([found[0].file for found in side.values()] for side in (uses, others))
    compared = Comparison(one_side, other_side, max_bytes)
    for modality, (num_files, num_bytes) in compared.left_out.items():
        audit.not_checked.append(
            f"copies of {num_files} files of {modality}: {num_bytes / 1e9:.1f} GB of equal size would have to be read"
        )
    for identity, identities in compared.same.items():
        seen = _Stretches(use for copy in identities for use in others[copy])
        for use in uses[identity]:
            if other := seen.overlapping(use):
                kind = "files" if use.is_whole and other.is_whole else "windows"
                said = str(use.file.name) + ("" if use.file.name == other.file.name else f" equals {other.file.name}")
                audit.add(kind, Leak(use.key, other.part, other.key, said))
    audit.checked["files"] = f"{len(uses)} evaluated files against {len(num_trained)}, and stretches of recordings"


class _Stretches:
    """Stretches of one content, searched by time."""

    def __init__(self, uses: Iterable[_Use]) -> None:
        self.uses = sorted(uses, key=lambda use: use.start)
        self.starts = [use.start for use in self.uses]
        self.furthest: list[_Use] = []  # of the first stretches, the one that ends last
        for use in self.uses:
            last = self.furthest[-1] if self.furthest else use
            self.furthest.append(use if use.end > last.end else last)

    def overlapping(self, use: _Use) -> _Use | None:
        """One that shares more with `use` than a point in time."""
        before = bisect_left(self.starts, use.end - OVERLAP_TOLERANCE_SECONDS)
        if before and self.furthest[before - 1].end > use.start + OVERLAP_TOLERANCE_SECONDS:
            return self.furthest[before - 1]
        return None


def _uses(parts: Sequence[Part], audit: Audit) -> Iterator[_Use]:
    """Every stored file that a part reads. What a source makes or streams has none, and is noted as not compared."""
    known: dict[Path, StoredFile] = {}
    for part in parts:
        samples = part.source.samples(part.split)
        if hasattr(part.source, "stored"):
            for row, file, start, end in part.source.stored(part.split, part.modalities):
                yield _Use(start or 0.0, math.inf if end is None else end, part.name, samples[row].key, file)
            continue
        if not any(sample.values.get(m) for sample in samples for m in part.modalities):
            why = "it is generated" if hasattr(part.source, "factor_table") else "it is not stored as files"
            note = f"files of {part.name}: {why}"
            if note not in audit.not_checked:
                audit.not_checked.append(note)
            continue
        for sample in samples:
            for modality in part.modalities:
                for value in sample.values.get(modality, ()):
                    if isinstance(value, Clip) and isinstance(value.path, Path):
                        if value.path not in known:
                            known[value.path] = on_disk(value.path, modality)
                        end = math.inf if value.end_seconds is None else value.end_seconds
                        yield _Use(value.start_seconds or 0.0, end, part.name, sample.key, known[value.path])
