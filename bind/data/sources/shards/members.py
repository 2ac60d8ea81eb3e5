"""Table of the members of all shards, and the fewest reads that fetch some of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from bind.data.sources.shards.names import Suffix, escape, parse_suffix
from bind.data.sources.shards.remote import in_parallel, is_remote, read_range, shown
from bind.data.sources.shards.tar_index import MEMBER_TYPES, TarIndex
from bind.types import Modality

# Bytes read and thrown away where that saves a read: over a network 1 MiB takes about as long as a request.
LOCAL_GAP_BYTES, REMOTE_GAP_BYTES = 2**14, 2**20
MAX_READ_BYTES = 2**24


@dataclass
class _Stretch:
    """A part of one shard that is read at once, and the members in it: number, first and last + 1 byte, checksum."""

    shard: int
    start: int
    stop: int
    members: list[tuple[int, int, int, int]] = field(default_factory=list)


class Members:
    """Members of samples: row r of the table has those from `first[r]` to `first[r + 1]`.

    Args:
        shards: path or URL of each tar.
        indices: of the same.
        extensions: suffix → modality where the name of a member has none.
    """

    def __init__(self, shards: Sequence[str], indices: Sequence[TarIndex], extensions: Mapping[str, Modality]) -> None:
        self.shards = list(shards)
        self.num_bytes = [index.num_bytes for index in indices]
        self.keys = [key for index in indices for key in index.key]
        self.first = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(index.first) for index in indices]))])
        self.shard_of_row = np.repeat(np.arange(len(indices)), [len(index) for index in indices])
        encoded = pa.array(np.concatenate([index.suffix for index in indices]), pa.string()).dictionary_encode()
        self.suffix_texts: list[str] = encoded.dictionary.to_pylist()
        self.suffix_id = encoded.indices.to_numpy()
        self.suffixes: list[Suffix | None] = [parse_suffix(text, extensions) for text in self.suffix_texts]
        self.shown = [shown(shard) for shard in shards]
        self.columns = {name: np.concatenate([index.members[name] for index in indices]) for name in MEMBER_TYPES}
        self.has_spans = not all(np.isnan(self.columns[name]).all() for name in ("start_seconds", "end_seconds"))

    def suffix_ids(self, row: int) -> np.ndarray:
        """The suffix of each member of a row, as its place in `suffixes`."""
        ids: np.ndarray = self.suffix_id[self.first[row] : self.first[row + 1]]
        return ids

    def of(self, row: int, modalities: Sequence[Modality]) -> dict[int, Suffix]:
        """The members of a row that belong to `modalities`."""
        ids = self.suffix_ids(row).tolist()
        parsed = [(member, self.suffixes[i]) for member, i in enumerate(ids, int(self.first[row]))]
        return {member: suffix for member, suffix in parsed if suffix is not None and suffix.modality in modalities}

    def span(self, member: int) -> tuple[float | None, float | None]:
        """Start and end in seconds of the part of a recording that belongs to the sample; None where it is not cut."""
        if not self.has_spans:
            return None, None
        start, end = (float(self.columns[name][member]) for name in ("start_seconds", "end_seconds"))
        return None if np.isnan(start) else start, None if np.isnan(end) else end

    def names(self, row: int, members: Iterable[int]) -> list[str]:
        """Shard and member of members of one row, for messages."""
        sample = f"{self.shown[self.shard_of_row[row]]}: {escape(self.keys[row])}"
        return [f"{sample}.{self.suffix_texts[self.suffix_id[member]]}" for member in members]

    def read(self, members: Sequence[int]) -> dict[int, bytes]:
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

    def _stretches(self, members: Sequence[int]) -> list[_Stretch]:
        """The reads that hold these members; members with small gaps between them share one."""
        chosen = np.unique(np.asarray(members, dtype=np.int64))
        shards = self.shard_of_row[np.searchsorted(self.first, chosen, side="right") - 1]
        starts = self.columns["offset"][chosen]
        stops = starts + self.columns["size"][chosen]
        stretches: list[_Stretch] = []
        order = np.lexsort((starts, shards))
        columns = (column[order].tolist() for column in (shards, chosen, starts, stops, self.columns["crc32"][chosen]))
        for shard, member, start, stop, crc32 in zip(*columns, strict=True):
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

    def _read_stretch(self, stretch: _Stretch) -> dict[int, bytes]:
        path, num_bytes = self.shards[stretch.shard], self.num_bytes[stretch.shard]
        whole = memoryview(read_range(path, stretch.start, stretch.stop, num_bytes))
        contents = {}
        for member, start, stop, crc32 in stretch.members:
            content = whole[start - stretch.start : stop - stretch.start]
            if zlib.crc32(content) != crc32:
                row = int(np.searchsorted(self.first, member, side="right")) - 1
                raise ValueError(
                    f"{self.names(row, [member])[0]} is not what the index says: the shard was damaged or written "
                    "again. Fetch or pack it again, or delete its index"
                )
            contents[member] = bytes(content)
        return contents
