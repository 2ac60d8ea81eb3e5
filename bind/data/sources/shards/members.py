"""Members of all shards, by their samples, and the fewest reads that fetch some of them."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bind.data.sources.decoded import MappedColumns
from bind.data.sources.shards.names import Suffix, escape, parse_suffix
from bind.data.sources.shards.remote import in_parallel, is_remote, read_range, shown
from bind.types import Modality

# Bytes read and thrown away where that saves a read: over a network 1 MiB takes about as long as a request.
LOCAL_GAP_BYTES, REMOTE_GAP_BYTES = 2**14, 2**20
MAX_READ_BYTES = 2**24

MemberPlace = tuple[int, int]
"""Row of the sample, and number of the member among those of the sample."""


@dataclass
class _Stretch:
    """A part of one shard that is read at once, and the members in it: place, first and last + 1 byte, checksum."""

    shard: int
    start: int
    stop: int
    members: list[tuple[MemberPlace, int, int, int]] = field(default_factory=list)


class Members:
    """Members of samples, of which the columns hold a row each.

    Args:
        shards: path or URL of each tar.
        columns: of `open_indices`.
        extensions: suffix → modality where the name of a member has none.

    Attributes:
        suffix_texts: what follows the keys.
        suffixes: the same, parsed; None where it is of no known modality.
        kinds: of each kind of samples the suffixes of its members, as places in `suffixes`, (num_members,) int64.
    """

    def __init__(self, shards: Sequence[str], columns: MappedColumns, extensions: Mapping[str, Modality]) -> None:
        self.shards = list(shards)
        self.columns = columns
        self.num_bytes: list[int] = columns.files["num_bytes"].to_pylist()
        self._stops: list[int] = columns.files["stop"].to_pylist()
        self.suffix_texts: list[str] = columns.facts["suffixes"]
        self.suffixes: list[Suffix | None] = [parse_suffix(text, extensions) for text in self.suffix_texts]
        self.kinds = [np.array(kind, np.int64) for kind in columns.facts["kinds"]]
        self.shown = [shown(shard) for shard in shards]

    def shard_of(self, row: int) -> int:
        """The shard that a sample is in."""
        return bisect_right(self._stops, row)

    def shards_of(self, rows: np.ndarray) -> np.ndarray:
        """The shard (n,) that each sample is in."""
        return np.searchsorted(self._stops, rows, side="right")

    def cell(self, row: int, name: str) -> Any:
        """A cell of the columns."""
        number = bisect_right(self.columns.starts, row) - 1
        return self.columns.batch(number).column(name)[row - self.columns.starts[number]].as_py()

    def of(self, row: int, modalities: Sequence[Modality]) -> dict[int, Suffix]:
        """The members of a row that belong to `modalities`, by their numbers."""
        parsed = [self.suffixes[i] for i in self.kinds[self.cell(row, "kind")].tolist()]
        return {n: suffix for n, suffix in enumerate(parsed) if suffix is not None and suffix.modality in modalities}

    def places(self, row: int) -> list[dict[str, int]]:
        """`offset`, `size` and `crc32` of every member of a row."""
        places: list[dict[str, int]] = self.cell(row, "members")
        return places

    def spans(self, row: int) -> dict[int, tuple[float | None, float | None]]:
        """Start and end in seconds of the parts of recordings that belong to a sample, of the members that are cut."""
        return spans_of(self.cell(row, "spans")) if self.columns.facts["has_spans"] else {}

    def names(self, row: int, numbers: Iterable[int]) -> list[str]:
        """Shard and member of members of one row, for messages."""
        sample = f"{self.shown[self.shard_of(row)]}: {escape(self.cell(row, 'key'))}"
        suffix_ids = self.kinds[self.cell(row, "kind")]
        return [f"{sample}.{self.suffix_texts[suffix_ids[number]]}" for number in numbers]

    def read(self, members: Iterable[MemberPlace]) -> dict[MemberPlace, bytes]:
        """The contents of some members; those that lie close together come in one read, reads of a network at once.

        Raises:
            ValueError: naming shard and member, where one can't be read or is not what its index says.
        """
        stretches = self._stretches(members)
        if any(is_remote(self.shards[stretch.shard]) for stretch in stretches):
            contents = in_parallel(self._read_stretch, stretches)
        else:
            contents = [self._read_stretch(stretch) for stretch in stretches]
        return {member: content for of_stretch in contents for member, content in of_stretch.items()}

    def _stretches(self, members: Iterable[MemberPlace]) -> list[_Stretch]:
        """The reads that hold these members; members with small gaps between them share one."""
        numbers_of_row: dict[int, set[int]] = {}
        for row, number in members:
            numbers_of_row.setdefault(row, set()).add(number)
        chosen = []
        for row, numbers in numbers_of_row.items():
            shard, places = self.shard_of(row), self.places(row)
            for number in numbers:
                start = places[number]["offset"]
                chosen.append((shard, start, start + places[number]["size"], (row, number), places[number]["crc32"]))
        stretches: list[_Stretch] = []
        for shard, start, stop, member, crc32 in sorted(chosen):
            last = stretches[-1] if stretches else None
            gap = REMOTE_GAP_BYTES if is_remote(self.shards[shard]) else LOCAL_GAP_BYTES
            if (
                last is None
                or last.shard != shard
                or start - last.stop > gap
                or max(stop, last.stop) - last.start > MAX_READ_BYTES
            ):
                last = _Stretch(shard, start, stop)
                stretches.append(last)
            last.stop = max(last.stop, stop)
            last.members.append((member, start, stop, crc32))
        return stretches

    def _read_stretch(self, stretch: _Stretch) -> dict[MemberPlace, bytes]:
        path, num_bytes = self.shards[stretch.shard], self.num_bytes[stretch.shard]
        whole = memoryview(read_range(path, stretch.start, stretch.stop, num_bytes))
        contents = {}
        for (row, number), start, stop, crc32 in stretch.members:
            content = whole[start - stretch.start : stop - stretch.start]
            if zlib.crc32(content) != crc32:
                raise ValueError(
                    f"{self.names(row, [number])[0]} is not what the index says: the shard was damaged or written "
                    "again. Fetch or pack it again, or delete its index"
                )
            contents[row, number] = bytes(content)
        return contents


def spans_of(cells: Sequence[Mapping[str, Any]]) -> dict[int, tuple[float | None, float | None]]:
    """Number of the member → start and end in seconds, of a cell of the column `spans`."""
    return {
        span["number"]: (
            None if np.isnan(span["start"]) else span["start"],
            None if np.isnan(span["end"]) else span["end"],
        )
        for span in cells
    }
