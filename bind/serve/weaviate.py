"""Contracts of Weaviate's modules multi2vec-bind and multi2vec-clip, as their containers answer.

Source: weaviate/weaviate, modules/multi2vec-bind/clients; weaviate/multi2vec-bind-inference. A request holds lists of
texts and of files in base64 under the names of `FIELDS`, those that are empty left out; of an answer that is not 200
the Go client reads the message from `error`. An object's vectors are averaged as they come, so all have norm 1.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from bind.files.content import decode_text
from bind.media.video import VIDEO_SUFFIXES
from bind.serve.batching import Batcher
from bind.serve.bodies import File, RequestItem, read_json_body
from bind.serve.embedding import embed_items
from bind.serve.items import decode_base64
from bind.types import Modality

FIELDS = {
    "texts": ("text", "textVectors"),
    "images": ("image", "imageVectors"),
    "audio": ("audio", "audioVectors"),
    "video": ("video", "videoVectors"),
    "imu": ("imu", "imuVectors"),
    "thermal": ("thermal", "thermalVectors"),
    "depth": ("depth", "depthVectors"),
}
"""Field of a request → modality, and the field of the answer."""
MAX_HEADER_BYTES = 4096


def weaviate_routes(batcher: Batcher, describe: Callable[[], dict[str, Any]]) -> APIRouter:
    """The routes that Weaviate calls."""
    router = APIRouter(tags=["Weaviate"])

    @router.get("/.well-known/live", status_code=204)
    async def live() -> Response:
        """Whether the service is there."""
        return Response(status_code=204)

    @router.get("/.well-known/ready", status_code=204)
    async def ready() -> Response:
        """Whether it can embed."""
        return Response(status_code=204)

    @router.get("/meta")
    async def meta() -> dict[str, Any]:
        """The binder's modalities, the index and the limits."""
        return describe()

    @router.post("/vectorize", openapi_extra=_BODY)
    async def vectorize(request: Request) -> dict[str, list[list[float]]]:
        """Unit vectors of texts and files, as Weaviate's multi2vec-bind and multi2vec-clip ask for them."""
        body = await read_json_body(request)
        if not isinstance(body, dict):
            raise ValueError("the body is no JSON object")
        items: list[RequestItem] = []
        fields: list[str] = []
        for field, (modality, _) in FIELDS.items():
            values = body.get(field) or []
            if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
                raise ValueError(f"{field}: give a list of texts")
            fields += [field] * len(values)
            items += [await _item_of(modality, value, batcher, f"{field} {n + 1}") for n, value in enumerate(values)]
        vectors: dict[str, list[list[float]]] = {field: [] for _, field in FIELDS.values()}
        for field, outcome in zip(fields, await embed_items(batcher, items), strict=True):
            if isinstance(outcome, ValueError):
                raise outcome
            vectors[FIELDS[field][1]].append(outcome.tolist())
        return {field: of_field for field, of_field in vectors.items() if of_field}

    return router


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {name: {"type": "array", "items": {"type": "string"}} for name in FIELDS},
                }
            }
        },
    }
}


async def _item_of(modality: Modality, value: str, batcher: Batcher, what: str) -> RequestItem:
    """One value of a request; a video is a picture of its middle where the binder has no encoder for videos."""
    if modality == "text":
        return RequestItem(text=value)
    if modality == "video" and "video" not in batcher.binder.modalities:
        return RequestItem(modality="image", file=File(data=value, name=f"video{min(VIDEO_SUFFIXES)}"))
    if modality == "imu":
        value = await asyncio.to_thread(_with_known_header, value, batcher.binder.transforms.get("imu"), what)
    return RequestItem(modality=modality, file=File(data=value))


def _with_known_header(value: str, transform: Any, what: str) -> str:
    """A CSV in base64 whose header gives no time and no units, as one in the encoder's rate, channels and units.

    A row is a moment, and a column a channel. One that describes itself stays as it is.

    Raises:
        ValueError: for other columns than the encoder's channels.
    """
    content = decode_base64(value, what)
    channels, units = getattr(transform, "channels", None), getattr(transform, "units", None)
    rate_hz = getattr(transform, "sample_rate_hz", None)
    if not (channels and units and rate_hz) or content[:4] == b"PAR1" or content[:6] == b"\x93NUMPY":
        return value
    head, _, rows = content.partition(b"\n")
    names = [name.strip().strip('"') for name in decode_text(head[:MAX_HEADER_BYTES], what).split(",")]
    if any("[" in name or name.startswith("time_") for name in names):
        return value
    if len(names) != len(channels):
        raise ValueError(
            f"{what}: has {len(names)} columns ({', '.join(names)[:200]}); give the channels {', '.join(channels)}, or "
            f"a column time_seconds and channels with units, such as {channels[0]} [{units[0]}]"
        )
    order = names if set(names) == set(channels) else list(channels)  # of other names the order counts
    described = ",".join(["time_seconds", *(f"{name} [{units[channels.index(name)]}]" for name in order)])
    lines = [line for line in rows.splitlines() if line.strip()]
    timed = [b"%.9g,%s" % (n / rate_hz, line) for n, line in enumerate(lines)]
    return base64.b64encode(b"\n".join([described.encode(), *timed, b""])).decode()
