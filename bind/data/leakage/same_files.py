"""Comparison of stored files by their bytes, with little reading: sizes, then 4 kB of each, then all of it."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from bind.types import Modality, StoredFile

PROBE_BYTES = 4096
CHUNK_BYTES = 2**22


FileGroup = tuple[list[StoredFile], list[StoredFile]]
"""Files of either side that are equal as far as is known."""


def file_on_disk(path: Path, modality: Modality) -> StoredFile:
    """A file by its device and inode, so that links count as what they lead to; ValueError where it is gone."""
    try:
        stat = os.stat(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; restore it or drop its row") from error
    return StoredFile(str(path), (stat.st_dev, stat.st_ino), stat.st_size, modality, partial(_read, path))


def _read(path: Path, start: int, stop: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(stop - start)


def equal_files(files: Iterable[StoredFile]) -> dict[Hashable, Hashable]:
    """Identity of each file → identity of the first file with the same content, which is its own where no other has it.

    Only files of one size (and one checksum, where those are known) are read: 4 kB of each, then what is still equal.
    A `.npy` counts with the JSON beside it.
    """
    files = list(files)
    first = {file.identity: file.identity for file in files}
    for group in _several(files, lambda file: (file.num_bytes, file.checksum)):
        for probed in [group] if group[0].checksum is not None else _several(group, _read_probe):
            for copies in _several(probed, lambda file: (_hash_content(file), _sidecar(file))):
                first |= dict.fromkeys((file.identity for file in copies), copies[0].identity)
    return first


def _several(files: Iterable[StoredFile], key: Callable[[StoredFile], Hashable]) -> list[list[StoredFile]]:
    """The files by `key`, where several have one."""
    groups: dict[Hashable, list[StoredFile]] = defaultdict(list)
    for file in files:
        groups[key(file)].append(file)
    return [group for group in groups.values() if len(group) > 1]


def _sidecar(file: StoredFile) -> bytes:
    path = Path(file.name).with_suffix(".json")
    return path.read_bytes() if file.name.lower().endswith(".npy") and path.is_file() else b""


class FileComparison:
    """The files of one side that are, or equal, some of the other; each identity occurs once on a side.

    The cheapest comparisons come first, and those that would read more than `max_bytes` in all are left out.

    Attributes:
        equal: identity → identities on the other side with the same content, its own among them.
        left_out: modality → files of the first side that were not compared with all of their size, and the bytes that
            this would take.
    """

    def __init__(self, one: Sequence[StoredFile], other: Sequence[StoredFile], max_bytes: float) -> None:
        self.equal: dict[Hashable, list[Hashable]] = defaultdict(list)
        self.left_out: dict[Modality, tuple[int, int]] = {}
        self._bytes_left = max_bytes
        other_identities = {file.identity for file in other}
        for file in one:
            if file.identity in other_identities:
                self.equal[file.identity].append(file.identity)
        equal_probes = []
        for group in self._affordable(_group_by((one, other), lambda file: file.num_bytes), PROBE_BYTES):
            equal_probes += _group_by(group, _read_probe)
        for group in self._affordable(equal_probes, None):
            for files, copies in _group_by(group, _hash_content):
                for file in files:
                    self.equal[file.identity] += [f.identity for f in copies if f.identity != file.identity]

    def _affordable(self, groups: Iterable[FileGroup], max_bytes_per_file: int | None) -> Iterator[FileGroup]:
        """The groups that may still be read, cheapest first; the others are noted as left out."""
        costs = []
        for group in groups:
            sizes = {file.identity: file.num_bytes for files in group for file in files}
            if len(sizes) > 1 and group[0][0].num_bytes:  # empty files equal nothing
                cost = sum(min(size, max_bytes_per_file or size) for size in sizes.values())
                costs.append((cost, sum(sizes.values()), group))
        for cost, total_bytes, group in sorted(costs, key=lambda costed: costed[0]):
            if cost <= self._bytes_left:
                self._bytes_left -= cost
                yield group
            else:
                modality = group[0][0].modality
                num_files, num_bytes = self.left_out.get(modality, (0, 0))
                self.left_out[modality] = num_files + len(group[0]), num_bytes + total_bytes


def _group_by(
    sides: FileGroup | tuple[Sequence[StoredFile], Sequence[StoredFile]], key: Callable[[StoredFile], Hashable]
) -> list[FileGroup]:
    """The files of both sides by `key`, where both sides have some."""
    groups: dict[Hashable, FileGroup] = defaultdict(lambda: ([], []))
    for side, files in enumerate(sides):
        for file in files:
            groups[key(file)][side].append(file)
    return [group for group in groups.values() if all(group)]


def _read_probe(file: StoredFile) -> bytes:
    """4 kB from the middle, where headers and leading silence are over."""
    start = max(0, (file.num_bytes - PROBE_BYTES) // 2)
    return file.read(start, min(file.num_bytes, start + PROBE_BYTES))


def _hash_content(file: StoredFile) -> bytes:
    """A hash of all of it."""
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, file.num_bytes, CHUNK_BYTES):
        digest.update(file.read(start, min(file.num_bytes, start + CHUNK_BYTES)))
    return digest.digest()
