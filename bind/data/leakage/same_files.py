"""Which stored files have equal bytes, with as little reading as tells: sizes, then 4 kB of each, then all of it."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bind.types import Modality

PROBE_BYTES = 4096
CHUNK_BYTES = 2**22


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file on disk or inside a shard: `read(start, stop)` gives these bytes; equal `identity` is one and the same."""

    name: str
    identity: Hashable
    num_bytes: int
    modality: Modality
    read: Callable[[int, int], bytes]


Group = tuple[list[StoredFile], list[StoredFile]]
"""Files of either side that are equal as far as is known."""


def on_disk(path: Path, modality: Modality) -> StoredFile:
    """A file by its device and inode, so that links count as what they lead to; ValueError where it is gone."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; restore it or drop its row") from error
    return StoredFile(str(path), (found.st_dev, found.st_ino), found.st_size, modality, partial(_read, path))


def _read(path: Path, start: int, stop: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(stop - start)


class Comparison:
    """Which files of one side are, or equal, which of the other; each identity occurs once on a side.

    The cheapest comparisons come first, and those that would read more than `max_bytes` in all are left out.

    Attributes:
        same: identity → identities on the other side with the same content, its own among them.
        left_out: modality → files of the first side that were not compared with all of their size, and the bytes that
            this would take.
    """

    def __init__(self, one: Sequence[StoredFile], other: Sequence[StoredFile], max_bytes: float) -> None:
        self.same: dict[Hashable, list[Hashable]] = defaultdict(list)
        self.left_out: dict[Modality, tuple[int, int]] = {}
        self._left = max_bytes
        there = {file.identity for file in other}
        for file in one:
            if file.identity in there:
                self.same[file.identity].append(file.identity)
        probed = []
        for group in self._affordable(groups_by((one, other), lambda file: file.num_bytes), PROBE_BYTES):
            probed += groups_by(group, probe)
        for group in self._affordable(probed, None):
            for ours, theirs in groups_by(group, digest):
                for file in ours:
                    self.same[file.identity] += [f.identity for f in theirs if f.identity != file.identity]

    def _affordable(self, groups: Iterable[Group], most_per_file: int | None) -> Iterator[Group]:
        costs = []
        for ours, theirs in groups:
            sizes = {file.identity: file.num_bytes for file in (*ours, *theirs)}
            if len(sizes) > 1 and ours[0].num_bytes:  # empty files equal nothing
                cost = sum(min(size, most_per_file or size) for size in sizes.values())
                costs.append((cost, sum(sizes.values()), (ours, theirs)))
        for cost, whole, group in sorted(costs, key=lambda each: each[0]):
            if cost <= self._left:
                self._left -= cost
                yield group
            else:
                modality = group[0][0].modality
                num_files, num_bytes = self.left_out.get(modality, (0, 0))
                self.left_out[modality] = num_files + len(group[0]), num_bytes + whole


def groups_by(sides: Group | tuple[Sequence[StoredFile], Sequence[StoredFile]], key: Callable) -> list[Group]:
    """The files of both sides by `key`, where both sides have some."""
    found: dict[Hashable, Group] = defaultdict(lambda: ([], []))
    for side, files in enumerate(sides):
        for file in files:
            found[key(file)][side].append(file)
    return [group for group in found.values() if all(group)]


def probe(file: StoredFile) -> bytes:
    """4 kB from the middle, where headers and leading silence are over."""
    start = max(0, (file.num_bytes - PROBE_BYTES) // 2)
    return file.read(start, min(file.num_bytes, start + PROBE_BYTES))


def digest(file: StoredFile) -> bytes:
    """A hash of all of it."""
    made = hashlib.blake2b(digest_size=16)
    for start in range(0, file.num_bytes, CHUNK_BYTES):
        made.update(file.read(start, min(file.num_bytes, start + CHUNK_BYTES)))
    return made.digest()
