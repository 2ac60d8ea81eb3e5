"""The footer and the heads of the pages of a Parquet file: how many values it claims, and how many bytes of text.

They are read here because Arrow ends the process where it is asked about a chunk whose footer is damaged.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

MAGIC = b"PAR1"
MAX_DEPTH = 32
ROW_GROUPS, COLUMNS, COLUMN_METADATA = 4, 1, 3
"""Numbers of fields in FileMetaData, RowGroup and ColumnChunk (parquet.thrift)."""
NUM_VALUES, COMPRESSED_BYTES, DATA_OFFSET, DICTIONARY_OFFSET = 5, 7, 9, 11
"""In ColumnMetaData."""
PAGE_BYTES, STORED_BYTES, DATA_HEAD, DICTIONARY_HEAD, DATA_HEAD_2 = 2, 3, 5, 7, 8
"""In PageHeader; in both heads of data, field 1 is the number of values."""
DICTIONARY_ENCODINGS, DELTA_STRINGS = (2, 8), 7
"""Numbers of encodings in which a value may take less than its own length."""

Content = bytes | memoryview | mmap.mmap


@dataclass(slots=True)
class TextBytes:
    """What the texts of a column take when they are decoded: `stored` at least, `most` at most, in bytes."""

    num_values: int = 0
    stored: int = 0
    most: int = 0
    has_deltas: bool = False
    longest_page: int = 1


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
    groups = _read_groups(file.read(num_bytes))
    return sum(max(0, chunk[NUM_VALUES]) for chunks in groups for chunk in chunks)


def text_bytes(content: Content, places: Iterable[int]) -> list[TextBytes]:
    """How many bytes the texts of each of some columns take, by the heads of their pages.

    Args:
        content: of the whole file.
        places: numbers of the columns among those that hold values.

    Raises:
        ValueError, LookupError, TypeError: where the footer, or the head of a page, is damaged.
    """
    end = len(content) - 8
    num_bytes = int.from_bytes(content[end : end + 4], "little")
    if content[end + 4 :] != MAGIC or num_bytes > end:
        raise ValueError("its footer is damaged")
    groups = _read_groups(content[end - num_bytes : end])
    return [_text_bytes_of(content, [chunks[place] for chunks in groups]) for place in places]


def _text_bytes_of(content: Content, chunks: list[dict[int, Any]]) -> TextBytes:
    text = TextBytes()
    for chunk in chunks:
        longest = 0
        for page in _read_pages(content, chunk):
            page_bytes = page[PAGE_BYTES]
            if (data := page.get(DATA_HEAD) or page.get(DATA_HEAD_2)) is None:
                longest = max(longest, page_bytes) if DICTIONARY_HEAD in page else longest
                continue
            encoding = data[2 if DATA_HEAD in page else 4]
            text.num_values += data[1]
            text.longest_page = max(text.longest_page, page_bytes)
            if encoding in DICTIONARY_ENCODINGS:
                text.most += data[1] * longest
            elif encoding == DELTA_STRINGS:
                text.most += data[1] * page_bytes
                text.has_deltas = True
            else:
                text.most += page_bytes
                text.stored += page_bytes
    return text


def _read_groups(footer: Content) -> list[list[dict[int, Any]]]:
    """The chunks of columns of each row group."""
    groups = _CompactReader(footer).struct()[ROW_GROUPS]
    return [[chunk[COLUMN_METADATA] for chunk in group[COLUMNS]] for group in groups]


def _read_pages(content: Content, chunk: dict[int, Any]) -> Iterator[dict[int, Any]]:
    """The heads of the pages of a chunk."""
    start = chunk[DATA_OFFSET]
    if 0 < chunk.get(DICTIONARY_OFFSET, 0) < start:
        start = chunk[DICTIONARY_OFFSET]
    num_left = chunk[NUM_VALUES]
    while num_left > 0:
        reader = _CompactReader(content, start)
        page = reader.struct()
        data = page.get(DATA_HEAD) or page.get(DATA_HEAD_2) or {1: 0}
        if min(start, page[PAGE_BYTES], page[STORED_BYTES], data[1]) < 0:
            raise ValueError("the head of a page is damaged")
        yield page
        start = reader.position + page[STORED_BYTES]
        num_left -= data[1]


class _CompactReader:
    """A reader of Thrift's compact protocol: structs are dictionaries by the numbers of their fields."""

    def __init__(self, content: Content, position: int = 0) -> None:
        self.content = content
        self.position = position
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
