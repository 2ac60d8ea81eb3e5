"""Engine LanceDB: a table on disk in clusters, of eight bits per dimension (IVF_SQ), of which a search reads a part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import IvfSq

from bind.files.reading import reading

TABLE = "vectors"


class LanceCandidates:
    """An opened table of LanceDB."""

    def __init__(self, table: lancedb.table.Table) -> None:
        self.table = table

    def search(self, queries_QD: np.ndarray, num: int, num_probes: int) -> np.ndarray:
        """See `Candidates.search`."""
        query = self.table.search([*queries_QD], vector_column_name="embedding").distance_type("cosine")
        hits = query.nprobes(num_probes).select(["row", "_distance"]).limit(num).to_arrow()
        rows_QC = np.full((len(queries_QD), num), -1)
        numbers = hits["query_index"].to_numpy() if "query_index" in hits.column_names else np.zeros(len(hits), int)
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        places = np.arange(len(numbers)) - np.searchsorted(numbers, numbers)
        rows_QC[numbers, places] = hits["row"].to_numpy()[order]
        return rows_QC


def build(folder: Path, sample_SD: np.ndarray, vectors: Iterable[np.ndarray], dim: int, num_clusters: int) -> None:
    """See `ApproximateEngine.build`; LanceDB takes a sample of its own."""
    schema = pa.schema([("row", pa.int64()), ("embedding", pa.list_(pa.float32(), dim))])

    def batches() -> Iterator[pa.RecordBatch]:
        first = 0
        for piece_ND in vectors:
            rows = pa.array(np.arange(first, first + len(piece_ND)))
            flat = pa.array(np.ascontiguousarray(piece_ND, np.float32).reshape(-1))
            yield pa.record_batch([rows, pa.FixedSizeListArray.from_arrays(flat, dim)], schema=schema)
            first += len(piece_ND)

    table = lancedb.connect(str(folder)).create_table(TABLE, data=batches(), schema=schema)
    table.create_index("embedding", config=IvfSq(distance_type="cosine", num_partitions=num_clusters))


def open(folder: Path) -> LanceCandidates:
    """See `ApproximateEngine.open`."""
    with reading(str(folder), "not readable as a table of LanceDB", "Build it again"):
        return LanceCandidates(lancedb.connect(str(folder)).open_table(TABLE))
