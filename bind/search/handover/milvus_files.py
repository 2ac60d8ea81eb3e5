"""Parquet files of Milvus's bulk import, and the two requests that make the collection and import them.

FOLDER/
  1.parquet, 2.parquet, …   a column for each field, as Milvus's own bulk writer lays them out
  collection.json           the body of POST /v2/vectordb/collections/create
  import_1.json, …          of POST /v2/vectordb/jobs/import/create; files are named from the folder above

Source: Milvus's documentation of data import: vectors as lists of fp32, row groups of some 32 MB.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bind.files.locks import lock_folder
from bind.files.writing import open_atomically, remove_partial_files, write_text
from bind.search.handover.batches import VectorBatch
from bind.search.handover.milvus import INDEX, require_short_texts

COLLECTION = "collection.json"
OWN_FILES = re.compile(r"[0-9]+\.parquet|collection\.json|import_[0-9]+\.json|.*\.(partial|lock)", re.ASCII)
ROW_GROUP_BYTES = 32 * 2**20
FILE_BYTES = 2**27
"""Of the vectors of a file at most, as of Milvus's own bulk writer."""
MAX_FILES = 1024
"""Of an import, as a server takes them unless it is told otherwise."""


class MilvusFiles:
    """See `bind.search.handover.engines.Writer`; files of an earlier hand-over are written over.

    Args:
        folder: of the files.
        collection: the name of the collection that will hold them.
        fields: of it.
        columns: of the index's tables.

    Raises:
        ValueError: where the folder holds something else, or files of a collection with other fields.
    """

    def __init__(
        self,
        folder: Path,
        collection: str,
        fields: Sequence[dict[str, Any]],
        columns: Mapping[str, pa.DataType],
    ) -> None:
        self.folder, self.collection = folder, collection
        self.schema = pa.schema(
            [
                pa.field("id", pa.string()),
                pa.field("modality", pa.string()),
                *(pa.field(name, kind) for name, kind in columns.items()),
                pa.field("vector", pa.list_(pa.float32())),
            ]
        )
        self.batch_size = max(1, min(2**16, FILE_BYTES // (4 * fields[-1]["elementTypeParams"]["dim"])))
        self.num_files = self.num_rows = 0
        schema = {"autoId": False, "enabledDynamicField": False, "fields": list(fields)}
        request = {"collectionName": collection, "schema": schema, "indexParams": [INDEX]}
        self._request = json.dumps(request, indent=1) + "\n"
        self._require_own_folder()
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock_folder(folder, "wait until it has ended, or choose another folder"))
            self._remove()
            self._own = stack.pop_all()

    def _require_own_folder(self) -> None:
        if not self.folder.is_dir():
            return
        if other := sorted(path.name for path in self.folder.iterdir() if not OWN_FILES.fullmatch(path.name)):
            raise ValueError(f"{self.folder} holds something else ({other[0]}): choose another uri= or collection=")
        path = self.folder / COLLECTION
        if path.is_file() and path.read_text() != self._request:
            raise ValueError(
                f"{self.folder}: its files are of a collection with other fields than the index; choose another "
                "collection="
            )

    def _remove(self) -> None:
        """What an earlier hand-over has left: files that this one may have fewer of."""
        remove_partial_files(self.folder)
        for path in [*self.folder.glob("*.parquet"), *self.folder.glob("import_*.json")]:
            path.unlink()

    def write(self, batch: VectorBatch) -> None:
        """See `Writer.write`: a file."""
        require_short_texts(batch)
        num_rows, dim = batch.vectors_ND.shape
        offsets = pa.array(np.arange(0, (num_rows + 1) * dim, dim, dtype=np.int32))
        flat = pa.array(np.ascontiguousarray(batch.vectors_ND).reshape(-1))
        values = {**batch.columns, "id": batch.ids, "modality": [batch.modality] * num_rows}
        values["vector"] = pa.ListArray.from_arrays(offsets, flat)
        table = pa.table([pa.array(values[field.name], field.type) for field in self.schema], schema=self.schema)
        group_rows = max(1, ROW_GROUP_BYTES // (table.nbytes // num_rows + 1))
        with open_atomically(self.folder / f"{self.num_files + 1}.parquet") as file:
            pq.write_table(table, file, row_group_size=group_rows)
        self.num_files += 1
        self.num_rows += num_rows

    def count(self) -> int:
        """See `Writer.count`: write the requests too, now that all files are there."""
        write_text(self.folder / COLLECTION, self._request)
        names = [[f"{self.collection}/{number}.parquet"] for number in range(1, self.num_files + 1)]
        for number, first in enumerate(range(0, len(names), MAX_FILES), start=1):
            request = {"collectionName": self.collection, "files": names[first : first + MAX_FILES]}
            write_text(self.folder / f"import_{number}.json", json.dumps(request, indent=1) + "\n")
        return self.num_rows

    def close(self) -> None:
        """See `Writer.close`."""
        self._own.close()
