"""Objects of Weaviate with vectors of their own, by its HTTP API: a class takes an index over.

Source: the REST API of Weaviate, /v1/schema, /v1/batch/objects and /v1/graphql.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from bind.search.handover.batches import VectorBatch

KINDS = {pa.string(): "text", pa.int32(): "int", pa.int64(): "int", pa.float64(): "number", pa.bool_(): "boolean"}
TIMEOUT_SECONDS = 120.0
MAX_MESSAGE = 300


class WeaviateWriter:
    """See `bind.search.handover.engines.Writer`.

    Args:
        uri: `http://HOST:8080`.
        name: of the class.
        token: an API key.
    """

    batch_size = 256

    def __init__(self, uri: str, name: str, token: str | None) -> None:
        self.uri, self.name = uri.rstrip("/"), name
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer, None where there is no such thing.

        Raises:
            ValueError: where the engine can't be reached or refuses.
        """
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.uri}{path}", content, self._headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404 and method == "GET":
                return None
            said = error.read(MAX_MESSAGE).decode(errors="replace")
            raise ValueError(f"{self.uri}{path}: status {error.code}, {said}") from error
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.uri}{path}: no answer of Weaviate ({error}); is uri= its address?") from error

    def write(self, batch: VectorBatch) -> None:
        """See `Writer.write`."""
        objects = [
            {"class": self.name, "id": name, "properties": known, "vector": z_D.tolist()}
            for name, z_D, known in batch.rows()
        ]
        for answer in self.ask("POST", "/v1/batch/objects", {"objects": objects}):
            errors = ((answer.get("result") or {}).get("errors") or {}).get("error") or []
            if errors:
                raise ValueError(f"{self.uri}: refuses the object {answer.get('id')}: {errors[0].get('message')}")

    def count(self) -> int:
        """See `Writer.count`."""
        query = f"{{ Aggregate {{ {self.name} {{ meta {{ count }} }} }} }}"
        answer = self.ask("POST", "/v1/graphql", {"query": query})
        if errors := answer.get("errors"):
            raise ValueError(f"{self.uri}: {errors[0].get('message')}")
        return int(answer["data"]["Aggregate"][self.name][0]["meta"]["count"])

    def close(self) -> None:
        """See `Writer.close`."""


def open_writer(
    uri: str, collection: str, dim: int, columns: Mapping[str, pa.DataType], token: str | None
) -> WeaviateWriter:
    """See `bind.search.handover.engines.WritableEngine`; names of classes begin with a capital letter."""
    if not uri.startswith(("http://", "https://")):
        raise ValueError(f"uri={uri}: give Weaviate's address, such as http://localhost:8080")
    writer = WeaviateWriter(uri, collection[0].upper() + collection[1:], token)
    properties = {"modality": "text", **{name: KINDS[kind] for name, kind in columns.items()}}
    described = writer.ask("GET", f"/v1/schema/{writer.name}")
    if described is None:
        fields: list[dict[str, Any]] = [{"name": name, "dataType": [kind]} for name, kind in properties.items()]
        for field in fields:
            if field["dataType"] == ["text"] and field["name"] != "caption":
                field["tokenization"] = "field"  # a condition on a key or label is on all of it
        about = {"class": writer.name, "vectorizer": "none", "vectorIndexConfig": {"distance": "cosine"}}
        writer.ask("POST", "/v1/schema", {**about, "properties": fields})
        return writer
    there = {field["name"]: field["dataType"][0] for field in described.get("properties") or []}
    is_same = described.get("vectorizer", "none") == "none" and properties.items() <= there.items()
    if not is_same:
        raise ValueError(
            f"{uri}: its class {writer.name} has a vectorizer, or other properties than the index; choose another "
            "collection="
        )
    return writer
