"""Reader of `.npy` files: one array of numbers, whose header may claim no more than the file holds."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np

from bind.files.reading import reading
from bind.types import Clip

ARRAY_REMEDY = "Write it with numpy.save, or drop its row"


def read_array(clip: Clip) -> np.ndarray:
    """Read the array of numbers of a `.npy` file, in native byte order; one on disk is mapped into memory.

    Raises:
        ValueError: naming the file, where it is missing, no `.npy`, cut off, or holds no numbers.
    """
    with reading(clip.path, "not readable as .npy", ARRAY_REMEDY):
        if isinstance(clip.path, Path):
            array = np.load(clip.path, mmap_mode="r", allow_pickle=False)
            if not isinstance(array, np.ndarray):
                array.close()
                raise ValueError("it is an archive of arrays, .npz")
        else:
            array = _array_in_bytes(clip.path.content)
        if array.dtype.kind not in "biuf" or array.dtype.fields is not None:
            raise ValueError(f"its values are {array.dtype}, not numbers")
        native: np.ndarray = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
        return native


def _array_in_bytes(content: bytes) -> np.ndarray:
    """The array in the content of a `.npy` file, without a copy."""
    file = io.BytesIO(content)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in read_header:
        raise ValueError(f"version {version} of the format")
    shape, is_fortran, dtype = read_header[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    num_values = math.prod(shape)
    if num_values * dtype.itemsize > len(content) - file.tell():
        raise ValueError(f"cut off: its header claims {num_values} values, {len(content) - file.tell()} bytes follow")
    values = np.frombuffer(content, dtype, num_values, file.tell())
    return values.reshape(shape, order="F" if is_fortran else "C")
