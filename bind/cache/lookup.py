"""Lookup of what was computed once: towers and encoders that are frozen give a value the same vector for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bind.types import CachedVectors, ColumnarSamples, Modality, Sample, stable_id

Place = tuple[int, str, Modality]
"""A source's place in the mixture, a split, and a modality."""


class Rows(Protocol):
    """Vectors of R values or clips in K views each, (R, K, D), in memory or in files.

    Unit vectors are fp16; features, which have any length, are fp32.
    """

    shape: tuple[int, int, int]

    def take(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        """(n, D): view `views[i]` of row `rows[i]`."""

    def verify(self) -> None:
        """Raise ValueError, naming the file, where one is not as it was written."""


class RowsInMemory:
    """`Rows` of an array (R, K, D)."""

    def __init__(self, z_RKD: np.ndarray) -> None:
        self.z_RKD = z_RKD
        self.shape: tuple[int, int, int] = z_RKD.shape

    def take(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        z_ND: np.ndarray = self.z_RKD[rows, views]
        return z_ND

    def verify(self) -> None:
        """Nothing: what this process made is as it was made."""


class CachedEmbeddings:
    """The vectors of one source, split and modality, found by binary search over sorted hashes of the keys.

    Args:
        hashes_N: int64, `stable_id` of each sample's key, ascending.
        spans_N2: int64, first row and number of rows of each, in the order of `hashes_N`.
        rows: the vectors.
        clips_R: at the first row of a value how many clips it has, a row each, and 0 at its others; None: one each.
    """

    def __init__(
        self, hashes_N: np.ndarray, spans_N2: np.ndarray, rows: Rows, clips_R: np.ndarray | None = None
    ) -> None:
        self.hashes_N, self.spans_N2, self.rows, self.clips_R = hashes_N, spans_N2, rows, clips_R

    def lookup(self, keys: Sequence[str], rngs: Sequence[np.random.Generator] | None = None) -> list[Tensor]:
        """One (V, D) fp32 tensor per key, V its number of values, where each of these has one clip; see `take`."""
        taken = self.take(keys, rngs)
        assert taken.num_clips_V is None
        return list(taken.vectors_ND.split(taken.num_values_B.tolist()))

    def take(self, keys: Sequence[str], rngs: Sequence[np.random.Generator] | None = None) -> CachedVectors:
        """The vectors of these samples, fp32; see `EmbeddingCache.take`.

        Unit vectors are stored with 11 bits of precision and get their unit norm back here, where they have 24.

        Raises:
            ValueError: for a key that is not among the samples.
        """
        hashes = np.fromiter(map(stable_id, keys), np.int64, len(keys))
        positions = np.minimum(np.searchsorted(self.hashes_N, hashes), len(self.hashes_N) - 1)
        if (absent := self.hashes_N[positions] != hashes).any():
            raise ValueError(f"the anchor cache lacks the key {keys[int(absent.argmax())]!r}: start the run again")
        first, counts = self.spans_N2[positions].T
        num_views = self.rows.shape[1]
        views = np.zeros(len(keys), np.int64)
        if rngs is not None and num_views > 1:
            views = np.array([rng.integers(num_views) for rng in rngs])
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = np.repeat(first, counts) + within
        x_ND = torch.from_numpy(self.rows.take(rows, np.repeat(views, counts)))
        if x_ND.dtype == torch.float16:
            x_ND = torch.nn.functional.normalize(x_ND.float(), dim=-1)
        if self.clips_R is None:
            return CachedVectors(x_ND, counts)
        clips = self.clips_R[rows]
        is_first = clips > 0
        num_values = np.bincount(np.repeat(np.arange(len(keys)), counts)[is_first], minlength=len(keys))
        return CachedVectors(x_ND, num_values, clips[is_first].astype(np.int64))


class AnchorCache:
    """What is cached of a mixture: an `EmbeddingCache` over the `CachedEmbeddings` of each place."""

    def __init__(self, entries: Mapping[Place, CachedEmbeddings]) -> None:
        self.entries = dict(entries)

    def lookup(
        self,
        modality: Modality,
        keys: Sequence[str],
        *,
        source: int,
        split: str,
        rngs: Sequence[np.random.Generator] | None = None,
    ) -> list[Tensor] | None:
        """One (V, D) tensor per key, V its number of values; None where this is not cached."""
        entry = self.entries.get((source, split, modality))
        return None if entry is None else entry.lookup(keys, rngs)

    def take(
        self,
        modality: Modality,
        keys: Sequence[str],
        *,
        source: int,
        split: str,
        rngs: Sequence[np.random.Generator] | None = None,
    ) -> CachedVectors | None:
        """See `EmbeddingCache.take`."""
        entry = self.entries.get((source, split, modality))
        return None if entry is None else entry.take(keys, rngs)


def hash_keys(samples: Sequence[Sample]) -> np.ndarray:
    """`stable_id` (N,) of the key of every sample.

    Raises:
        ValueError: where two keys are the same or have the same hash.
    """
    if isinstance(samples, ColumnarSamples):
        hashes_N = samples.key_ids()
    else:
        hashes_N = np.fromiter((stable_id(sample.key) for sample in samples), np.int64, len(samples))
    order = np.argsort(hashes_N, kind="stable")
    ascending = hashes_N[order]
    if (same := ascending[1:] == ascending[:-1]).any():
        one, other = (samples[int(i)].key for i in order[int(same.argmax()) :][:2])
        if one == other:
            raise ValueError(f"the key {one!r} comes twice: give every sample its own key")
        raise ValueError(f"the keys {one!r} and {other!r} have the same 63-bit hash: rename one of the two samples")
    return hashes_N


def index_keys(hashes_N: np.ndarray, counts_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of `hash_keys` in ascending order, and (N, 2) where the rows of each begin and how many there are."""
    order = np.argsort(hashes_N, kind="stable")
    counts_N = counts_N.astype(np.int64)
    return hashes_N[order], np.stack([np.cumsum(counts_N) - counts_N, counts_N], axis=1)[order]
