"""Ids of the values of samples, found by the samples' keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class ValueIds:
    """Ids of the values of samples, by the samples' keys; equal values share an id.

    Args:
        keys: Arrow array of the keys of N samples.
        rows_V: int64 (V,), the sample of each value.
        numbers_V: int64 (V,), which of the sample's values it is.
        ids_V: int64 (V,).

    Examples:
        >>> ids = ValueIds.of({("a", 0): 7, ("b", 0): 7, ("b", 1): 8})
        >>> ids.find(["b", "b", "c"], np.array([0, 1, 0])).tolist()
        [7, 8, -1]
    """

    def __init__(self, keys: Any, rows_V: np.ndarray, numbers_V: np.ndarray, ids_V: np.ndarray) -> None:
        self.keys = keys
        self._stride = int(numbers_V.max(initial=0)) + 1
        places_V = rows_V * self._stride + numbers_V
        order_V = np.argsort(places_V, kind="stable")
        self._places_V, self.ids_V = places_V[order_V], ids_V[order_V]

    @classmethod
    def of(cls, ids: Mapping[tuple[str, int], int]) -> ValueIds:
        """Ids by key and number."""
        columns = np.array([(number, value) for (_, number), value in ids.items()], np.int64).reshape(-1, 2)
        keys = pa.array([key for key, _ in ids], pa.large_string())
        distinct = keys.unique()
        return cls(distinct, pc.index_in(keys, distinct).to_numpy().astype(np.int64), *columns.T)

    def find(self, keys: Sequence[str], numbers_Q: np.ndarray, samples_Q: np.ndarray | None = None) -> np.ndarray:
        """The ids (Q,) of values, -1 where one is not known: number `numbers_Q` of sample `samples_Q` among `keys`.

        Without `samples_Q` there is one key for each.
        """
        rows = pc.fill_null(pc.index_in(pa.array(keys, pa.large_string()), self.keys), -1).to_numpy().astype(np.int64)
        rows_Q = rows if samples_Q is None else rows[samples_Q]
        if not len(self.ids_V):
            return np.full(len(rows_Q), -1)
        places_Q = rows_Q * self._stride + numbers_Q
        at_Q = np.minimum(np.searchsorted(self._places_V, places_Q), len(self._places_V) - 1)
        is_known_Q = (self._places_V[at_Q] == places_Q) & (rows_Q >= 0) & (numbers_Q < self._stride)
        return np.where(is_known_Q, self.ids_V[at_Q], -1)
