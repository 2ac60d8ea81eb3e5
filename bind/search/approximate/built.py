"""Approximations of a pool on disk: the parts of the index that they hold, and the recall that was measured.

INDEX/approximate/ENGINE.MODALITY/   about.json, and the engine's files
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bind.files.plain_data import read_json, require_each, require_kinds
from bind.files.writing import write_text
from bind.search.approximate.engines import Candidates, load_engine
from bind.search.parts import OpenPart
from bind.search.pools import Pool
from bind.search.store import IndexStore
from bind.types import Modality

FOLDER = "approximate"
ABOUT = "about.json"
MAX_BYTES = 2**24
PIECE_ROWS = 2**16
SAMPLE_PER_CLUSTER = 64
LEAST_RECALL = 0.95
"""An approximation below it warns whenever it is used."""
MAX_QUERIES = 1000


@dataclass(frozen=True, slots=True)
class Approximation:
    """What is known of one.

    Attributes:
        engine, modality: its name says both.
        parts: of the index, in the order of its rows, name → number of vectors; vectors in other parts are scanned.
        num_clusters: of the vectors.
        num_probes: how many of them a query looks through.
        recall: the share of the ten best of an exact search that it finds, of `num_queries` queries.
        queries: what those were.
    """

    engine: str
    modality: Modality
    parts: Mapping[str, int]
    num_clusters: int
    num_probes: int
    recall: float
    num_queries: int
    queries: str

    def __str__(self) -> str:
        return (
            f"{self.engine}, {self.modality}: finds {self.recall:.1%} of the ten best of an exact search "
            f"({self.num_queries:,} queries: {self.queries}; {self.num_probes} of {self.num_clusters} clusters)"
        )

    @property
    def warning(self) -> str | None:
        """What to say wherever it is used."""
        if self.recall >= LEAST_RECALL:
            return None
        return (
            f"the approximate index finds only {self.recall:.1%} of the ten best {self.modality} hits; build it with a "
            "higher recall=, or search exactly"
        )


def place_of(folder: Path, engine: str, modality: Modality) -> Path:
    """The folder of an approximation."""
    return folder / FOLDER / f"{engine}.{modality}"


def write_engine_files(store: IndexStore, engine: str, modality: Modality, partial: Path) -> list[OpenPart]:
    """Write all vectors of a modality as an engine has them; returns the parts in the order of the rows."""
    parts = [part for part in store.parts if part.part.modality == modality]
    num = sum(map(len, parts))
    num_clusters = clusters_for(num)
    starts = np.cumsum([0, *map(len, parts)])
    chosen = np.unique(np.linspace(0, num - 1, min(num, SAMPLE_PER_CLUSTER * num_clusters)).round().astype(int))
    numbers = np.searchsorted(starts, chosen, side="right") - 1
    sample = torch.cat([p.vectors[torch.from_numpy(chosen[numbers == n] - starts[n])] for n, p in enumerate(parts)])

    def pieces() -> Iterator[np.ndarray]:
        for part in parts:
            for piece in part.vectors.split(PIECE_ROWS):
                yield piece.float().numpy()

    load_engine(engine).build(partial, sample.float().numpy(), pieces(), store.listing.dim, num_clusters)
    return parts


def clusters_for(num_vectors: int) -> int:
    """About 4 √N, with at least 39 vectors in each.

    Examples:
        >>> clusters_for(10), clusters_for(10_000), clusters_for(1_000_000)
        (1, 256, 4000)
    """
    return max(1, min(round(4 * math.sqrt(num_vectors)), num_vectors // 39))


def write_about(folder: Path, about: Approximation) -> None:
    """Write what is known of an approximation, which makes it one that can be opened."""
    write_text(folder / ABOUT, json.dumps(asdict(about), indent=1) + "\n")


def read_about(folder: Path, engine: str, modality: Modality) -> Approximation | None:
    """What is known of an approximation, where there is one."""
    path = place_of(folder, engine, modality) / ABOUT
    if not path.is_file():
        return None
    kinds = {"engine": str, "modality": str, "parts": dict, "num_clusters": int, "num_probes": int}
    kinds |= {"recall": float, "num_queries": int, "queries": str}
    values = require_kinds(read_json(path, max_bytes=MAX_BYTES), kinds, str(path))
    counts = [values["num_clusters"], values["num_probes"], *values["parts"].values()]
    require_each(counts, lambda count: isinstance(count, int) and count > 0, str(path), "a count above 0")
    return Approximation(**{name: values[name] for name in kinds})


def remove_approximation(folder: Path, engine: str, modality: Modality) -> None:
    """Delete an approximation: first what makes it one."""
    place = place_of(folder, engine, modality)
    (place / ABOUT).unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)


class OpenApproximation:
    """An approximation that is searched.

    Args:
        folder: of the index.
        about: of it.
    """

    def __init__(self, folder: Path, about: Approximation) -> None:
        self.about = about
        self.candidates: Candidates = load_engine(about.engine).open(place_of(folder, about.engine, about.modality))
        self._names = list(about.parts)
        self._starts = np.cumsum([0, *about.parts.values()])

    def find_rows(self, pool: Pool, queries_QD: Tensor, num: int, num_probes: int) -> np.ndarray:
        """Rows of a pool that seem nearest, int64 (Q, num), in any order; -1 where the pool lacks a candidate."""
        queries = np.ascontiguousarray(queries_QD.numpy(), np.float32)
        rows_QC = self.candidates.search(queries, num, num_probes)
        flat = rows_QC.reshape(-1)
        in_pool = np.full(flat.shape, -1)
        is_row = (flat >= 0) & (flat < self._starts[-1])
        numbers = np.searchsorted(self._starts, flat, side="right") - 1
        stretches = {stretch.part.part.name: n for n, stretch in enumerate(pool.stretches)}
        for number in np.unique(numbers[is_row]).tolist():
            n = stretches.get(self._names[number])
            if n is not None:
                chosen = is_row & (numbers == number)
                in_part = flat[chosen] - self._starts[number]
                in_pool[chosen] = _in_stretch(in_part, pool.stretches[n].rows, int(pool.starts[n]))
        return in_pool.reshape(rows_QC.shape)


def _in_stretch(rows_R: np.ndarray, kept: Tensor | None, start: int) -> np.ndarray:
    """Rows of a part as rows of a pool whose stretch begins at `start`; -1 where the stretch does not keep them."""
    if kept is None:
        whole: np.ndarray = start + rows_R
        return whole
    places = np.searchsorted(kept.numpy(), rows_R).clip(max=len(kept) - 1)
    return np.where(kept.numpy()[places] == rows_R, start + places, -1)
