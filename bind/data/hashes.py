"""64-bit hashes of the strings of a column, many at once, and what two columns of them share.

Two strings may have one hash: whoever finds equal hashes looks at the strings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_FACTOR_2 = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)
WORD_BYTES = 8
JOINED_STRINGS = 2**20


def string_bytes(strings: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bytes (num_bytes,) uint8 behind an Arrow array of N strings, and first byte and length (N,) int64 of each."""
    _, offsets_buffer, data = strings.buffers()
    size = np.dtype(np.int32 if pa.types.is_string(strings.type) else np.int64)
    if not len(strings):
        return np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64)
    offsets = np.frombuffer(offsets_buffer, size, len(strings) + 1, strings.offset * size.itemsize).astype(np.int64)
    content = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    return content, offsets[:-1] - offsets[0], np.diff(offsets)


def joined_bytes(strings: Any, separator: str) -> Iterator[memoryview]:
    """The bytes of the strings of an Arrow array with a separator between each two, in parts; none is null."""
    for start in range(0, len(strings), JOINED_STRINGS):
        some = strings[start : start + JOINED_STRINGS]
        if start:
            yield memoryview(separator.encode())
        yield string_bytes(pc.binary_join(pa.ListArray.from_arrays([0, len(some)], some), separator))[0].data


def hash_strings(strings: Any) -> np.ndarray:
    """A hash (N,) uint64 of every string of an Arrow array; nulls count as empty.

    Examples:
        >>> one, other, same = hash_strings(pa.array(["a dog", "a cat", "a dog"]))
        >>> bool(one == same), bool(one == other)
        (True, False)
    """
    return hash_stretches(*string_bytes(strings))


def hash_stretches(content: np.ndarray, starts_N: np.ndarray, lengths_N: np.ndarray) -> np.ndarray:
    """A hash (N,) uint64 of every stretch of `content`, uint8: from `starts_N` on, `lengths_N` bytes each."""
    padded = np.empty(len(content) + 2 * WORD_BYTES, np.uint8)
    padded[: len(content)] = content
    padded[len(content) :] = 0
    words = np.ndarray((len(content) + WORD_BYTES + 1,), "<u8", padded.data, strides=(1,))
    hashes_N = _mix(lengths_N.astype(np.uint64) + _FACTOR_2)
    num_whole = int(lengths_N.min()) // WORD_BYTES if len(lengths_N) else 0
    for done in range(0, num_whole * WORD_BYTES, WORD_BYTES):  # all stretches have these
        hashes_N ^= words[starts_N + done]
        hashes_N = _mix(hashes_N)
    rows = np.arange(len(starts_N))
    for done in range(num_whole * WORD_BYTES, int(lengths_N.max(initial=0)), WORD_BYTES):
        rows = rows[lengths_N[rows] > done]
        word = words[starts_N[rows] + done]
        num_left = np.minimum(lengths_N[rows] - done, WORD_BYTES)
        word &= np.uint64(0xFFFFFFFFFFFFFFFF) >> ((WORD_BYTES - num_left) * 8).astype(np.uint64)
        hashes_N[rows] = _mix(hashes_N[rows] ^ word)
    return hashes_N


def combine_hashes(a_N: np.ndarray, b_N: np.ndarray) -> np.ndarray:
    """A hash (N,) of each ordered pair of two hashes."""
    return _mix(_mix(a_N + _FACTOR_2) ^ b_N)


def _mix(x: np.ndarray) -> np.ndarray:
    """Spread every bit over all 64 (a multiplicative hash with folds between, as in SplitMix64)."""
    x = x * _FACTOR
    x ^= x >> _SHIFT
    x *= _FACTOR_2
    x ^= x >> _SHIFT
    return x


def distinct_hashes(hashes_N: np.ndarray) -> np.ndarray:
    """The hashes, ascending, each once: `np.unique`, which takes ten times as long."""
    ascending = np.sort(hashes_N)
    return np.concatenate([ascending[:1], ascending[1:][ascending[1:] != ascending[:-1]]])


def repeated_hashes(hashes_N: np.ndarray) -> np.ndarray:
    """The hashes, ascending, that occur more than once."""
    ascending = np.sort(hashes_N)
    return distinct_hashes(ascending[1:][ascending[1:] == ascending[:-1]])


def shared_hashes(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The hashes, ascending, that occur in more than one of the arrays.

    Examples:
        >>> shared_hashes([np.array([1, 1, 2], np.uint64), np.array([2, 3], np.uint64)]).tolist()
        [2]
    """
    filled = [part for part in parts if len(part)]
    if len(filled) < 2:
        return np.zeros(0, np.uint64)
    return repeated_hashes(np.concatenate([distinct_hashes(part) for part in filled]))
