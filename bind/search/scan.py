"""Exact search: every vector is scanned in tiles, the best are scored again, and a bound proves that none is missed.

A score is the dot product of a query in fp32 with a stored fp16 vector, rounded to fp32 once. A scan in products of
fp32, or of a rounded copy, comes near it, by at most `scan_errors`. Its best candidates are scored exactly. Where the
k-th of them is not better than all that was left out could be, the query is scanned again, and whatever may belong to
its best k is scored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from bind.search.parts import OpenPart
from bind.search.rounding import is_multiplied_as_stored, scan_errors, tile_scores

MAX_QUERIES = 256
"""At a time."""
FEW_QUERIES = 16
TILE_ROWS, TILE_ROWS_OF_FEW = 1024, 4096
"""Tiles that are cast stay in a core's cache; for a single query the calls of tiles cost more than that."""
UNCAST_TILE_ROWS, UNCAST_TILE_ROWS_OF_FEW = 4096, 16384
"""Of what the processor multiplies as it is stored, which is read once."""
ROWS_PER_THREAD = 2**16
SPARE_CANDIDATES = 32

T = TypeVar("T")
Keys = Callable[[np.ndarray], Sequence[Any]]
"""What equal scores are ordered by: from row numbers of a pool to something that can be compared."""


@dataclass(frozen=True)
class Stretch:
    """Some rows of a part as a piece of a pool.

    Attributes:
        part: whose vectors they are.
        rows: int64 (R,), ascending; None: all.
    """

    part: OpenPart
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.part) if self.rows is None else len(self.rows)

    def take(self, tensor: Tensor, start: int, stop: int) -> Tensor:
        """Those of the rows `start` to `stop` of the stretch, of a tensor that has all rows of the part."""
        return tensor[start:stop] if self.rows is None else tensor[self.rows[start:stop]]


@dataclass(frozen=True)
class Best:
    """The best of a pool for every query.

    Attributes:
        scores_QK: fp32, descending; -inf behind the last where the pool has fewer than k.
        rows_QK: int64, numbers of rows of the pool, its stretches one after the other; -1 there.
        num_scanned_again: of how many queries the first scan was no proof.
    """

    scores_QK: Tensor
    rows_QK: Tensor
    num_scanned_again: int = 0


def search_exactly(pool: Sequence[Stretch], queries_QD: Tensor, k: int, keys: Keys) -> Best:
    """The `k` best of a pool for every query, as a sort of all scores would find them; ties in the order of their keys.

    Args:
        pool: stretches of parts.
        queries_QD: fp32.
        k: at least 1.
        keys: of rows.

    Examples:
        >>> from bind.search.parts import OpenPart
        >>> search_exactly([], torch.ones(1, 4), 2, list).rows_QK
        tensor([[-1, -1]])
    """
    pool = [stretch for stretch in pool if len(stretch)]
    chunks = [_search_chunk(pool, chunk, k, keys) for chunk in queries_QD.detach().float().split(MAX_QUERIES)]
    if not chunks:
        return Best(torch.zeros(0, k), torch.zeros(0, k, dtype=torch.long))
    return Best(
        torch.cat([best.scores_QK for best in chunks]),
        torch.cat([best.rows_QK for best in chunks]),
        sum(best.num_scanned_again for best in chunks),
    )


def _search_chunk(pool: Sequence[Stretch], queries_QD: Tensor, k: int, keys: Keys) -> Best:
    num_queries, num_rows = len(queries_QD), sum(map(len, pool))
    scores_QK = torch.full((num_queries, k), -torch.inf)
    rows_QK = torch.full((num_queries, k), -1)
    if not num_rows:
        return Best(scores_QK, rows_QK)
    num_candidates = min(2 * k + SPARE_CANDIDATES, num_rows)
    near_QC, candidates_QC = _scan(pool, queries_QD, num_candidates)
    errors_Q = _largest_error(pool, queries_QD)
    exact_QC = score_rows(pool, queries_QD, candidates_QC)
    left_out_Q = near_QC[:, -1].double() + errors_Q  # nothing that is no candidate has a higher score
    again: list[int] = []
    for q in range(num_queries):
        scores, rows = order_candidates(exact_QC[q], candidates_QC[q], k, keys)
        if num_candidates < num_rows and not scores[-1].double() > left_out_Q[q]:
            again.append(q)
        scores_QK[q, : len(scores)], rows_QK[q, : len(rows)] = scores, rows
    if again:
        floors_A = scores_QK[again, min(k, num_rows) - 1].double() - errors_Q[again]
        for q, (scores, rows) in zip(again, _scan_above(pool, queries_QD[again], floors_A, k, keys), strict=True):
            scores_QK[q, : len(scores)], rows_QK[q, : len(rows)] = scores, rows
    return Best(scores_QK, rows_QK, len(again))


