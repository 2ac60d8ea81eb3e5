"""Reading of Parquet files whose heads may claim more values than their bytes can hold."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow.parquet

MAX_VALUES_PER_BYTE = 2**12
"""A column of one value takes a few bytes however long it is; a table of recordings or samples has others too."""
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
    # Of a row group's columns nothing is asked: Arrow ends the process where what stands there is damaged.
    num_values = file.metadata.num_rows * file.metadata.num_columns
    if num_values > max(ALWAYS_READ_VALUES, MAX_VALUES_PER_BYTE * num_bytes):
        raise ValueError(f"it claims {num_values} values in {num_bytes} bytes, more than a table of samples holds")
    return file
