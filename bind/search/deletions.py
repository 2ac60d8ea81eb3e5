"""Deletions of an index: which rows of its parts are gone, in one small file that is written anew with each change.

deleted/NAME   pairs (number of the part's name, row), int64, and behind them their CRC-32
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bind.files.checksums import TRAILER_BYTES, has_right_trailer, trailer_of
from bind.files.reading import reading, require_regular_file
from bind.files.writing import open_atomically
from bind.search.listing import Deleted, IndexPart

FOLDER = "deleted"
REMEDY = "Copy the index again"
NONE = np.zeros(0, np.int64)

Deletions = Mapping[str, np.ndarray]
"""Name of a part → its deleted rows, int64, ascending."""


def write_deletions(folder: Path, name: str, deletions: Deletions) -> Deleted:
    """Write all deletions of an index, and give what its listing says of them."""
    num_vectors = sum(map(len, deletions.values()))
    if not num_vectors:
        return Deleted()
    pairs = [np.stack([np.full(len(rows), int(part)), rows], axis=1) for part, rows in sorted(deletions.items())]
    content = np.concatenate(pairs).astype("<i8").tobytes()
    (folder / FOLDER).mkdir(exist_ok=True)
    with open_atomically(folder / FOLDER / name) as file:
        file.write(content + trailer_of(content))
    return Deleted(name, num_vectors)


def read_deletions(folder: Path, deleted: Deleted, parts: Sequence[IndexPart]) -> dict[str, np.ndarray]:
    """The deletions of an index.

    Raises:
        ValueError: naming the file, where it is damaged or names rows that there are not.
    """
    if not deleted.name:
        return {}
    path = folder / FOLDER / deleted.name
    with reading(path, "not readable as the deletions of an index", REMEDY):
        require_regular_file(path, REMEDY)
        if path.stat().st_size != 16 * deleted.num_vectors + TRAILER_BYTES:
            raise ValueError(f"{path}: has {path.stat().st_size} bytes, not those of {deleted.num_vectors} deletions")
        with path.open("rb") as file:
            if not has_right_trailer(file):
                raise ValueError(f"{path}: is not as it was written. {REMEDY}")
            file.seek(0)
            pairs = np.frombuffer(file.read(16 * deleted.num_vectors), "<i8").reshape(-1, 2)
        sizes = {int(part.name): part.num_vectors for part in parts}
        deletions = {}
        for number in np.unique(pairs[:, 0]).tolist():
            rows = np.unique(pairs[pairs[:, 0] == number, 1])
            if number not in sizes or rows[0] < 0 or rows[-1] >= sizes[number]:
                raise ValueError(f"{path}: names rows that no part has. {REMEDY}")
            deletions[str(number)] = rows
        if sum(map(len, deletions.values())) != deleted.num_vectors:
            raise ValueError(f"{path}: names a row twice. {REMEDY}")
    return deletions


def join_deletions(before: Deletions, more: Deletions) -> dict[str, np.ndarray]:
    """The deletions of both."""
    names = [*before, *(name for name in more if name not in before)]
    joined = {name: np.union1d(before.get(name, NONE), more.get(name, NONE)) for name in names}
    return {name: rows for name, rows in joined.items() if len(rows)}
