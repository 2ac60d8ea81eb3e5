"""Milvus takes an index over: row by row on a server or in a file, or as Parquet files of its bulk import.

Source: the REST API of Milvus 2.5, /v2/vectordb/collections/create, whose names of types are used here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bind.search.handover.batches import VectorBatch

if TYPE_CHECKING:
    from bind.search.handover.engines import Writer

SERVERS = ("http://", "https://", "tcp://", "unix:")
ID_LENGTH = 36
MAX_TEXT_BYTES = 65_535
"""Of a VarChar."""
KINDS = {pa.string(): "VarChar", pa.int32(): "Int32", pa.int64(): "Int64", pa.float64(): "Double", pa.bool_(): "Bool"}
INDEX = {"fieldName": "vector", "indexName": "vector", "indexType": "AUTOINDEX", "metricType": "COSINE"}


def open_writer(uri: str, collection: str, dim: int, columns: Mapping[str, pa.DataType], token: str | None) -> Writer:
    """See `bind.search.handover.engines.WritableEngine`; a uri that is no address and no file is a folder for files."""
    fields = fields_of(dim, columns)
    if uri.startswith(SERVERS) or uri.endswith(".db"):
        from bind.search.handover.milvus_rows import open_collection

        return open_collection(uri, collection, fields, token)
    if ":" in uri or not uri:
        raise ValueError(
            f"uri={uri}: give Milvus's address, such as http://localhost:19530, a file of Milvus Lite, such as "
            "sounds.db, or a folder for Parquet files, which are copied to where Milvus reads"
        )
    from bind.search.handover.milvus_files import MilvusFiles

    return MilvusFiles(Path(uri) / collection, collection, fields, columns)


def fields_of(dim: int, columns: Mapping[str, pa.DataType]) -> list[dict[str, Any]]:
    """The fields of a collection, as Milvus's REST API names them.

    Examples:
        >>> [field["fieldName"] for field in fields_of(512, {"label": pa.string()})]
        ['id', 'modality', 'label', 'vector']
    """
    fields: list[dict[str, Any]] = [
        {"fieldName": "id", "dataType": "VarChar", "isPrimary": True, "elementTypeParams": {"max_length": ID_LENGTH}},
        {"fieldName": "modality", "dataType": "VarChar", "elementTypeParams": {"max_length": MAX_TEXT_BYTES}},
    ]
    for name, kind in columns.items():
        limits = {"elementTypeParams": {"max_length": MAX_TEXT_BYTES}} if kind == pa.string() else {}
        fields.append({"fieldName": name, "dataType": KINDS[kind], "nullable": True, **limits})
    return [*fields, {"fieldName": "vector", "dataType": "FloatVector", "elementTypeParams": {"dim": dim}}]


def require_short_texts(batch: VectorBatch) -> None:
    """Raise ValueError, naming the key, for a text that is longer than Milvus takes."""
    for name, values in batch.columns.items():
        for key, value in zip(batch.columns["key"], values, strict=True):
            if isinstance(value, str) and len(value.encode()) > MAX_TEXT_BYTES:
                raise ValueError(
                    f"the {name} of key {key[:60]!r} has {len(value.encode()):,} bytes, Milvus takes "
                    f"{MAX_TEXT_BYTES:,}; make the index without it"
                )
