"""Loader that takes each batch over from its worker processes while the step before it still computes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from torch.utils.data import DataLoader

_END = object()


class PrefetchLoader(DataLoader[Any]):
    """A `DataLoader` whose next batch already waits in this process; batches and their order are the same.

    A finished batch has to be taken over from the process that made it: its tensors arrive as file descriptors, which
    a thread of that process hands out between two lines of Python, milliseconds later where it is busy with the next
    batch. Here another thread waits for that. Without worker processes there is nothing to hide, and a thread
    that made batches itself would only take turns with the step: then this is a plain `DataLoader`.
    """

    _next_batch: Future[Any] | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if self.num_workers == 0:
            return super().__iter__()
        if self._next_batch is not None:
            wait([self._next_batch])  # workers that live on serve one iteration at a time
        return self._iterate_ahead(super().__iter__())

    def _iterate_ahead(self, batches: Iterator[Any]) -> Iterator[Any]:
        with ThreadPoolExecutor(1, thread_name_prefix="next-batch") as thread:
            self._next_batch = thread.submit(next, batches, _END)
            while (batch := self._next_batch.result()) is not _END:
                self._next_batch = thread.submit(next, batches, _END)
                yield batch
