"""Hashes of packed samples: of their keys, and of what an index says about their members."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from bind.data.hashes import joined_bytes
from bind.data.sources.sample_table import flatten_lists
from bind.types import Modality


class ContentHasher:
    """Hasher of samples that come in parts, in their order: what `Source.content_hash` is of packed data.

    Args:
        prefix: is hashed before everything.
    """

    def __init__(self, prefix: str = "") -> None:
        self._keys = hashlib.blake2b(prefix.encode(), digest_size=16)
        self._members: dict[Modality, list[_Members]] = {}
        self.num_samples = 0

    def add(self, part: pa.RecordBatch, kinds: Sequence[np.ndarray], modalities: Sequence[Modality | None]) -> None:
        """Take the next samples into account.

        Args:
            part: with the columns `key`, `kind`, `members` and `spans` of `kept_index.SCHEMA`.
            kinds: of each kind the suffixes of its members, as places in `modalities`, (num_members,) int64.
            modalities: of each suffix; members of those that are None don't count.
        """
        if self.num_samples:
            self._keys.update(b"\n")
        for content in joined_bytes(part.column("key"), "\n"):
            self._keys.update(content)
        kinds_of_rows = part.column("kind").to_numpy()
        members, spans = part.column("members").flatten(), part.column("spans")
        size, crc32 = (members.field(name).to_numpy() for name in ("size", "crc32"))
        of_kinds = [[modalities[suffix] for suffix in kind.tolist()] for kind in kinds]
        counts = np.array([len(kind) for kind in kinds])[kinds_of_rows]
        first = np.cumsum(counts) - counts
        rows_of_kinds = {int(kind): np.flatnonzero(kinds_of_rows == kind) for kind in np.unique(kinds_of_rows)}
        seconds = seconds_of_members(spans, first, len(size))
        for modality in {modality for kind in rows_of_kinds for modality in of_kinds[kind]} - {None}:
            parts = []
            for kind, rows in rows_of_kinds.items():
                numbers = np.array([n for n, other in enumerate(of_kinds[kind]) if other == modality], np.int64)
                places = (first[rows][:, None] + numbers).reshape(-1)
                suffixes = np.tile(kinds[kind][numbers].astype(np.int32), len(rows))
                parts.append((places, suffixes, np.repeat(rows.astype(np.int32), len(numbers))))
            places, suffixes, of_rows = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
            if len(parts) > 1:
                order = np.argsort(places)
                places, suffixes, of_rows = places[order], suffixes[order], of_rows[order]
            times = [column[places] for column in seconds]
            found = _Members(self.num_samples, of_rows, suffixes, size[places], crc32[places], times)
            self._members.setdefault(modality, []).append(found)
        self.num_samples += part.num_rows

    def hexdigest(self, modality: Modality, suffixes: Sequence[str]) -> str:
        """The hash of the keys and of suffix, sample, size, checksum and span of every member of `modality`."""
        digest, parts = self._keys.copy(), self._members.get(modality, [])
        texts = pa.array(suffixes, pa.string())
        for number, part in enumerate(parts):
            if number:
                digest.update(b"\n")
            if (part.suffixes == part.suffixes[0]).all():
                text = suffixes[part.suffixes[0]]
                digest.update((f"{text}\n" * (len(part.suffixes) - 1) + text).encode())
                continue
            for content in joined_bytes(texts.take(pa.array(part.suffixes)), "\n"):
                digest.update(content)
        for part in parts:
            digest.update((part.rows + np.int64(part.first_row)).astype("<i8", copy=False).data)
        for part in parts:
            digest.update(part.size.astype("<f8").data)
        for part in parts:
            digest.update(part.crc32.astype("<f8").data)
        for which in range(2):
            for part in parts:
                times = part.times[which] if part.times else np.full(len(part.rows), np.nan)
                digest.update(times.astype("<f8", copy=False).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class _Members:
    """Members of one modality in a part of the samples, (num_members,) each.

    Attributes:
        first_row: of the part.
        rows: of their samples within the part.
        times: start and end in seconds or NaN; nothing where no member has one.
    """

    first_row: int
    rows: np.ndarray
    suffixes: np.ndarray
    size: np.ndarray
    crc32: np.ndarray
    times: list[np.ndarray]


def seconds_of_members(spans: Any, first: np.ndarray, num_members: int) -> list[np.ndarray]:
    """Start and end of every member, NaN where it has none; nothing where no member has one."""
    rows, cut = flatten_lists(spans)
    if not len(rows):
        return []
    columns = []
    for name in ("start", "end"):
        seconds = np.full(num_members, np.nan)
        seconds[first[rows] + cut.field("number").to_numpy()] = cut.field(name).to_numpy()
        columns.append(seconds)
    return columns
