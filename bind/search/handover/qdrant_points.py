"""Points of Qdrant, on a server or in a folder of its local mode, that take an index over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException

from bind.search.handover.batches import VectorBatch

KINDS = {
    pa.string(): models.PayloadSchemaType.KEYWORD,
    pa.int32(): models.PayloadSchemaType.INTEGER,
    pa.int64(): models.PayloadSchemaType.INTEGER,
    pa.float64(): models.PayloadSchemaType.FLOAT,
    pa.bool_(): models.PayloadSchemaType.BOOL,
}
NOT_FILTERED = ("number", "path", "caption")
"""Columns without an index of the server's, which would cost it memory for each vector."""
TIMEOUT_SECONDS = 120


class QdrantWriter:
    """See `bind.search.handover.engines.Writer`."""

    batch_size = 256

    def __init__(self, client: QdrantClient, uri: str, collection: str) -> None:
        self.client, self.uri, self.collection = client, uri, collection

    def write(self, batch: VectorBatch) -> None:
        """See `Writer.write`."""
        ids, vectors, payloads = zip(*batch.rows(), strict=True)
        points = models.Batch(ids=list(ids), vectors=[z_D.tolist() for z_D in vectors], payloads=list(payloads))
        with refusals(self.uri):
            self.client.upsert(self.collection, points, wait=True)

    def count(self) -> int:
        """See `Writer.count`."""
        with refusals(self.uri):
            return int(self.client.count(self.collection, exact=True).count)

    def close(self) -> None:
        """See `Writer.close`."""
        self.client.close()


@contextmanager
def refusals(uri: str) -> Iterator[None]:
    """Errors of Qdrant and of the way to it, as ValueError that names its address."""
    try:
        yield
    except ApiException as error:
        reason = str(error).strip() or type(error).__name__
        raise ValueError(f"{uri}: no answer of Qdrant, or none that helps ({reason}); is uri= its address?") from error


def open_writer(
    uri: str, collection: str, dim: int, columns: Mapping[str, pa.DataType], token: str | None
) -> QdrantWriter:
    """See `bind.search.handover.engines.WritableEngine`; a uri that is no address is a folder."""
    is_server = uri.startswith(("http://", "https://"))
    if not is_server and (":" in uri or not uri):
        raise ValueError(f"uri={uri}: give Qdrant's address, such as http://localhost:6333, or a folder")
    client = connect(uri, token) if is_server else open_folder(uri)
    try:
        with refusals(uri):
            if not client.collection_exists(collection):
                client.create_collection(
                    collection, vectors_config=models.VectorParams(size=dim, distance=models.Distance.COSINE)
                )
                filtered = {"modality": pa.string(), **columns} if is_server else {}
                for name, kind in filtered.items():
                    if name not in NOT_FILTERED:
                        client.create_payload_index(collection, name, KINDS[kind])
            there = client.get_collection(collection).config.params.vectors
        if not isinstance(there, models.VectorParams) or (there.size, there.distance) != (dim, models.Distance.COSINE):
            holds = (
                f"{there.distance} vectors of length {there.size}" if isinstance(there, models.VectorParams) else there
            )
            raise ValueError(
                f"{uri}: its collection {collection} holds {holds or 'no such vectors'}, the index Cosine vectors of "
                f"length {dim}; choose another collection="
            )
    except BaseException:
        client.close()
        raise
    return QdrantWriter(client, uri, collection)


def connect(uri: str, token: str | None) -> QdrantClient:
    """A client of a server; the port that Qdrant takes by itself counts where the address has none of its own."""
    return QdrantClient(url=uri, api_key=token, timeout=TIMEOUT_SECONDS, check_compatibility=False)


def open_folder(uri: str) -> QdrantClient:
    """Qdrant's local mode.

    Raises:
        ValueError: where another process uses the folder.
        OSError: naming a folder that can't be made.
    """
    try:
        return QdrantClient(path=uri)
    except RuntimeError as error:
        raise ValueError(f"{uri}: another process uses this folder of Qdrant ({error})") from error
