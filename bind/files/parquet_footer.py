"""The footer of a Parquet file: how many values the chunks of its columns claim, those within lists counted one by one.

It is read here because Arrow ends the process where it is asked about a chunk whose footer is damaged.
"""

from __future__ import annotations

from typing import Any, BinaryIO

MAGIC = b"PAR1"
MAX_DEPTH = 32
ROW_GROUPS, COLUMNS, COLUMN_METADATA, NUM_VALUES = 4, 1, 3, 5
"""Numbers of fields in FileMetaData, RowGroup, ColumnChunk and ColumnMetaData (parquet.thrift)."""


def count_values(file: BinaryIO) -> int:
    """The values that a Parquet file claims to hold, over all of its columns.

    Raises:
        ValueError, LookupError, TypeError: where the footer is damaged.
    """
    end = file.seek(-8, 2)
    num_bytes, magic = int.from_bytes(file.read(4), "little"), file.read(4)
    if magic != MAGIC or num_bytes > end:
        raise ValueError("its footer is damaged")
    file.seek(end - num_bytes)
    footer = _CompactReader(file.read(num_bytes)).struct()
    chunks = [chunk for group in footer[ROW_GROUPS] for chunk in group[COLUMNS]]
    return sum(max(0, chunk[COLUMN_METADATA][NUM_VALUES]) for chunk in chunks)


class _CompactReader:
    """A reader of Thrift's compact protocol: structs are dictionaries by the numbers of their fields."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0
        self.depth = 0

    def struct(self) -> dict[int, Any]:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError("its footer is damaged: structs within structs without an end")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind)
        self.depth -= 1
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (1, 2, 3):  # within a list a bool is a byte
            return self._byte()
        if kind in (4, 5, 6):
            return self._integer()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            return self._skip(self._varint())
        if kind in (9, 10):
            head = self._byte()
            return [self._value(head & 15) for _ in range(self._varint() if head >> 4 == 15 else head >> 4)]
        if kind == 12:
            return self.struct()
        raise ValueError(f"its footer is damaged: a field of the kind {kind}")

    def _byte(self) -> int:
        self.position += 1
        return self.content[self.position - 1]

    def _varint(self) -> int:
        number = shift = 0
        while (byte := self._byte()) >= 128:
            number, shift = number | (byte & 127) << shift, shift + 7
        return number | byte << shift

    def _integer(self) -> int:
        number = self._varint()
        return number >> 1 ^ -(number & 1)

    def _skip(self, num_bytes: int) -> None:
        self.position += num_bytes
