"""Engines that propose candidates: the protocol that each of them meets, and which there are."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, cast

import numpy as np

ENGINES = {"faiss": "bind.search.approximate.faiss_engine", "lancedb": "bind.search.approximate.lancedb_engine"}
"""Name → module; each is an extra of the same name."""


class Candidates(Protocol):
    """Vectors in clusters, of which a query looks through the nearest."""

    def search(self, queries_QD: np.ndarray, num: int, num_probes: int) -> np.ndarray:
        """Of `num_probes` clusters the `num` rows that seem nearest, int64 (Q, num), -1 behind the last."""


class ApproximateEngine(Protocol):
    """A module that builds and opens candidates in a folder that is its own."""

    def build(
        self, folder: Path, sample_SD: np.ndarray, vectors: Iterable[np.ndarray], dim: int, num_clusters: int
    ) -> None:
        """Write all vectors, fp32 (N, D) a piece at a time and of norm 1, in clusters that are found in a sample."""

    def open(self, folder: Path) -> Candidates:
        """What `build` wrote."""


def load_engine(name: str) -> ApproximateEngine:
    """The engine of a name.

    Raises:
        ValueError: for a name that there is not, or an extra that is not installed.
    """
    if name not in ENGINES:
        raise ValueError(f"approximate={name}: choose {' or '.join(ENGINES)}, or leave it out for an exact search")
    try:
        return cast(ApproximateEngine, importlib.import_module(ENGINES[name]))
    except ImportError as error:
        raise ValueError(f'approximate={name} needs {error.name}: pip install "bindspace[{name}]"') from error
