"""Places of relevant items, counted in tiles: no Nq × Np matrix is ever held and no pool is ever sorted.

The pool is taken in the order of its groups, so that the relevant items of a query are consecutive columns. The scores
of those are its bars; then tile after tile of the pool goes by, and counted is what reaches a bar.

Shapes: Nq queries, Np pool, Q queries and P pool items of one tile, R relevant items of one query, K depths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bind.metrics.cosine import cosines, unit_fp32

SCORES_AT_ONCE = 1 << 22  # of a tile, unless a single query needs more; 16 MiB of fp32
_QUERIES_AT_ONCE = 4096
_COMPARED_BARS = 32  # up to here R comparisons of a tile are faster than one binary search per score
_ITEMS_PER_ROW = 2  # up to here queries are multiplied with their own items, beyond with their neighbours' too
_QUERIES_PER_PRODUCT = 64
_RELEVANT_AT_ONCE = 1 << 15


@dataclass(frozen=True)
class Relevance:
    """Which pool items are relevant to a query and which it must not see, as ranges of two orders of the pool.

    Attributes:
        order_N: int64 (Np,), pool positions sorted by group; a "column" is a position in this order.
        first_Q, num_Q: int64 (Nq,), the columns first … first + num - 1 have the query's group.
        relevant_E: int64 (E,) where an item may be of several groups: then these ranges are of this list of columns.
        hidden_columns_N: int64 (Np,), columns sorted by hidden id; None where every query sees the whole pool.
        hidden_first_Q, hidden_num_Q: int64 (Nq,), the range of `hidden_columns_N` that a query must not see.
        hidden_id_Q, hidden_id_N: int64, the ids themselves, the latter by column.
    """

    order_N: Tensor
    first_Q: Tensor
    num_Q: Tensor
    relevant_E: Tensor | None = None
    hidden_columns_N: Tensor | None = None
    hidden_first_Q: Tensor | None = None
    hidden_num_Q: Tensor | None = None
    hidden_id_Q: Tensor | None = None
    hidden_id_N: Tensor | None = None

    @classmethod
    def of(
        cls,
        query_groups: Tensor,
        pool_groups: Tensor,
        hidden: tuple[Tensor, Tensor] | None = None,
        pool_items: Tensor | None = None,
    ) -> Relevance:
        """`pool_items` (E,) names the item of each entry of `pool_groups` (E,); None: there is one entry an item."""
        order, first, num = _ranges(query_groups, pool_groups)
        relevant = None
        if pool_items is not None:
            relevant, order = pool_items[order], torch.arange(int(pool_items.max()) + 1, device=pool_items.device)
        if hidden is None:
            return cls(order, first, num, relevant)
        query_ids, pool_ids = hidden
        column_ids = pool_ids[order]
        columns, hidden_first, hidden_num = _ranges(query_ids, column_ids)
        return cls(order, first, num, relevant, columns, hidden_first, hidden_num, query_ids, column_ids)

    def relevant(self, start: int, stop: int, num_slots: int) -> tuple[Tensor, Tensor]:
        """Columns (Q, R) of the items of a tile's groups and which of them (Q, R) are there and may be seen."""
        slot_R = torch.arange(num_slots, device=self.order_N.device)
        places_QR = self.first_Q[start:stop, None] + slot_R
        columns_QR = self.columns(places_QR)
        real_QR = slot_R < self.num_Q[start:stop, None]
        if self.hidden_id_Q is not None and self.hidden_id_N is not None:
            real_QR &= self.hidden_id_N[columns_QR] != self.hidden_id_Q[start:stop, None]
        return columns_QR, real_QR

    def columns(self, places: Tensor) -> Tensor:
        """The columns at these places of the queries' ranges."""
        if self.relevant_E is None:
            return places.clamp(max=len(self.order_N) - 1)
        return self.relevant_E[places.clamp(max=len(self.relevant_E) - 1)]

    def leave_out(self, scores_QP: Tensor, start: int, column: int) -> None:
        """Put -inf, below every bar, where an item is of the query's group or hidden from it; `column` is the first."""
        if self.relevant_E is None:
            width = scores_QP.shape[1]
            first_Q = self.first_Q[start : start + len(scores_QP)] - column
            last_Q = first_Q + self.num_Q[start : start + len(scores_QP)]
            touched = (first_Q.clamp(min=0) < last_Q.clamp(max=width)).nonzero().flatten()
            if len(touched):
                rows, places = _expanded(first_Q[touched].clamp(min=0), last_Q[touched].clamp(max=width))
                scores_QP[touched[rows], places] = -torch.inf
        else:
            _leave_out_listed(scores_QP, start, column, self.relevant_E, self.first_Q, self.num_Q)
        if self.hidden_columns_N is not None:
            assert self.hidden_first_Q is not None
            assert self.hidden_num_Q is not None
            _leave_out_listed(scores_QP, start, column, self.hidden_columns_N, self.hidden_first_Q, self.hidden_num_Q)


