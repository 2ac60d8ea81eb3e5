"""Arrays in files of their own, `.npy` with a checksum behind them."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from bind.files.checksums import TRAILER_BYTES, has_right_trailer, trailer_of
from bind.files.reading import require_regular_file
from bind.files.writing import open_atomically


def write_array(path: Path, array: np.ndarray) -> None:
    """Put an array on disk, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    with open_atomically(path) as file:
        file.write(buffer.getbuffer())
        file.write(trailer_of(buffer.getbuffer()))


def size_of_array(shape: tuple[int, ...], dtype: str) -> int:
    """Bytes of an `.npy` file."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    return header.tell() + np.dtype(dtype).itemsize * math.prod(shape)


def load_array(path: Path, mmap_mode: Any = None) -> np.ndarray:
    """Load an `.npy` file of numbers.

    Raises:
        ValueError: where it is missing or damaged.
    """
    require_regular_file(path)
    try:
        with path.open("rb") as file:
            is_sealed = has_right_trailer(file)
        if is_sealed is False:
            raise ValueError("its checksum is another one")
        array: np.ndarray = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
        if path.stat().st_size != header.tell() + array.nbytes + (TRAILER_BYTES if is_sealed else 0):
            raise ValueError("it has another size")
        return array
    except Exception as error:  # numpy parses the header as Python, with all that can be wrong in that
        raise ValueError(f"{path} is damaged ({error}): delete it, it is made again") from error
