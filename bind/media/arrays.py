"""Reader of `.npy` files: one array of numbers, whose header may claim no more than the file holds."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np

from bind.files.reading import reading
from bind.types import Clip

ARRAY_REMEDY = "Write it with numpy.save, or drop its row"
HOLDS_OBJECTS = "it holds Python objects, a pickle, which can hold commands and is not read: save numbers alone"
OF_TORCH = "it is of torch.save, a pickle, which can hold commands and is not read: save tensor.numpy()"


def read_array(clip: Clip) -> np.ndarray:
    """Read the array of numbers of a `.npy` file, in native byte order; one on disk is mapped into memory.

    Raises:
        ValueError: naming the file, where it is missing, no `.npy`, cut off, or holds no numbers.
    """
    with reading(clip.path, "not readable as .npy", ARRAY_REMEDY):
        array = _array_on_disk(clip.path) if isinstance(clip.path, Path) else _array_in_bytes(clip.path.content)
        if array.dtype.kind not in "biuf" or array.dtype.fields is not None:
            raise ValueError(f"its values are {array.dtype}, not numbers")
        native: np.ndarray = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
        return native


def _array_on_disk(path: Path) -> np.ndarray:
    """The array of a `.npy` file, mapped into memory."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "objects" in str(error) or "pickled" in str(error):  # numpy's text advises to load them
            raise ValueError(HOLDS_OBJECTS) from error
        raise
    if isinstance(array, np.ndarray):
        return array
    with array:
        is_of_torch = any(name.endswith("data.pkl") for name in array.files)
    raise ValueError(OF_TORCH if is_of_torch else "it is an archive of arrays, .npz")


def _array_in_bytes(content: bytes) -> np.ndarray:
    """The array in the content of a `.npy` file, without a copy."""
    file = io.BytesIO(content)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in read_header:
        raise ValueError(f"version {version} of the format")
    shape, is_fortran, dtype = read_header[version](file)
    if dtype.hasobject:
        raise ValueError(HOLDS_OBJECTS)
    num_values = math.prod(shape)
    if num_values * dtype.itemsize > len(content) - file.tell():
        raise ValueError(f"cut off: its header claims {num_values} values, {len(content) - file.tell()} bytes follow")
    values = np.frombuffer(content, dtype, num_values, file.tell())
    return values.reshape(shape, order="F" if is_fortran else "C")
