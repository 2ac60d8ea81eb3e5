"""Engine faiss: an inverted file whose vectors have eight bits per dimension (IVF, SQ8)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import faiss
import numpy as np

from bind.files.reading import reading
from bind.files.writing import write_bytes

FILE = "vectors.faiss"


class FaissCandidates:
    """An opened index of faiss."""

    def __init__(self, index: faiss.IndexIVF) -> None:
        self.index = index

    def search(self, queries_QD: np.ndarray, num: int, num_probes: int) -> np.ndarray:
        """See `Candidates.search`."""
        rows_QC: np.ndarray
        _, rows_QC = self.index.search(queries_QD, num, params=faiss.SearchParametersIVF(nprobe=num_probes))
        return rows_QC


def build(folder: Path, sample_SD: np.ndarray, vectors: Iterable[np.ndarray], dim: int, num_clusters: int) -> None:
    """See `ApproximateEngine.build`."""
    index = faiss.index_factory(dim, f"IVF{num_clusters},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # few vectors are no reason to print a warning
    index.train(sample_SD)
    for piece_ND in vectors:
        index.add(piece_ND)
    write_bytes(folder / FILE, faiss.serialize_index(index).data)


def open(folder: Path) -> FaissCandidates:
    """See `ApproximateEngine.open`."""
    with reading(folder / FILE, "not readable as an index of faiss", "Build it again"):
        return FaissCandidates(faiss.read_index(str(folder / FILE)))
