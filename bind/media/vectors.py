"""Reader of vectors that were computed elsewhere: one of a `.npy` file, or numbers in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from bind.media.arrays import read_array
from bind.types import Clip, StoredVector

READER_VERSION = 1
"""Raised where the same file would be read otherwise: part of the fingerprint of an anchor of vectors."""


def read_vector(value: Clip | StoredVector | np.ndarray | Any, width: int | None = None) -> np.ndarray:
    """One vector (`width`,) float32, of a `.npy` file of that shape or of (1, `width`), or of numbers in memory.

    Args:
        value: a file, or an array or list of numbers.
        width: how many numbers it has to have; None: any.

    Raises:
        ValueError: naming the file, for another shape or length, values that are no floats or whole numbers, NaN,
            infinite values, and zeros alone, which have no direction.

    Examples:
        >>> read_vector([3, 4]).tolist()
        [3.0, 4.0]
        >>> read_vector(np.zeros((2, 4), np.float16), 4)
        Traceback (most recent call last):
        ValueError: a vector in memory: its shape is (2, 4), not that of one vector. Save one vector per file
        >>> read_vector([0.1, float("nan")], 2)
        Traceback (most recent call last):
        ValueError: a vector in memory: it holds NaN or infinite values. Compute it again, or drop its row
    """
    name = "a vector in memory"
    if isinstance(value, Clip):
        name, array = str(value), read_array(value)
    elif isinstance(value, StoredVector):
        name, array = value.name, value.values
    else:
        array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name}: its values are {array.dtype}, not numbers. Save it as float32 or float16")
    if array.ndim == 2 and len(array) == 1:
        array = array[0]
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name}: its shape is {array.shape}, not that of one vector. Save one vector per file")
    if width is not None and len(array) != width:
        raise ValueError(f"{name}: it has {len(array)} numbers instead of {width}. Is it of another model?")
    with np.errstate(over="ignore"):
        vector = np.array(array, np.float32)
    return checked_vectors(vector, name)


def checked_vectors(vectors: np.ndarray, name: str) -> np.ndarray:
    """Vectors (…, V) that have a direction; ValueError naming them else."""
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name}: it holds NaN or infinite values. Compute it again, or drop its row")
    if len(vectors) and not vectors.any(axis=-1).all():
        raise ValueError(f"{name}: all its numbers are 0, which is no direction. Compute it again, or drop its row")
    return vectors
