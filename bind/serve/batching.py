"""Batches across users: items of all requests are decoded side by side, and embedded together by modality."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from bind.data.collate import collate_clips
from bind.model.binder import Binder
from bind.model.clips import average_clips
from bind.serve.items import require_within_limits
from bind.serve.limits import Limits, RefusedError
from bind.serve.metrics import Metrics
from bind.types import Modality

MAX_BATCH = 32

log = logging.getLogger("bind")

Outcome = Tensor | ValueError
"""A unit vector (D,), or why there is none."""


class Batcher:
    """One binder for the items of many requests.

    While a batch is embedded, what arrives waits, and is the next batch: nobody waits for others to come.
    """

    def __init__(self, binder: Binder, limits: Limits, metrics: Metrics, *, max_batch: int = MAX_BATCH) -> None:
        self.binder, self.limits, self.metrics, self.max_batch = binder.eval(), limits, metrics, max_batch
        self.device = next(binder.parameters()).device
        self.num_waiting = 0
        self._queues: dict[Modality, deque[tuple[Any, asyncio.Future[Outcome]]]] = {
            m: deque() for m in binder.modalities
        }
        self._decoders = ThreadPoolExecutor(max(2, os.cpu_count() or 1), thread_name_prefix="decode")
        self._model = ThreadPoolExecutor(1, thread_name_prefix="model")
        # Tokenizers are not made for several threads at a time; other transforms have no state that changes.
        self.text_lock = threading.Lock()
        self._has_items = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to embed, in the loop that is running."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End the threads."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._model.shutdown(wait=False, cancel_futures=True)

    async def embed(self, modality: Modality, values: Sequence[Any]) -> list[Outcome]:
        """A unit vector (D,) on the CPU for each value, or the error of that value.

        Raises:
            RefusedError: 429 where too many items wait already.
        """
        if self.num_waiting + len(values) > self.limits.max_waiting:
            raise RefusedError(429, f"{self.num_waiting} items are waiting; try again later")
        self.num_waiting += len(values)
        try:
            outcomes = await asyncio.gather(*(self._embed_one(modality, value) for value in values))
        finally:
            self.num_waiting -= len(values)
        for outcome in outcomes:
            self.metrics.count_item(modality, "refused" if isinstance(outcome, ValueError) else "embedded")
        return list(outcomes)

    async def prepare(self, modality: Modality, value: Any) -> Any:
        """What the modality's transform makes of a value, or the ValueError that says why it can't."""
        if isinstance(value, ValueError):
            return value
        try:
            return await asyncio.get_running_loop().run_in_executor(self._decoders, self._prepare, modality, value)
        except ValueError as error:
            return error

    async def _embed_one(self, modality: Modality, value: Any) -> Outcome:
        prepared = await self.prepare(modality, value)
        if isinstance(prepared, ValueError):
            return prepared
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        self._queues[modality].append((prepared, future))
        self._has_items.set()
        return await future

    def _prepare(self, modality: Modality, value: Any) -> Any:
        require_within_limits(modality, value, self.limits)
        try:
            if modality == "text":
                with self.text_lock:
                    return self.binder.transforms[modality](value, None)
            return self.binder.transforms[modality](value, None)
        except ValueError:
            raise
        except Exception as error:  # of a transform from elsewhere, on a file from a stranger
            log.exception("a transform of %s failed", modality)
            raise ValueError(f"{value if modality != 'text' else 'this text'}: can't be embedded") from error

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._has_items.wait()
            self._has_items.clear()
            while waiting := [m for m, queue in self._queues.items() if queue]:
                for modality in waiting:  # in turn, so that none waits for another's queue to end
                    queue = self._queues[modality]
                    batch = [queue.popleft() for _ in range(min(self.max_batch, len(queue)))]
                    batch = [(item, future) for item, future in batch if not future.done()]  # of requests that ended
                    if batch:
                        self.metrics.observe_batch(modality, len(batch))
                        items = [item for item, _ in batch]
                        outcomes = await loop.run_in_executor(self._model, self._encode, modality, items)
                        for (_, future), outcome in zip(batch, outcomes, strict=True):
                            if not future.done():
                                future.set_result(outcome)

    def _encode(self, modality: Modality, items: Sequence[Any]) -> list[Outcome]:
        """Vectors of a batch; where it fails as a whole, each item alone."""
        try:
            return list(self._encode_together(modality, items))
        except Exception as error:
            if len(items) == 1:
                log.exception("an item of %s can't be embedded", modality)
                return [ValueError(f"this {modality} can't be embedded ({type(error).__name__})")]
        return [outcome for item in items for outcome in self._encode(modality, [item])]

    @torch.inference_mode()
    def _encode_together(self, modality: Modality, items: Sequence[Any]) -> Tensor:
        inputs, num_clips = collate_clips(self.binder.transforms[modality], list(items))
        inputs = (
            {name: x.to(self.device) for name, x in inputs.items()}
            if isinstance(inputs, dict)
            else inputs.to(self.device)
        )
        z = self.binder.encode_batch(modality, inputs, self.max_batch)
        z = average_clips(z, None if num_clips is None else num_clips.to(self.device)).float().cpu()
        if not bool(torch.isfinite(z).all()):
            raise ValueError("its vector is not finite")
        return z
