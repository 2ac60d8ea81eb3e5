"""Words for the routes: captions of vectors and answers about them, by a bridge that one thread uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from bind.bridge.bridge import Bridge
from bind.bridge.gap import TEXT
from bind.bridge.inputs import MapperInputs
from bind.bridge.remedies import GapChoice
from bind.serve.batching import Batcher
from bind.serve.bodies import AskRequest, EmbedRequest, RequestItem
from bind.serve.embedding import embed_items, read_items
from bind.serve.limits import RefusedError
from bind.types import Modality

NO_BRIDGE = "this service has no bridge: start it with bridge=FOLDER"
T = TypeVar("T")


class Words:
    """A bridge in a service; None: without one every request for words is refused.

    Args:
        gap: the remedies in place of the bridge's own, see `Bridge.caption`.

    Raises:
        ValueError: where the bridge takes no such remedy.
    """

    def __init__(self, bridge: Bridge | None, gap: GapChoice = None) -> None:
        self._bridge, self._gap = bridge, gap
        if bridge is not None:
            bridge.refuse_remedy(gap)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="words")

    @property
    def bridge(self) -> Bridge:
        """The bridge; RefusedError where there is none."""
        if self._bridge is None:
            raise RefusedError(404, NO_BRIDGE)
        return self._bridge

    def describe(self) -> dict[str, Any] | None:
        """What a client has to know of the bridge."""
        if self._bridge is None:
            return None
        remedies = {m: self._bridge.gap.remedy_of(m, self._gap) for m in self._bridge.modalities if m != TEXT}
        return {"modalities": list(self._bridge.modalities), "gap": remedies}

    def stop(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def caption(self, batcher: Batcher, request: EmbedRequest) -> list[str | ValueError]:
        """A caption of each item, or its error.

        Raises:
            RefusedError: where there is no bridge, or for too many items.
        """
        bridge = self.bridge
        outcomes = await self._read(batcher, request.items)
        captions: list[str | ValueError] = [
            x if isinstance(x, ValueError) else ValueError("no words") for x in outcomes
        ]
        of_modality: dict[Modality, list[int]] = {}
        for place, (item, outcome) in enumerate(zip(request.items, outcomes, strict=True)):
            if not isinstance(outcome, ValueError):
                of_modality.setdefault(item.modality, []).append(place)
        for modality, places in of_modality.items():
            of_places = [outcomes[place] for place in places]
            texts = await self._run(lambda m=modality, x=of_places: bridge.caption_inputs(self._inputs([m], x)))  # type: ignore[misc]
            for place, text in zip(places, texts, strict=True):
                captions[place] = text
        return captions

    async def answer(self, batcher: Batcher, request: AskRequest) -> str:
        """The answer to a question about items, which are read in their order.

        Raises:
            ValueError: for an item that can't be embedded, or more than the language model reads.
            RefusedError: where there is no bridge, or for too many items.
        """
        bridge = self.bridge
        outcomes = await self._read(batcher, request.items)
        for outcome in outcomes:
            if isinstance(outcome, ValueError):
                raise outcome
        modalities = [item.modality for item in request.items]
        return await self._run(lambda: bridge.ask_inputs(request.question, self._inputs(modalities, outcomes)))

    async def _read(self, batcher: Batcher, items: Sequence[RequestItem]) -> list[Any]:
        """A vector of each item, or what its transform made of it where the bridge reads tokens; or its error."""
        if self.bridge.token_modality is None:
            return list(await embed_items(batcher, items))
        values = await read_items(batcher, items)
        for place, item in enumerate(items):
            try:
                self.bridge.require_readable(item.modality)
            except ValueError as error:
                values[place] = values[place] if isinstance(values[place], ValueError) else error
        prepared = (batcher.prepare(item.modality, value) for item, value in zip(items, values, strict=True))
        return list(await asyncio.gather(*prepared))

    def _inputs(self, modalities: Sequence[Modality], outcomes: Sequence[Any]) -> MapperInputs:
        """What the mapper reads: of one modality, or of each outcome's."""
        if self.bridge.token_modality is not None:
            return self.bridge.embed_items(self.bridge.token_modality, list(outcomes))
        of_each = modalities if len(modalities) == len(outcomes) else list(modalities) * len(outcomes)
        near = [self.bridge.near_texts(m, z_D[None], self._gap) for m, z_D in zip(of_each, outcomes, strict=True)]
        return torch.cat(near)

    async def _run(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)
