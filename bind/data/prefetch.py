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
    timeout_seconds: float | None = None
    """How long a batch is waited for. With PyTorch's own timeout workers that have died are seen when it is over."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if self.num_workers == 0:
            return super().__iter__()
        if self._next_batch is not None:
            wait([self._next_batch])  # workers that live on serve one iteration at a time
        return self._iterate_ahead(super().__iter__())

    def _iterate_ahead(self, batches: Iterator[Any]) -> Iterator[Any]:
        thread = ThreadPoolExecutor(1, thread_name_prefix="next-batch")
        is_late = False
        try:
            self._next_batch = thread.submit(next, batches, _END)
            while (batch := self._next_batch.result(self.timeout_seconds)) is not _END:
                self._next_batch = thread.submit(next, batches, _END)
                yield batch
        except TimeoutError as error:
            is_late = True
            raise RuntimeError(f"DataLoader timed out after {self.timeout_seconds:g} seconds") from error
        except RuntimeError:  # a worker has died: the thread sees it within seconds
            is_late = True
            raise
        finally:
            thread.shutdown(wait=not is_late)
