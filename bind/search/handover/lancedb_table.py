"""Table of LanceDB, in a folder or on object storage, that takes an index over."""

from __future__ import annotations

from collections.abc import Mapping

import lancedb
import numpy as np
import pyarrow as pa

from bind.search.handover.batches import VectorBatch


class LanceWriter:
    """See `bind.search.handover.engines.Writer`."""

    batch_size = 8192

    def __init__(self, table: lancedb.table.Table, schema: pa.Schema) -> None:
        self.table, self.schema = table, schema

    def write(self, batch: VectorBatch) -> None:
        """See `Writer.write`."""
        num_rows, dim = batch.vectors_ND.shape
        flat = pa.array(np.ascontiguousarray(batch.vectors_ND).reshape(-1))
        values = {**batch.columns, "id": batch.ids, "modality": [batch.modality] * num_rows}
        values["vector"] = pa.FixedSizeListArray.from_arrays(flat, dim)
        arrays = [pa.array(values[field.name], field.type) for field in self.schema]
        rows = pa.table(arrays, schema=self.schema)
        self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def count(self) -> int:
        """See `Writer.count`."""
        return int(self.table.count_rows())

    def close(self) -> None:
        """See `Writer.close`."""


def open_writer(
    uri: str, collection: str, dim: int, columns: Mapping[str, pa.DataType], token: str | None
) -> LanceWriter:
    """See `bind.search.handover.engines.WritableEngine`."""
    schema = pa.schema(
        [
            pa.field("id", pa.string()),
            pa.field("modality", pa.string()),
            *(pa.field(name, kind) for name, kind in columns.items()),
            pa.field("vector", pa.list_(pa.float32(), dim)),
        ]
    )
    database = lancedb.connect(uri, **({} if token is None else {"api_key": token}))
    try:
        table = database.create_table(collection, schema=schema, exist_ok=True)
    except ValueError as error:
        raise ValueError(
            f"{uri}: its table {collection} has other columns or vectors than the index; choose another collection= "
            f"({error})"
        ) from error
    return LanceWriter(table, schema)
