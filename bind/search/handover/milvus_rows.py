"""Collection of a Milvus server, or of a file of Milvus Lite: rows are written over those of the same ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymilvus import CollectionSchema, DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from bind.search.handover.batches import VectorBatch
from bind.search.handover.milvus import INDEX, require_short_texts

TYPES = {
    "VarChar": DataType.VARCHAR,
    "Int32": DataType.INT32,
    "Int64": DataType.INT64,
    "Double": DataType.DOUBLE,
    "Bool": DataType.BOOL,
    "FloatVector": DataType.FLOAT_VECTOR,
}
TIMEOUT_SECONDS = 120.0


class MilvusWriter:
    """See `bind.search.handover.engines.Writer`.

    Args:
        client: of the server or file at `uri`.
        names: of all fields.
    """

    batch_size = 1024

    def __init__(self, client: MilvusClient, uri: str, collection: str, names: Sequence[str]) -> None:
        self.client, self.uri, self.collection, self.names = client, uri, collection, names

    def write(self, batch: VectorBatch) -> None:
        """See `Writer.write`."""
        require_short_texts(batch)
        rows = [
            {**dict.fromkeys(self.names), **known, "id": name, "vector": z_D.tolist()}
            for name, z_D, known in batch.rows()
        ]
        with refusals(self.uri):
            self.client.upsert(self.collection, rows, timeout=TIMEOUT_SECONDS)

    def count(self) -> int:
        """See `Writer.count`; what was written is seen."""
        with refusals(self.uri):
            self.client.flush(self.collection)
            self.client.load_collection(self.collection)
            options = {"filter": "", "output_fields": ["count(*)"], "consistency_level": "Strong"}
            return int(self.client.query(self.collection, **options)[0]["count(*)"])

    def close(self) -> None:
        """See `Writer.close`."""
        self.client.close()


@contextmanager
def refusals(uri: str) -> Iterator[None]:
    """Errors of Milvus and of the way to it, as ValueError that names its address."""
    try:
        yield
    except MilvusException as error:
        raise ValueError(f"{uri}: no answer of Milvus, or none that helps ({error}); is uri= its address?") from error


def schema_of(fields: Sequence[dict[str, Any]]) -> CollectionSchema:
    """The fields as pymilvus has them."""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    for field in fields:
        options = {"is_primary": field.get("isPrimary", False), "nullable": field.get("nullable", False)}
        schema.add_field(field["fieldName"], TYPES[field["dataType"]], **options, **field.get("elementTypeParams", {}))
    return schema


def open_collection(uri: str, collection: str, fields: Sequence[dict[str, Any]], token: str | None) -> MilvusWriter:
    """The writer of a collection that is made where it is not there.

    Raises:
        ValueError: where nothing answers, or the collection has other fields or distances.
    """
    if uri.endswith(".db") and not uri.startswith(("http://", "https://")):
        Path(uri).absolute().parent.mkdir(parents=True, exist_ok=True)
    with refusals(uri):
        client = MilvusClient(uri, token=token or "", timeout=TIMEOUT_SECONDS)
    try:
        with refusals(uri):
            if not client.has_collection(collection):
                about = client.prepare_index_params()
                about.add_index(INDEX["fieldName"], INDEX["indexType"], INDEX["indexName"], metric_type="COSINE")
                client.create_collection(collection, schema=schema_of(fields), index_params=about)
            there = {
                field["name"]: (field["type"], (field.get("params") or {}).get("dim"))
                for field in client.describe_collection(collection)["fields"]
            }
            names = client.list_indexes(collection)
            distances = [client.describe_index(collection, name).get("metric_type") for name in names]
        wanted = {
            field["fieldName"]: (TYPES[field["dataType"]], field.get("elementTypeParams", {}).get("dim"))
            for field in fields
        }
        if there != wanted or distances != [INDEX["metricType"]]:
            wrong = [name for name in {**wanted, **there} if there.get(name) != wanted.get(name)]
            about_it = f"its {wrong[0]} is another" if wrong else f"its distances are {distances}"
            raise ValueError(
                f"{uri}: its collection {collection} has other fields than the index ({about_it}); choose another "
                "collection="
            )
    except BaseException:
        client.close()
        raise
    return MilvusWriter(client, uri, collection, [name for name in wanted if name not in ("id", "vector")])
