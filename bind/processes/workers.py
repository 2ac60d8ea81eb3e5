"""Data workers: processes that load batches while a step computes, their signals, and the end of waiting for them."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.queues
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd, ForkingPickler
from typing import IO, Any

from torch.utils.data import DataLoader, Dataset

from bind.distributed import loader_start_method
from bind.processes.states import describe_processes
from bind.types import Source

_END = object()
KILL_SECONDS = 5.0
"""For the end of a worker that was killed; one that waits for a dead disk takes longer."""
MAX_OPEN_FILES = 1
"""Besides the last; they begin one after the other."""


class PrefetchLoader(DataLoader[Any]):
    """A `DataLoader` whose next batch already waits in this process; batches and their order are the same.

    A finished batch has to be taken over from the process that made it: its tensors arrive as file descriptors, which
    a thread of that process hands out between two lines of Python, milliseconds later where it is busy with the next
    batch. Here another thread waits for that. Without worker processes there is nothing to hide, and a thread
    that made batches itself would only take turns with the step: then this is a plain `DataLoader`.

    Args:
        dataset: `dataset[request]` is a batch.
        requests: what is loaded, in this order.
        sources: what the dataset reads; they decide how workers are started.
        num_workers: processes that load; 0 loads in this one.
        timeout_seconds: how long a batch is waited for.
        options: others of `DataLoader`.

    Raises:
        ValueError: in an iteration: a worker has died, or no batch came in time, with the worker that it came from.
    """

    _next_batch: Future[Any] | None = None
    _workers: Sequence[BaseProcess] = ()

    def __init__(
        self,
        dataset: Dataset[Any],
        requests: Iterable[Any],
        *,
        sources: Iterable[Source] = (),
        num_workers: int,
        timeout_seconds: float = 600.0,
        **options: Any,
    ) -> None:
        start_method = loader_start_method(sources, num_workers)
        is_forked = num_workers == 0 or (start_method or multiprocessing.get_start_method()) == "fork"
        super().__init__(
            dataset if is_forked else _DatasetInFile(dataset),
            sampler=requests,
            batch_size=None,
            num_workers=num_workers,
            multiprocessing_context=start_method,
            worker_init_fn=_begin_worker,
            **options,
        )
        # Not PyTorch's own timeout, with which workers that have died are seen only when it is over.
        self.timeout_seconds = timeout_seconds

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if self.num_workers == 0:
            return super().__iter__()
        if self.persistent_workers and self._workers:
            return self._iterate_ahead(None)
        others = multiprocessing.active_children()
        try:
            with contextlib.nullcontext() if isinstance(self.dataset, _DatasetInFile) else _termination_blocked():
                batches = super().__iter__()
        except BrokenPipeError as error:  # it died before it had read what it is to load
            raise ValueError(death_message(error)) from error
        self._workers = [process for process in multiprocessing.active_children() if process not in others]
        return self._iterate_ahead(batches)

    def _iterate_ahead(self, batches: Iterator[Any] | None) -> Iterator[Any]:
        """The batches, each requested a step ahead; None: of the workers that live on, once they are free."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="next-batch")
        workers = self._workers
        try:
            with explained_worker_death():
                if batches is None:
                    batches = self._in_time(thread.submit(self._begin_again, self._next_batch), workers)
                self._next_batch = thread.submit(next, batches, _END)
                while (batch := self._in_time(self._next_batch, workers)) is not _END:
                    self._next_batch = thread.submit(next, batches, _END)
                    yield batch
        finally:
            if self._next_batch is not None and not comes_in_time(self._next_batch, self.timeout_seconds):
                kill(workers)
            thread.shutdown(wait=False)

    def _begin_again(self, last_batch: Future[Any] | None) -> Iterator[Any]:
        if last_batch is not None:
            wait([last_batch])  # workers serve one iteration at a time
        return super().__iter__()

    def _in_time(self, future: Future[Any], workers: Sequence[BaseProcess]) -> Any:
        if comes_in_time(future, self.timeout_seconds):
            try:
                return future.result()
            except (OSError, RuntimeError, EOFError) as error:
                join(workers, 0.1)
                if any(worker.exitcode for worker in workers):
                    raise ValueError(death_message(error)) from error
                raise
        doing = describe_processes({f"worker {number}": worker.pid or 0 for number, worker in enumerate(workers)})
        kill(workers)
        raise ValueError(
            f"no batch came from the data workers within timeout_seconds={self.timeout_seconds:g}: {doing}"
        )


