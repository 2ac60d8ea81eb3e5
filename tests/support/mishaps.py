"""What happens to a run: a callback that sends it a signal, kills it, poisons it or fills its disk."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch

from bind.losses.temperature import Temperature
from support import runs


class At(L.Callback):
    """Does `act` when `hook` is called for the `time`-th time in process `rank`."""

    def __init__(self, act: str, hook: str = "on_train_batch_start", time: int = 4, rank: int = 0) -> None:
        def called(trainer: L.Trainer, *args: Any) -> None:
            self.calls += 1
            if self.calls == time and trainer.global_rank == rank:
                ACTS[act](trainer)

        self.calls = 0
        setattr(self, hook, called)


def send(number: int) -> Callable[[L.Trainer], None]:
    return lambda trainer: os.kill(os.getpid(), number)


def fail(trainer: L.Trainer) -> None:
    raise ValueError("a file is broken")


def lack_space(trainer: L.Trainer) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def kill(trainer: L.Trainer) -> None:
    """As far as a process can do that to itself and live: nothing is flushed or saved any more."""
    logger: Any
    for logger in trainer.loggers:
        logger.file._waiting.clear()
    raise runs.PulledPlugError


def poison(trainer: L.Trainer) -> None:
    with torch.no_grad():
        module: Any = trainer.lightning_module
        next(module.binder.encoders["imu"].parameters()).fill_(torch.nan)


def poison_loss(trainer: L.Trainer) -> None:
    module: Any = trainer.lightning_module
    losses = module.losses

    def poisoned(*args: Any) -> dict[str, torch.Tensor]:
        return {name: loss * (torch.nan if name == "imu-image" else 1) for name, loss in losses(*args).items()}

    module.losses = poisoned


def overshoot(trainer: L.Trainer) -> None:
    with torch.no_grad():
        next(m for m in trainer.lightning_module.modules() if isinstance(m, Temperature)).log_scale.fill_(9.0)


def fill_disk(trainer: L.Trainer) -> None:
    size = Path(trainer.default_root_dir, "checkpoints", "last.ckpt").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.RLIM_INFINITY))


ACTS: dict[str, Callable[[L.Trainer], None]] = {
    "SIGTERM": send(signal.SIGTERM),
    "SIGUSR1": send(signal.SIGUSR1),
    "SIGINT": send(signal.SIGINT),
    "SIGSTOP": send(signal.SIGSTOP),
    "fail": fail,
    "kill": kill,
    "poison": poison,
    "poison_loss": poison_loss,
    "overshoot": overshoot,
    "fill_disk": fill_disk,
    "lack_space": lack_space,
    "stop_worker": lambda trainer: os.kill(multiprocessing.active_children()[0].pid, signal.SIGSTOP),
    "kill_worker": lambda trainer: os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL),
}
