"""Words for the routes: captions of vectors and answers about them, by a bridge that one thread uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from bind.bridge.bridge import Bridge
from bind.serve.batching import Batcher, Outcome
from bind.serve.bodies import AskRequest, EmbedRequest
from bind.serve.embedding import embed_items
from bind.serve.limits import RefusedError
from bind.types import Modality

NO_BRIDGE = "this service has no bridge: start it with bridge=FOLDER"
T = TypeVar("T")


class Words:
    """A bridge in a service; None: without one every request for words is refused."""

    def __init__(self, bridge: Bridge | None) -> None:
        self._bridge = bridge
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="words")

    @property
    def bridge(self) -> Bridge:
        """The bridge; RefusedError where there is none."""
        if self._bridge is None:
            raise RefusedError(404, NO_BRIDGE)
        return self._bridge

    def describe(self) -> dict[str, Any] | None:
        """What a client has to know of the bridge."""
        return None if self._bridge is None else {"gap": self._bridge.gap.remedy}

    def stop(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def caption(self, batcher: Batcher, request: EmbedRequest) -> list[str | ValueError]:
        """A caption of each item, or its error.

        Raises:
            RefusedError: where there is no bridge, or for too many items.
        """
        bridge = self.bridge
        outcomes = await embed_items(batcher, request.items)
        captions: list[str | ValueError] = [
            x if isinstance(x, ValueError) else ValueError("no words") for x in outcomes
        ]
        of_modality: dict[Modality, list[int]] = {}
        for place, (item, outcome) in enumerate(zip(request.items, outcomes, strict=True)):
            if not isinstance(outcome, ValueError):
                of_modality.setdefault(item.modality, []).append(place)
        for modality, places in of_modality.items():
            z_ND = _stack([outcomes[place] for place in places])
            texts = await self._run(lambda m=modality, z=z_ND: bridge.caption_vectors(m, z))  # type: ignore[misc]
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
        outcomes = await embed_items(batcher, request.items)
        for outcome in outcomes:
            if isinstance(outcome, ValueError):
                raise outcome
        modalities = [item.modality for item in request.items]
        return await self._run(lambda: bridge.ask_vectors(request.question, modalities, _stack(outcomes)))

    async def _run(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)


def _stack(outcomes: Sequence[Outcome]) -> torch.Tensor:
    return torch.stack([outcome for outcome in outcomes if not isinstance(outcome, ValueError)])
