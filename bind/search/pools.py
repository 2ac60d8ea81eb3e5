"""Pools: the vectors of one modality in an index that a search looks through, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from bind.search.filters import Filter
from bind.search.scan import Best, Stretch, search_exactly
from bind.search.store import IndexStore
from bind.types import Modality

SAMPLE_ROWS = 4096
"""Of a pool, at most: what the mean and the spread of a query's scores are taken from."""


class Pool:
    """The vectors of a modality that are not deleted, or those of them that meet a condition.

    Args:
        store: of the index.
        modality: of the vectors.
        where: None: all.
    """

    def __init__(self, store: IndexStore, modality: Modality, where: Filter | None = None) -> None:
        self.modality = modality
        self.stretches: list[Stretch] = []
        for part in store.parts:
            if part.part.modality == modality:
                rows = None
                if part.part.name in store.deletions or where is not None:
                    kept = store.rows_of(part)
                    if where is not None:
                        kept = kept[where.mask(part.table, modality)[kept]]
                    rows = torch.from_numpy(kept)
                self.stretches.append(Stretch(part, rows))
        self.stretches = [stretch for stretch in self.stretches if len(stretch)]
        self.starts = np.cumsum([0, *map(len, self.stretches)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def search(self, queries_QD: Tensor, k: int) -> Best:
        """The exact best, see `search_exactly`."""
        return search_exactly(self.stretches, queries_QD, k, self.keys)

    def _places(self, rows_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The number of the stretch of each row, and its row in the stretch's part."""
        numbers = np.searchsorted(self.starts, rows_R, side="right") - 1
        in_part = rows_R - self.starts[numbers]
        for number in np.unique(numbers).tolist():
            if (rows := self.stretches[number].rows) is not None:
                chosen = numbers == number
                in_part[chosen] = rows.numpy()[in_part[chosen]]
        return numbers, in_part

    def cells(self, rows_R: np.ndarray, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """What is known of these rows, a dict each."""
        cells: list[dict[str, Any]] = [{} for _ in rows_R]
        numbers, in_part = self._places(np.asarray(rows_R))
        for number in np.unique(numbers).tolist():
            table = self.stretches[number].part.table
            table = table if columns is None else table.select(list(columns))
            places = np.flatnonzero(numbers == number)
            for place, row in zip(places.tolist(), table.take(pa.array(in_part[places])).to_pylist(), strict=True):
                cells[place] = row
        return cells

    def keys(self, rows_R: np.ndarray) -> list[tuple[str, int]]:
        """What equal scores are ordered by: the key, and the number of the value among those of its sample."""
        return [(row["key"], row["number"]) for row in self.cells(rows_R, ["key", "number"])]

    def vectors(self, rows_R: np.ndarray) -> Tensor:
        """The stored vectors (R, D) fp32 of these rows."""
        numbers, in_part = self._places(np.asarray(rows_R))
        picked = [
            self.stretches[n].part.vectors[row] for n, row in zip(numbers.tolist(), in_part.tolist(), strict=True)
        ]
        return torch.stack(picked).float()

    @cached_property
    def sample(self) -> Tensor:
        """At most `SAMPLE_ROWS` of the vectors, evenly spaced, fp32."""
        return self.vectors(np.unique(np.linspace(0, len(self) - 1, min(SAMPLE_ROWS, len(self))).round().astype(int)))

    def score_spread(self, queries_QD: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (Q,) of each query's scores in the pool, estimated of `sample`.

        Of more than `SAMPLE_ROWS` vectors the mean is within 5 % of a standard deviation (three of its own).
        """
        scores_QS = queries_QD @ self.sample.T
        spread_Q = scores_QS.std(dim=1, correction=0)
        return scores_QS.mean(dim=1), spread_Q.clamp_min(MIN_SPREAD)


MIN_SPREAD = 1e-4
"""So that a pool of one vector, or of equal ones, has a standard score: 0."""
