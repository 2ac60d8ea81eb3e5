"""Searching for the routes: an index that one thread asks, and what a page shows of its samples."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from bind.report.media import as_media
from bind.report.values import drawable
from bind.search.hits import Hit
from bind.search.index import Index
from bind.serve.batching import Batcher
from bind.serve.bodies import File, RequestItem, SearchRequest
from bind.serve.embedding import embed_items
from bind.serve.items import require_within_limits
from bind.serve.limits import Limits, RefusedError
from bind.types import Clip, Modality

NO_INDEX = "this service has no index: start it with index=INDEX"


class Searcher:
    """An index in a service; None: without one every search is refused."""

    def __init__(self, index: Index | None, limits: Limits) -> None:
        self._index, self.limits = index, limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")

    @property
    def index(self) -> Index:
        """The index; RefusedError where there is none."""
        if self._index is None:
            raise RefusedError(404, NO_INDEX)
        return self._index

    def describe(self) -> dict[str, Any] | None:
        """What a client has to know of the index."""
        if self._index is None:
            return None
        counts = {modality: self._index.store.num_vectors(modality) for modality in self._index.modalities}
        return {"vectors": counts, "columns": self._index.store.listing.columns}

    def stop(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def search(self, batcher: Batcher, request: SearchRequest) -> tuple[list[Hit], int]:
        """The hits, and how many vectors were searched.

        Raises:
            ValueError: for a query or options that can't be used.
            RefusedError: where there is no index.
        """
        index = self.index
        if both := sorted(set(request.query) & set(request.vectors)):
            raise ValueError(f"{both[0]}: give a file or a vector")
        items = [_item(modality, content) for modality, content in request.query.items()]
        vectors: dict[Modality, Tensor] = {m: torch.tensor(vector) for m, vector in request.vectors.items()}
        for item, outcome in zip(items, await embed_items(batcher, items) if items else [], strict=True):
            if isinstance(outcome, ValueError):
                raise outcome
            vectors[item.modality] = outcome
        if not vectors:
            raise ValueError("the query is empty: give a text or a file")

        def ask() -> tuple[list[Hit], int]:
            (hits,) = index.search_vectors(
                vectors,
                top=request.top,
                modalities=request.in_ or None,
                where=request.where or None,
                fusion=request.fusion,  # type: ignore[arg-type]
                weights=request.weights,
                comparable=request.comparable,
            )
            return hits, sum(map(index.store.num_vectors, request.in_ or index.modalities))

        return await asyncio.get_running_loop().run_in_executor(self._thread, ask)

    async def media(self, batcher: Batcher, modality: Modality, key: str, number: int) -> dict[str, Any]:
        """A sample of the index as a page shows it: decoded as its modality and made small, never the file itself.

        Raises:
            ValueError: where its file can't be read; it then is named without its folder.
            RefusedError: for a sample that the index does not hold.
        """
        index = self.index

        def show() -> dict[str, Any]:
            cells = index.find_row(modality, key, number)
            if cells is None:
                raise RefusedError(404, f"the index holds no {modality} of that key")
            path = cells["path"]
            if path is None or modality not in batcher.binder.modalities:
                return as_media(cells["caption"] or cells["label"] or key)
            clip = Clip(Path(path), cells["start_seconds"], cells["end_seconds"])
            try:
                if modality in ("image", "depth", "thermal"):
                    require_within_limits(modality, clip, self.limits)
                return as_media(drawable(modality, clip, batcher.binder.transforms))
            except (ValueError, OSError) as error:
                raise ValueError(str(error).replace(str(Path(path).parent), "…")) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, show)


def _item(modality: Modality, content: str | File) -> RequestItem:
    if isinstance(content, str):
        return RequestItem(modality=modality, text=content)
    return RequestItem(modality=modality, file=content)


def public_hit(hit: Hit) -> Mapping[str, Any]:
    """A hit as JSON, with the name of its file and without the folder that it lies in."""
    values = hit.as_json()
    path = values.pop("path", None)
    return values if path is None else {**values, "file": PurePath(path).name}
