"""Reading of Parquet files whose heads may claim more values than their bytes can hold."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from bind.files.parquet_footer import count_values

if TYPE_CHECKING:
    import pyarrow.parquet

MAX_VALUES_PER_BYTE = 2**12
"""A column of one value takes a few bytes however long it is; a table of recordings or samples has others too."""
MAX_LISTED_VALUES_PER_BYTE = 2**8
"""Of values in lists, vectors and captions, which differ from each other."""
ALWAYS_READ_VALUES = 2**22


def open_parquet(source: Path | io.BytesIO) -> pyarrow.parquet.ParquetFile:
    """A Parquet file of which nothing is read yet but its head.

    Raises:
        ValueError: where it claims more values than such a file holds, so that reading it might fill the memory.
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
    return file


def _count_values(source: Path | io.BytesIO) -> int:
    if isinstance(source, io.BytesIO):
        return count_values(io.BytesIO(source.getbuffer()))
    with source.open("rb") as opened:
        return count_values(opened)
