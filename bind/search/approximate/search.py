"""Approximate search: an engine proposes candidates, which are scored as an exact search scores them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bind.search.approximate.built import OpenApproximation
from bind.search.filters import Filter
from bind.search.pools import Pool
from bind.search.scan import Best, order_candidates, score_rows, search_exactly
from bind.search.store import IndexStore
from bind.types import Modality

SPARE_CANDIDATES = 32
LEAST_SHARE = 0.1
"""Of a pool's vectors, that a condition has to leave; of fewer an exact scan is as fast, and misses nothing."""
MAX_QUERIES = 256


class ApproximatePool(Pool):
    """A pool whose vectors an approximation has seen are searched by it, and the others exactly.

    Args:
        opened: the approximation of this modality.
        num_probes: clusters that a query looks through; None: those with which it reached its recall.
    """

    def __init__(
        self,
        store: IndexStore,
        modality: Modality,
        opened: OpenApproximation,
        where: Filter | None = None,
        num_probes: int | None = None,
    ) -> None:
        super().__init__(store, modality, where)
        self.opened = opened
        self.num_probes = num_probes or opened.about.num_probes

    @cached_property
    def _covered(self) -> list[int]:
        """Numbers of the stretches whose vectors the approximation has."""
        sizes = self.opened.about.parts
        return [n for n, stretch in enumerate(self.stretches) if sizes.get(stretch.part.part.name) == len(stretch.part)]

    def search(self, queries_QD: Tensor, k: int) -> Best:
        """The best of the candidates and of what is scanned; a query with too few candidates is searched exactly."""
        num_covered = sum(len(self.stretches[n]) for n in self._covered)
        num_of_engine = sum(self.opened.about.parts.values())
        if num_covered < max(LEAST_SHARE * num_of_engine, 4 * k):
            return super().search(queries_QD, k)
        num = round((2 * k + SPARE_CANDIDATES) * num_of_engine / num_covered)
        chunks = [self._search_chunk(chunk, k, min(num, num_of_engine)) for chunk in queries_QD.split(MAX_QUERIES)]
        return Best(torch.cat([best.scores_QK for best in chunks]), torch.cat([best.rows_QK for best in chunks]))

    def _search_chunk(self, queries_QD: Tensor, k: int, num: int) -> Best:
        rows_QC = torch.from_numpy(self.opened.find_rows(self, queries_QD, num, self.num_probes))
        is_there_QC = rows_QC >= 0
        scores_QC = score_rows(self.stretches, queries_QD, rows_QC.clamp_min(0))
        scanned_scores_QK, scanned_rows_QK = self._scan_others(queries_QD, k)
        scores_QK = torch.full((len(queries_QD), k), -torch.inf)
        rows_QK = torch.full((len(queries_QD), k), -1)
        alone = []
        for q in range(len(queries_QD)):
            scores = torch.cat([scores_QC[q][is_there_QC[q]], scanned_scores_QK[q]])
            rows = torch.cat([rows_QC[q][is_there_QC[q]], scanned_rows_QK[q]])
            if int(is_there_QC[q].sum()) < k:
                alone.append(q)
            else:
                scores_QK[q], rows_QK[q] = order_candidates(scores, rows, k, self.keys)
        if alone:
            exact = super().search(queries_QD[alone], k)
            scores_QK[alone], rows_QK[alone] = exact.scores_QK, exact.rows_QK
        return Best(scores_QK, rows_QK)

    def _scan_others(self, queries_QD: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The best of vectors that were added since, (Q, K) each, as rows of the pool."""
        others = [n for n in range(len(self.stretches)) if n not in set(self._covered)]
        best = search_exactly([self.stretches[n] for n in others], queries_QD, k, lambda rows: self.keys(offset(rows)))
        starts = np.cumsum([0, *(len(self.stretches[n]) for n in others)])

        def offset(rows: np.ndarray) -> np.ndarray:
            numbers = np.searchsorted(starts, rows, side="right") - 1
            moved: np.ndarray = rows - starts[numbers] + self.starts[np.array(others)[numbers]]
            return moved

        num = min(k, int(starts[-1]))
        rows_QK = best.rows_QK[:, :num]
        return best.scores_QK[:, :num], torch.from_numpy(offset(rows_QK.numpy())) if num else rows_QK
