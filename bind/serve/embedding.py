"""Embedding for the routes: items of a request become values, whose errors stay with them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi.concurrency import run_in_threadpool

from bind.serve.batching import Batcher, Outcome
from bind.serve.bodies import File, RequestItem
from bind.serve.items import decode_base64, file_item, require_modality, text_item
from bind.serve.limits import Limits, RefusedError
from bind.types import Modality


def value_of(modality: Modality, content: str | File | None, what: str, limits: Limits) -> Any:
    """A text or a file as a value; ValueError for what is neither."""
    if isinstance(content, str):
        if modality != "text":
            raise ValueError(f"{what}: give a file, its bytes as base64")
        return text_item(content, limits, what)
    if content is None or modality == "text":
        raise ValueError(f"{what}: give {'a text' if modality == 'text' else 'a file'}")
    sidecar = None if content.sidecar is None else content.sidecar.encode()
    return file_item(modality, decode_base64(content.data, what), what, content.name, sidecar)


async def read_items(batcher: Batcher, items: Sequence[RequestItem]) -> list[Any]:
    """The value of each item, or the ValueError that says why there is none.

    Raises:
        RefusedError: for more items than a request may have.
    """
    limits = batcher.limits
    if len(items) > limits.max_items:
        raise RefusedError(413, f"{len(items)} items, up to {limits.max_items} are taken in a request")

    def read(number: int, item: RequestItem) -> Any:
        try:
            require_modality(item.modality, batcher.binder.modalities)
            return value_of(
                item.modality, item.text if item.file is None else item.file, f"{item.modality} {number}", limits
            )
        except ValueError as error:
            return error

    def read_all() -> list[Any]:
        return [read(number, item) for number, item in enumerate(items, start=1)]

    are_texts = all(item.file is None for item in items)
    return read_all() if are_texts else await run_in_threadpool(read_all)


async def embed_items(batcher: Batcher, items: Sequence[RequestItem]) -> list[Outcome]:
    """A vector or an error for each item; those of one modality are embedded together.

    Raises:
        RefusedError: for more items than a request may have.
    """
    values = await read_items(batcher, items)
    outcomes: list[Outcome] = [v if isinstance(v, ValueError) else ValueError("not embedded") for v in values]
    of_modality: dict[Modality, list[int]] = {}
    for place, (item, value) in enumerate(zip(items, values, strict=True)):
        if not isinstance(value, ValueError):
            of_modality.setdefault(item.modality, []).append(place)
    results = await asyncio.gather(
        *(batcher.embed(m, [values[p] for p in places]) for m, places in of_modality.items())
    )
    for places, vectors in zip(of_modality.values(), results, strict=True):
        for place, vector in zip(places, vectors, strict=True):
            outcomes[place] = vector
    return outcomes
