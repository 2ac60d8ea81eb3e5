"""Building of an approximation: as many clusters are probed as the wanted recall takes, measured on queries."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bind.files.locks import lock_folder
from bind.search.approximate.built import (
    FOLDER,
    Approximation,
    OpenApproximation,
    clusters_for,
    place_of,
    remove_approximation,
    write_about,
    write_engine_files,
)
from bind.search.approximate.engines import load_engine
from bind.search.approximate.search import ApproximatePool
from bind.search.pools import Pool
from bind.search.store import IndexStore
from bind.types import Modality

MAX_QUERIES = 1000
RECALL_AT = 10


def build_approximation(
    store: IndexStore,
    engine: str,
    modality: Modality,
    *,
    recall: float = 0.98,
    queries_QD: Tensor | None = None,
    described: str = "given",
) -> Approximation:
    """Build the approximation of a modality anew, and measure what it finds.

    Args:
        recall: of the ten best; clusters are probed until it is reached, or all of them.
        queries_QD: unit vectors that it is measured with, at most 1,000 of them; None: vectors of the index's other
            modalities, and where there are none, vectors of this one, each without itself.
        described: what those queries are.

    Raises:
        ValueError: for an engine that is not installed, or a modality without vectors.
    """
    load_engine(engine)
    pool = Pool(store, modality)
    if not len(pool):
        raise ValueError(f"{store.folder}: holds no {modality}; it has {', '.join(store.modalities) or 'nothing'}")
    own_rows = None
    if queries_QD is None:
        queries_QD, own_rows, described = queries_of_index(store, pool)
    else:
        queries_QD = queries_QD[evenly(len(queries_QD), MAX_QUERIES)].float()
    place = place_of(store.folder, engine, modality)
    with lock_folder(store.folder / FOLDER, "wait until it has ended"):
        remove_approximation(store.folder, engine, modality)
        with _removed_on_failure(place):
            place.mkdir(parents=True)
            parts = write_engine_files(store, engine, modality, place)
            names = {part.part.name: len(part) for part in parts}
            num_clusters = clusters_for(sum(names.values()))
            draft = Approximation(engine, modality, names, num_clusters, 1, 0.0, len(queries_QD), described)
            opened = OpenApproximation(store.folder, draft)
            exact = _best_rows(pool, queries_QD, own_rows)
            num_probes = 1
            while True:
                approximate = ApproximatePool(store, modality, opened, num_probes=num_probes)
                reached = share_found(exact, _best_rows(approximate, queries_QD, own_rows))
                if reached >= recall or num_probes == num_clusters:
                    break
                num_probes = min(2 * num_probes, num_clusters)
            about = Approximation(
                engine, modality, names, num_clusters, num_probes, reached, len(queries_QD), described
            )
            write_about(place, about)
    return about


@contextlib.contextmanager
def _removed_on_failure(place: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def queries_of_index(store: IndexStore, pool: Pool) -> tuple[Tensor, np.ndarray | None, str]:
    """Vectors of an index to ask a pool with, their own rows where they are of the pool, and what they are."""
    others = [Pool(store, modality) for modality in store.modalities if modality != pool.modality]
    others = [other for other in others if len(other)]
    if others:
        num_each = -(-MAX_QUERIES // len(others))
        vectors = torch.cat([other.vectors(evenly(len(other), num_each)) for other in others])
        return vectors, None, f"vectors of {', '.join(other.modality for other in others)} in the index"
    rows = evenly(len(pool), MAX_QUERIES)
    return pool.vectors(rows), rows, f"vectors of {pool.modality} in the index, each without itself"


def evenly(num: int, most: int) -> np.ndarray:
    """At most `most` of the numbers below `num`, evenly spaced."""
    return np.unique(np.linspace(0, num - 1, min(num, most)).round().astype(int))


def _best_rows(pool: Pool, queries_QD: Tensor, own_rows: np.ndarray | None) -> list[list[int]]:
    """The rows of the best of each query, without its own."""
    k = min(RECALL_AT + (own_rows is not None), len(pool))
    best = pool.search(queries_QD, k).rows_QK.tolist()
    if own_rows is not None:
        best = [[row for row in rows if row != own] for rows, own in zip(best, own_rows.tolist(), strict=True)]
    return [rows[:RECALL_AT] for rows in best]


def share_found(exact: list[list[int]], approximate: list[list[int]]) -> float:
    """Which share of the best rows of an exact search another has found.

    Examples:
        >>> share_found([[1, 2], [3, 4]], [[2, 1], [3, 9]])
        0.75
    """
    num_found = sum(len(set(a) & set(b)) for a, b in zip(exact, approximate, strict=True))
    return num_found / max(1, sum(map(len, exact)))