@contextlib.contextmanager
def _termination_blocked() -> Iterator[None]:
    """Block SIGTERM, which waits so long: a thread that a library starts in a new process has it blocked from birth."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _DatasetInFile(Dataset[Any]):
    """A dataset that another process reads from a file without a name, when it begins.

    Without it, it is written into a pipe; where the process does not read, as when it is stopped or has died, that
    never ends.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset
        self._files: list[IO[bytes]] = []

    def __getitem__(self, request: Any) -> Any:
        return self.dataset[request]

    def __reduce__(self) -> Any:
        file = tempfile.TemporaryFile()  # noqa: SIM115
        ForkingPickler(file).dump(self.dataset)
        file.flush()
        self._files = [*self._files[-MAX_OPEN_FILES:], file]  # open until the process has begun
        return _read_dataset, (DupFd(file.fileno()),)


def _read_dataset(descriptor: Any) -> Dataset[Any]:
    with open(descriptor.detach(), "rb") as file:
        file.seek(0)
        dataset: Dataset[Any] = pickle.load(file)
    return dataset


def comes_in_time(future: Future[Any], seconds: float) -> bool:
    """Wait for it; seconds in which this process itself was stopped, as by Ctrl-Z, do not count."""
    while seconds > 0:
        if wait([future], min(seconds, 1.0)).done:
            return True
        seconds -= 1.0
    return False


def kill(workers: Iterable[BaseProcess]) -> None:
    """End workers, also stopped ones; a thread that waits for a batch of theirs ends soon after."""
    for worker in workers:
        with contextlib.suppress(RuntimeError):  # as in `join`
            worker.kill()
    join(workers, KILL_SECONDS)


def join(workers: Iterable[BaseProcess], seconds: float) -> None:
    """Wait until each has ended, `seconds` at most; torch, which raises where it learns of that, does so in here."""
    for worker in workers:
        with contextlib.suppress(RuntimeError):
            worker.join(seconds)


@contextlib.contextmanager
def explained_worker_death() -> Iterator[None]:
    """Raise ValueError where a data worker dies, which torch raises in whatever this process then does."""
    try:
        yield
    except RuntimeError as error:
        if str(error).startswith("DataLoader worker (pid"):
            raise ValueError(death_message(error)) from error
        raise


def death_message(error: Exception) -> str:
    return (
        f"a data worker has died: {str(error).strip()} Is there enough memory? Lower data.num_workers; "
        "data.num_workers=0 loads in the training process, where an error can be seen. Is /dev/shm full? docker run "
        "--shm-size=8g makes it larger"
    )


def _begin_worker(worker_id: int) -> None:
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end_with_the_batch)  # type: ignore[attr-defined]
    ignore_stop_signals(worker_id)


def _end_with_the_batch(error: Exception, batch: object) -> None:
    """In a worker: what can't be handed over, as where /dev/shm is full, would be waited for, for ever."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    os.write(2, f"data worker {os.getpid()}: a batch could not be handed over: {reason}\n".encode())
    os._exit(1)


def ignore_stop_signals(worker_id: int) -> None:
    """Have a worker ignore what a scheduler or Ctrl-C sends to every process: the training needs it for its last step.

    The training process ends its workers by a SIGTERM that it sends, or by its death, which PyTorch's loop looks for.
    """
    for name in ("SIGINT", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # it alone gives the sender of a signal; macOS lacks it
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # for threads that a library has started: they have it open
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        parent = multiprocessing.parent_process()
        assert parent is not None, "this runs in a process of a loader"
        threading.Thread(target=_end_with_the_parent, args=(parent.pid,), daemon=True).start()


def _end_with_the_parent(parent_pid: int | None) -> None:
    """End on SIGTERM of the process that made the loader, which a fork server's workers are no children of."""
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent_pid:
        pass
    os._exit(0)
