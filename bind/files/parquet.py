"""Reading of Parquet files whose heads may claim more values, or longer texts, than their bytes can hold."""

from __future__ import annotations

import contextlib
import io
import itertools
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bind.files.parquet_footer import Content, TextBytes, count_values, text_bytes

if TYPE_CHECKING:
    import pyarrow.parquet

MAX_VALUES_PER_BYTE = 2**12
"""A column of one value takes a few bytes however long it is; a table of recordings or samples has others too."""
MAX_LISTED_VALUES_PER_BYTE = 2**8
"""Of values in lists, vectors and captions, which differ from each other."""
ALWAYS_READ_VALUES = 2**22
MAX_TEXT_BYTES_PER_BYTE = 2**7
"""Of texts, which are stored once in a dictionary however many rows have them."""
ALWAYS_READ_TEXT_BYTES = 2**28
TEXT_TYPES = ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
COUNTED_ROWS = 2**17


def open_parquet(source: Path | io.BytesIO) -> pyarrow.parquet.ParquetFile:
    """A Parquet file of which nothing is read yet but its head.

    Raises:
        ValueError: where it claims more values than such a file holds, or a long text is repeated in it so often that
            reading it might fill the memory.
        Exception: of Arrow, where it is no Parquet; call it in `bind.files.reading.reading`.
    """
    import pyarrow.parquet

    is_path = isinstance(source, Path)
    num_bytes = source.stat().st_size if isinstance(source, Path) else source.getbuffer().nbytes
    file = pyarrow.parquet.ParquetFile(source, memory_map=is_path)
    # Of a row group's columns Arrow is asked nothing: it ends the process where what stands there is damaged.
    num_values, max_per_byte = file.metadata.num_rows * file.metadata.num_columns, MAX_VALUES_PER_BYTE
    if any(file.schema.column(place).max_repetition_level for place in range(file.metadata.num_columns)):
        num_in_lists = _count_values(source)
        if num_in_lists > num_values:
            num_values, max_per_byte = num_in_lists, MAX_LISTED_VALUES_PER_BYTE
    if num_values > max(ALWAYS_READ_VALUES, max_per_byte * num_bytes):
        raise ValueError(f"it claims {num_values} values in {num_bytes} bytes, more than a table of samples holds")
    _require_fitting_texts(source, file, max(ALWAYS_READ_TEXT_BYTES, MAX_TEXT_BYTES_PER_BYTE * num_bytes))
    return file


def _count_values(source: Path | io.BytesIO) -> int:
    if isinstance(source, io.BytesIO):
        return count_values(io.BytesIO(source.getbuffer()))
    with source.open("rb") as opened:
        return count_values(opened)


def _require_fitting_texts(source: Path | io.BytesIO, file: pyarrow.parquet.ParquetFile, max_bytes: int) -> None:
    """Raise ValueError where decoded texts take over `max_bytes`; only heads are read where that says enough."""
    import pyarrow

    columns = [file.schema.column(place) for place in range(file.metadata.num_columns)]
    places = [place for place, column in enumerate(columns) if column.physical_type in TEXT_TYPES]
    if not places or not file.metadata.num_rows:
        return
    with _content_of(source) as content:
        texts = text_bytes(content, places)
    for place, text in zip(places, texts, strict=True):
        if columns[place].physical_type == "FIXED_LEN_BYTE_ARRAY":
            text.most = text.num_values * columns[place].length
        elif text.most > max_bytes and not text.has_deltas and columns[place].path == columns[place].name:
            longest = _longest_in_dictionaries(source, columns[place].path)
            text.most = min(text.most, text.num_values * longest + text.stored)
    if sum(text.most for text in texts) <= max_bytes:
        return
    total = 0
    for place, text in sorted(zip(places, texts, strict=True), key=lambda item: item[1].most):
        if text.most + total <= max_bytes or columns[place].physical_type == "FIXED_LEN_BYTE_ARRAY":
            counts = iter([text.most])
        elif text.stored > max_bytes:
            counts = iter([text.stored])
        else:
            counts = _decoded_bytes(source, columns[place].path, text)
        with contextlib.suppress(pyarrow.ArrowNotImplementedError):  # of lists whose dictionary ends within a group
            for num_bytes in counts:
                total += num_bytes
                if total > max_bytes:
                    raise ValueError(
                        f"its texts take more than {max_bytes} bytes when they are decoded: {columns[place].path!r} "
                        "repeats long ones. Leave that column out, or split the table into smaller ones"
                    )


@contextlib.contextmanager
def _content_of(source: Path | io.BytesIO) -> Iterator[Content]:
    if isinstance(source, io.BytesIO):
        with source.getbuffer() as content:
            yield content
        return
    with source.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped


def _longest_in_dictionaries(source: Path | io.BytesIO, path: str) -> int:
    """The bytes of the longest text in the dictionaries of a column without lists, of whose rows few are read."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(source, memory_map=isinstance(source, Path), read_dictionary=[path])
    longest = 0
    for group in range(file.num_row_groups):
        for batch in itertools.islice(file.iter_batches(batch_size=1, row_groups=[group], columns=[path]), 1):
            array = batch.column(0)
            if pa.types.is_dictionary(array.type):
                longest = max(longest, pc.max(pc.binary_length(array.dictionary)).as_py() or 0)
            else:
                longest = array.type.bit_width // 8  # decimals, which Parquet may store as texts
    return longest


def _decoded_bytes(source: Path | io.BytesIO, path: str, text: TextBytes) -> Iterator[int]:
    """What the texts of one column take, part by part, without one being repeated in memory."""
    import pyarrow.parquet

    num_rows = max(1, min(COUNTED_ROWS, ALWAYS_READ_TEXT_BYTES // 8 // text.longest_page))
    dictionaries = [] if text.has_deltas else [path]  # which Arrow has not for deltas
    file = pyarrow.parquet.ParquetFile(source, memory_map=isinstance(source, Path), read_dictionary=dictionaries)
    batch_size = num_rows if text.has_deltas else COUNTED_ROWS
    for group in range(file.num_row_groups):  # each has dictionaries of its own, which Arrow joins in no list
        for batch in file.iter_batches(batch_size=batch_size, row_groups=[group], columns=[path]):
            yield sum(map(_array_text_bytes, batch.columns))


def _array_text_bytes(array: Any) -> int:
    """The bytes of all texts of an Arrow array, of those in its lists and structs too."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(array.type):
        lengths = pc.binary_length(array.dictionary).take(array.indices)
        return int(pc.sum(lengths.cast(pa.int64())).as_py() or 0)
    if pa.types.is_nested(array.type):
        parts = array.flatten()
        return sum(map(_array_text_bytes, parts)) if isinstance(parts, list) else _array_text_bytes(parts)
    return int(array.nbytes)
