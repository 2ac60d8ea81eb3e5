"""Numbers of equal things among many: strings, and rows of several columns, each numbered as it first occurs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.hashes import hash_strings

CHUNK_ROWS = 2**20


def number_strings(strings: Any) -> tuple[np.ndarray, np.ndarray]:
    """The number (N,) of each string of an Arrow array, and the place (F,) where each number first occurs.

    Equal strings have one number. They are found by their hashes and compared with the first of their number.

    Examples:
        >>> numbers_N, first_F = number_strings(pa.array(["a dog", "a cat", "a dog"]))
        >>> numbers_N.tolist(), first_F.tolist()
        ([0, 1, 0], [0, 1])
    """
    numbers_N, first_F = number_rows(hash_strings(strings))
    for start in range(0, len(strings), CHUNK_ROWS):
        firsts = strings.take(pa.array(first_F[numbers_N[start : start + CHUNK_ROWS]]))
        if not pc.all(pc.equal(strings[start : start + CHUNK_ROWS], firsts)).as_py():
            return number_rows(strings.dictionary_encode().indices.to_numpy())  # two have one hash
    return numbers_N, first_F


def number_rows(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number (N,) of each row of some columns (N,), and the place (F,) where each number first occurs.

    Examples:
        >>> numbers_N, first_F = number_rows(np.array([7, 5, 7, 7]), np.array([1.0, 1.0, 2.0, 1.0]))
        >>> numbers_N.tolist(), first_F.tolist()
        ([0, 1, 2, 0], [0, 1, 2])
    """
    order_N = np.lexsort(columns[::-1]) if len(columns) > 1 else np.argsort(columns[0], kind="stable")
    is_first_N = np.zeros(len(order_N), bool)
    is_first_N[:1] = True
    for column in columns:
        sorted_N = column[order_N]
        is_first_N[1:] |= sorted_N[1:] != sorted_N[:-1]
    first_F = order_N[is_first_N]
    by_place_F = np.argsort(first_F)
    rank_F = np.empty(len(first_F), np.int64)
    rank_F[by_place_F] = np.arange(len(first_F))
    numbers_N = np.empty(len(order_N), np.int64)
    numbers_N[order_N] = rank_F[np.cumsum(is_first_N) - 1]
    return numbers_N, first_F[by_place_F]