def _leave_out_listed(
    scores_QP: Tensor, start: int, column: int, columns_E: Tensor, first_Q: Tensor, num_Q: Tensor
) -> None:
    """Put -inf where a query's range of a list of columns lies in the tile whose first column is `column`."""
    begin_Q = first_Q[start : start + len(scores_QP)]
    rows, places = _expanded(begin_Q, begin_Q + num_Q[start : start + len(scores_QP)])
    columns = columns_E[places] - column
    inside = (columns >= 0) & (columns < scores_QP.shape[1])
    scores_QP[rows[inside], columns[inside]] = -torch.inf


class Scores(Protocol):
    """Scores of the queries start … stop - 1, for columns in the order of a `Relevance`."""

    def bars(self, start: int, stop: int, columns_QR: Tensor) -> Tensor:
        """(Q, R) scores of these columns, of each row its own."""

    def tiles(self, start: int, stop: int) -> Iterator[tuple[int, Tensor]]:
        """First column and scores (Q, P) of each tile of the whole pool, to be written over."""


class CosineScores:
    """Cosines of vectors that are normalised tile by tile, so that no copy of the pool is made.

    The queries have to be sorted by group: then neighbours share their relevant items.
    """

    def __init__(self, z_query: Tensor, query_order: Tensor, z_pool: Tensor, relevance: Relevance) -> None:
        self.z_query, self.query_order, self.z_pool, self.relevance = z_query, query_order, z_pool, relevance

    def bars(self, start: int, stop: int, columns_QR: Tensor) -> Tensor:
        if columns_QR.shape[1] <= _ITEMS_PER_ROW:
            z_QRD = unit_fp32(self.z_pool[self.relevance.order_N[columns_QR]])
            return (unit_fp32(self.z_query[self.query_order[start:stop]])[:, None] * z_QRD).sum(-1)
        parts = range(start, stop, _QUERIES_PER_PRODUCT)
        return torch.cat([self._bars(s, min(s + _QUERIES_PER_PRODUCT, stop), columns_QR[s - start :]) for s in parts])

    def _bars(self, start: int, stop: int, columns_QR: Tensor) -> Tensor:
        num_Q, first_Q = self.relevance.num_Q[start:stop], self.relevance.first_Q[start:stop]
        columns_QR = columns_QR[: stop - start]
        is_new_Q = torch.ones_like(first_Q, dtype=torch.bool)
        is_new_Q[1:] = (first_Q[1:] != first_Q[:-1]) | (num_Q[1:] != num_Q[:-1])
        is_new_Q &= num_Q > 0
        _, wanted = _expanded(first_Q[is_new_Q], (first_Q + num_Q)[is_new_Q])
        if len(wanted) > _RELEVANT_AT_ONCE and stop - start > 1:
            middle = (start + stop) // 2
            halves = ((start, middle, columns_QR), (middle, stop, columns_QR[middle - start :]))
            return torch.cat([self._bars(*half) for half in halves])
        if not len(wanted):
            return columns_QR.new_zeros(columns_QR.shape, dtype=torch.float32)
        if self.relevance.relevant_E is not None:
            wanted = self.relevance.columns(wanted).unique()
        z_wanted = unit_fp32(self.z_pool[self.relevance.order_N[wanted]])
        scores = cosines(unit_fp32(self.z_query[self.query_order[start:stop]]), z_wanted)
        # `wanted` ascends, as queries and columns are both in the order of groups.
        place_QR = torch.searchsorted(wanted, columns_QR).clamp(max=len(wanted) - 1)
        return scores.gather(1, place_QR)

    def tiles(self, start: int, stop: int) -> Iterator[tuple[int, Tensor]]:
        z_tile = unit_fp32(self.z_query[self.query_order[start:stop]])
        order_N = self.relevance.order_N
        step = max(1, SCORES_AT_ONCE // (stop - start))
        for column in range(0, len(order_N), step):
            yield column, cosines(z_tile, unit_fp32(self.z_pool[order_N[column : column + step]]))


class RowScores:
    """Scores that come in whole rows from `score_rows(start, stop)`, in the pool's own order."""

    def __init__(self, score_rows: Callable[[int, int], Tensor], relevance: Relevance) -> None:
        self.score_rows, self.relevance = score_rows, relevance
        self._scores = torch.empty(0)

    def bars(self, start: int, stop: int, columns_QR: Tensor) -> Tensor:
        expected = (stop - start, len(self.relevance.order_N))
        scores = self.score_rows(start, stop)
        if scores.shape != expected:
            raise ValueError(f"score_rows({start}, {stop}) gave {tuple(scores.shape)}, not {expected}")
        if bool(scores.isnan().any()):
            raise ValueError(
                f"score_rows({start}, {stop}) gave NaN: check the embeddings of these queries and the pool"
            )
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        # -inf is what is left out of the counting; no score is the lowest score.
        self._scores = scores[:, self.relevance.order_N].clamp_(min=torch.finfo(scores.dtype).min)
        return self._scores.gather(1, columns_QR)

    def tiles(self, start: int, stop: int) -> Iterator[tuple[int, Tensor]]:
        yield 0, self._scores


def count_places(
    scores: Scores,
    relevance: Relevance,
    ks: Sequence[int],
    tie_tolerance: float,
    queries_at_once: int = _QUERIES_AT_ONCE,
) -> dict[str, Tensor]:
    """Count, per query (Nq,), `ranks`, `average_precision`, `ndcg`, `num_relevant`, and `num_found` among the first k.

    `num_found` is (Nq, K); figures of a query without relevant items mean nothing.

    An item's place is 1 + the irrelevant items that reach its score less `tie_tolerance` + the relevant ones above it.
    """
    num_queries, device = len(relevance.num_Q), relevance.order_N.device
    ideal_places_R = torch.arange(1, int(relevance.num_Q.max()) + 2, device=device)
    ideal_R = _gains(ideal_places_R).cumsum(0)
    parts: dict[str, list[Tensor]] = {
        name: [] for name in ("ranks", "average_precision", "ndcg", "num_relevant", "num_found")
    }
    stop = 0
    while stop < num_queries:
        start, stop = stop, min(stop + queries_at_once, num_queries)
        while (num_slots := max(1, int(relevance.num_Q[start:stop].max()))) * (stop - start) > SCORES_AT_ONCE:
            if stop - start == 1:
                break
            stop = (start + stop) // 2
        columns_QR, real_QR = relevance.relevant(start, stop, num_slots)
        bars_QR = scores.bars(start, stop, columns_QR).masked_fill(~real_QR, torch.inf).sort(dim=1).values
        bars_QR -= tie_tolerance
        ahead_QR = torch.zeros_like(columns_QR)
        for column, scores_QP in scores.tiles(start, stop):
            relevance.leave_out(scores_QP, start, column)
            _add_reaching(scores_QP, bars_QR, ahead_QR)
        num_Q = real_QR.sum(1)
        slot_R = torch.arange(num_slots, device=device)
        above_QR = num_Q[:, None] - slot_R  # ascending order: slot 0 is the last of the relevant items
        real_QR = above_QR > 0
        places_QR = above_QR + ahead_QR
        some_Q = num_Q.clamp(min=1)
        precision_QR = (above_QR.double() / places_QR).masked_fill(~real_QR, 0)
        gain_QR = _gains(places_QR).masked_fill(~real_QR, 0)
        parts["ranks"].append(places_QR.gather(1, some_Q[:, None] - 1)[:, 0])
        parts["average_precision"].append(precision_QR.sum(1) / some_Q)
        parts["ndcg"].append(gain_QR.sum(1) / ideal_R[some_Q - 1])
        parts["num_relevant"].append(num_Q)
        parts["num_found"].append(torch.stack([((places_QR <= k) & real_QR).sum(1) for k in ks], dim=1))
    return {name: torch.cat(tiles) for name, tiles in parts.items()}


def _gains(places: Tensor) -> Tensor:
    """Discounts of nDCG. Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques (2002)."""
    return 1 / torch.log2(1.0 + places.clamp(min=1).double())


def _add_reaching(scores_QP: Tensor, bars_QR: Tensor, ahead_QR: Tensor) -> None:
    """Add to column j of `ahead_QR` the scores that reach bar j; bars ascend along a row."""
    num_queries, num_bars = bars_QR.shape
    if num_bars <= _COMPARED_BARS:
        for j in range(num_bars):
            ahead_QR[:, j] += (scores_QP >= bars_QR[:, j : j + 1]).sum(1, dtype=torch.int32)
        return
    reached = torch.searchsorted(bars_QR, scores_QP.contiguous(), right=True)
    reached += torch.arange(num_queries, device=reached.device)[:, None] * (num_bars + 1)
    histogram = torch.bincount(reached.flatten(), minlength=num_queries * (num_bars + 1)).view(num_queries, -1)
    ahead_QR += histogram.flip(1).cumsum(1).flip(1)[:, 1:]


def _ranges(query_ids: Tensor, pool_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pool sorted by id, and of each query the first position with its id and how many there are."""
    sorted_ids, order = pool_ids.sort(stable=True)
    first = torch.searchsorted(sorted_ids, query_ids)
    return order, first, torch.searchsorted(sorted_ids, query_ids, right=True) - first


def _expanded(first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Every integer of the ranges first … last - 1 and the range it belongs to."""
    num = last - first
    rows = torch.repeat_interleave(torch.arange(len(num), device=num.device), num)
    offset = torch.arange(len(rows), device=num.device) - (num.cumsum(0) - num)[rows]
    return rows, first[rows] + offset