def _largest_error(pool: Sequence[Stretch], queries_QD: Tensor) -> Tensor:
    kinds = {(s.part.part.scan, s.part.part.max_norm, s.part.part.residual) for s in pool}
    return torch.stack([scan_errors(queries_QD, *kind) for kind in kinds]).amax(dim=0)


def score_rows(pool: Sequence[Stretch], queries_QD: Tensor, rows_QC: Tensor) -> Tensor:
    """Scores (Q, C) fp32 of these rows of a pool: products and sums in fp64, rounded once."""
    starts = np.cumsum([0, *map(len, pool)])
    unique_rows, places = torch.unique(rows_QC, return_inverse=True)
    vectors_UD = torch.empty(len(unique_rows), queries_QD.shape[1], dtype=torch.float16)
    numbers = np.searchsorted(starts, unique_rows.numpy(), side="right") - 1
    for number in np.unique(numbers).tolist():
        chosen = torch.from_numpy(numbers == number)
        rows = unique_rows[chosen] - int(starts[number])
        stretch = pool[number]
        vectors_UD[chosen] = stretch.part.vectors[rows if stretch.rows is None else stretch.rows[rows]]
    scores_QC = torch.empty(rows_QC.shape)
    for q, query_D in enumerate(queries_QD.double()):
        scores_QC[q] = (vectors_UD[places[q]].double() * query_D).sum(dim=1).float()
    if not bool(torch.isfinite(scores_QC).all()):
        raise ValueError(f"{pool[0].part.folder}: holds vectors that are not finite; make the index anew")
    return scores_QC


def order_candidates(scores_C: Tensor, rows_C: Tensor, k: int, keys: Keys) -> tuple[Tensor, Tensor]:
    """The `k` best, equal ones in the order of their keys."""
    order = torch.argsort(scores_C, descending=True, stable=True)
    scores, rows = scores_C[order], rows_C[order]
    if len(scores) > 1 and bool((scores[1:] == scores[:-1]).any()):
        starts = [0, *((scores[1:] != scores[:-1]).nonzero().flatten() + 1).tolist(), len(scores)]
        for start, stop in pairwise(starts):
            if stop - start > 1 and start < k:
                of_run = rows[start:stop].clone()
                by_key = sorted(range(stop - start), key=keys(of_run.numpy()).__getitem__)
                rows[start:stop] = of_run[by_key]
    return scores[:k], rows[:k]


class _Candidates:
    """The best `num` rows of what one thread has scanned, for every query."""

    def __init__(self, num_queries: int, num: int) -> None:
        self.num = num
        self.scores_QC = torch.full((num_queries, num), -torch.inf)
        self.rows_QC = torch.full((num_queries, num), -1)

    def add(self, scores_QR: Tensor, first_row: int) -> None:
        """Take those of a tile that are better than the worst so far."""
        hits_QR = scores_QR > self.scores_QC[:, -1:]
        num_hits = int(hits_QR.sum(dim=1).max())
        if num_hits == 0:
            return
        if num_hits > scores_QR.shape[1] // 8:
            scores_QH, places_QH = scores_QR.topk(min(self.num, scores_QR.shape[1]))
            rows_QH = places_QH + first_row
        else:
            queries, places = hits_QR.nonzero(as_tuple=True)
            counts_Q = torch.bincount(queries, minlength=len(scores_QR))
            columns = torch.arange(len(queries)) - (counts_Q.cumsum(0) - counts_Q)[queries]
            scores_QH = torch.full((len(scores_QR), num_hits), -torch.inf)
            rows_QH = torch.full((len(scores_QR), num_hits), -1)
            scores_QH[queries, columns] = scores_QR[queries, places]
            rows_QH[queries, columns] = places + first_row
        self.merge(scores_QH, rows_QH)

    def merge(self, scores_QH: Tensor, rows_QH: Tensor) -> None:
        scores = torch.cat([self.scores_QC, scores_QH], dim=1)
        self.scores_QC, places = scores.topk(self.num)
        self.rows_QC = torch.cat([self.rows_QC, rows_QH], dim=1).gather(1, places)


def _scan(pool: Sequence[Stretch], queries_QD: Tensor, num_candidates: int) -> tuple[Tensor, Tensor]:
    """The best candidates by the scores of the scan, (Q, C) each, the best first."""

    def scan(tiles: Iterable[_Tile]) -> _Candidates:
        candidates = _Candidates(len(queries_QD), num_candidates)
        for tile, scores_QR in _scored(tiles, queries_QD):
            candidates.add(scores_QR, tile.first_row)
        return candidates

    first, *others = _in_threads(scan, pool, len(queries_QD))
    for other in others:
        first.merge(other.scores_QC, other.rows_QC)
    return first.scores_QC, first.rows_QC


