"""Everything of Lightning's insides that bind touches, each touch with a test that fails when it changes."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from subprocess import Popen
from typing import Any

import lightning as L
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch.utilities import rank_zero_only

QUIET_LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.accelerators.cuda",
    "lightning.fabric",
)
IGNORED_REMARKS = (
    ".*isinstance.treespec, LeafSpec.*",
    ".*in eval mode at the start of training.*",  # the frozen anchor
    ".*smaller than the logging interval.*",
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",  # a resumed run
    ".*logs directory .* exists and is not empty.*",
    ".*sync_dist=True.* when logging on epoch level.*",  # validation figures are those of all ranks already
    ".*checkpoint that ended before the epoch ended.*",  # the batch plan goes on in mid-epoch
)


def silence_remarks() -> None:
    """Leave out Lightning's remarks on devices, tips and modes, which bury what a user should read."""
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for remark in IGNORED_REMARKS:
        warnings.filterwarnings("ignore", message=remark)


def is_first_process() -> bool:
    """Whether this is the first process of all nodes; known also before they know of each other."""
    return not getattr(rank_zero_only, "rank", 0) and os.environ.get("NODE_RANK", "0") in ("", "0")


def other_processes(launcher: Any) -> Sequence[Popen[Any]] | None:
    """The processes that `launcher` has started beside this one so far; None where it never starts any."""
    return getattr(launcher, "procs", None)


def stop_watching_children() -> None:
    """Have Lightning's watcher of processes watch none: it kills this process without a word."""
    for thread in threading.enumerate():
        if isinstance(thread, _ChildProcessObserver):
            thread._child_processes = []


def resume_after_whole_epochs(trainer: L.Trainer) -> None:
    """Undo a rule of Lightning's: with max_steps it takes every epoch that it resumes after for an unfinished one."""
    trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]


def set_data_parallel_size(strategy: Any, num_processes: int) -> None:
    """Over how many processes a ModelParallelStrategy shards; its own "auto" is the number of nodes."""
    strategy._data_parallel_size = num_processes


def set_batches_done(loops: dict[str, Any], epoch: int, batch: int, num_batches: int) -> None:
    """Set a checkpoint's counters, where it is in mid-epoch, to `batch` of `epoch`, whose epochs have `num_batches`."""
    loop = loops["fit_loop"]
    epochs, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]["current"]
    if epochs["started"] > epochs["processed"]:
        is_over = epoch > epochs["processed"]  # but for its validation
        moved = (num_batches if is_over else batch) - batches["ready"]
        for name in ("ready", "started", "processed", "completed"):
            batches[name] += moved


def forget_logged_values(trainer: L.Trainer, hook: str) -> None:
    """Have the next row of the log hold what `hook` logs from now on: Lightning repeats values of earlier steps."""
    trainer.fit_loop.epoch_loop._results.reset(fx=hook)


def is_at_last_batch(trainer: L.Trainer) -> bool:
    """Whether the training batch that is being worked on is the last one of its epoch."""
    return bool(trainer.fit_loop.epoch_loop.batch_progress.is_last_batch)


@contextmanager
def before_the_batch(trainer: L.Trainer) -> Iterator[None]:
    """Lightning's counters as they stood before the batch that it has just fetched."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    is_last, progress.is_last_batch = progress.is_last_batch, False
    for tracker in (progress.total, progress.current):
        tracker.ready -= 1
    yield
    for tracker in (progress.total, progress.current):
        tracker.ready += 1
    progress.is_last_batch = is_last


@contextmanager
def before_the_validation(trainer: L.Trainer) -> Iterator[None]:
    """Lightning's counters as if it were at the first batch of this validation, to which it returns when it resumes."""
    progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
    tracker: Any
    for tracker in (progress.total, progress.current):
        tracker.ready = tracker.started = 1
        tracker.processed = tracker.completed = 0
    yield


def batches_between_validations(trainer: L.Trainer) -> float | None:
    """After how many batches of an epoch Lightning validates; None where it does not count batches within an epoch."""
    counts = trainer.val_check_batch if trainer.check_val_every_n_epoch == 1 else None
    return None if counts is None or counts == float("inf") else counts


def validate_after_batches(trainer: L.Trainer, num_batches: float) -> None:
    """Have Lightning validate after every `num_batches` batches of an epoch, from the current batch on."""
    trainer.val_check_batch = num_batches