def _scan_above(
    pool: Sequence[Stretch], queries_AD: Tensor, floors_A: Tensor, k: int, keys: Keys
) -> list[tuple[Tensor, Tensor]]:
    """The `k` best of all rows whose score of the scan is at least `floors_A`, which all of the best have."""
    # Rounded down, so that no comparison in fp32 leaves a row out.
    floors_A1 = torch.nextafter(floors_A.float(), torch.tensor(-torch.inf))[:, None]

    def scan(tiles: Iterable[_Tile]) -> list[tuple[Tensor, Tensor]]:
        best = [(torch.zeros(0), torch.zeros(0, dtype=torch.long))] * len(queries_AD)
        for tile, scores_AR in _scored(tiles, queries_AD):
            hits_AR = scores_AR >= floors_A1
            for a in hits_AR.any(dim=1).nonzero().flatten().tolist():
                rows = hits_AR[a].nonzero().flatten() + tile.first_row
                scores = score_rows(pool, queries_AD[a : a + 1], rows[None])[0]
                best[a] = order_candidates(torch.cat([best[a][0], scores]), torch.cat([best[a][1], rows]), k, keys)
        return best

    of_threads = _in_threads(scan, pool, len(queries_AD))
    merged = []
    for a in range(len(queries_AD)):
        scores, rows = (torch.cat([best[a][i] for best in of_threads]) for i in (0, 1))
        merged.append(order_candidates(scores, rows, k, keys))
    return merged


@dataclass(frozen=True, slots=True)
class _Tile:
    """The rows `start` to `stop` of a stretch; the first of them is the row `first_row` of the pool."""

    stretch: Stretch
    start: int
    stop: int
    first_row: int


def _tiles(pool: Sequence[Stretch], num_queries: int) -> list[_Tile]:
    is_few = num_queries <= FEW_QUERIES
    tiles, first_row = [], 0
    for stretch in pool:
        if is_multiplied_as_stored(stretch.part.part.scan):
            size = UNCAST_TILE_ROWS_OF_FEW if is_few else UNCAST_TILE_ROWS
        else:
            size = TILE_ROWS_OF_FEW if is_few else TILE_ROWS
        for start in range(0, len(stretch), size):
            tiles.append(_Tile(stretch, start, min(start + size, len(stretch)), first_row + start))
        first_row += len(stretch)
    return tiles


def _scored(tiles: Iterable[_Tile], queries_QD: Tensor) -> Iterator[tuple[_Tile, Tensor]]:
    """Every tile with its scores (Q, R)."""
    buffer_RD = torch.empty(0, queries_QD.shape[1])
    for tile in tiles:
        is_stored = is_multiplied_as_stored(tile.stretch.part.part.scan)
        if not is_stored and len(buffer_RD) < tile.stop - tile.start:
            buffer_RD = torch.empty(tile.stop - tile.start, queries_QD.shape[1])
        part = tile.stretch.part
        tile_RD = tile.stretch.take(part.scanned, tile.start, tile.stop)
        scales_R = None if part.scales is None else tile.stretch.take(part.scales, tile.start, tile.stop)
        yield tile, tile_scores(queries_QD, tile_RD, scales_R, buffer_RD)


def _in_threads(scan: Callable[[Iterable[_Tile]], T], pool: Sequence[Stretch], num_queries: int) -> list[T]:
    """What `scan` returns in each of several threads, each on one core, which take one tile after the other.

    Threads that share every product would wait for one another at each tile, which on a machine with other work takes
    many times longer than the product; of threads with equal shares the one on the slower core would be waited for.
    """
    tiles = _tiles(pool, num_queries)
    num_threads = max(1, min(torch.get_num_threads(), sum(map(len, pool)) // ROWS_PER_THREAD, len(tiles)))
    if num_threads == 1:
        return [scan(tiles)]
    waiting = deque(tiles)
    num_before = torch.get_num_threads()

    def take() -> Iterator[_Tile]:
        while True:
            try:
                tile = waiting.popleft()
            except IndexError:
                return
            yield tile

    def begin(_: int) -> T:
        torch.set_num_threads(1)
        return scan(take())

    try:
        with ThreadPoolExecutor(num_threads, thread_name_prefix="scan") as threads:
            return list(threads.map(begin, range(num_threads)))
    finally:
        torch.set_num_threads(num_before)  # that of the mathematics library is one for all threads
