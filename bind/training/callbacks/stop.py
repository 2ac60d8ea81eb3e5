"""SIGTERM, SIGUSR1 and Ctrl-C: a training ends between two steps, whatever else at once; a second one never waits."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import lightning as L

from bind.training.lightning_private import is_first_process

GRACE_SECONDS = 10.0
"""For a process to come to its end by itself after a second signal."""
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)]
_END = b"\0"
"""No signal has this number."""


class TrainingStopped(SystemExit):
    """A signal has ended the run, which is no failure: the exit status is 0.

    Attributes:
        left: what is still to do, where that is not to go on with the training.
    """

    def __init__(self, signal_name: str, step: int | None = None) -> None:
        super().__init__(0)
        self.signal_name = signal_name
        self.step = step
        self.left = ""

    def __str__(self) -> str:
        return f"stopped by {self.signal_name}" + ("" if self.step is None else f" after step {self.step}")


class StopSignals:
    """Remembers that a signal asked for a stop; a second one stops at once."""

    def __init__(self) -> None:
        self.asked: str | None = None

    def listen(self) -> None:
        """Take over from Lightning, whose handler for SIGTERM talks to the other processes in mid-step."""
        self.asked = None
        handle(self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            wake_loader_workers()  # a stopped one would be waited for
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name
        if is_first_process():
            # Not print: the signal may have come in the middle of one.
            os.write(2, f"{self.asked}: stopping after this step (a second signal stops at once)\n".encode())

    def agreed(self, trainer: L.Trainer) -> str | None:
        """The signal, if any process of the run was asked; all of them have to call this at the same step."""
        if trainer.strategy.reduce_boolean_decision(self.asked is not None, all=False):
            return self.asked or "a signal to another process"
        return None


def handle(handler: Callable[[int, FrameType | None], Any]) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, handler)


def wake_loader_workers() -> None:
    """Let the processes that load data go on where a signal has stopped them: then they end when they are ended."""
    for process in multiprocessing.active_children():
        if process.daemon and process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)


def kill_loader_workers() -> None:
    """End the processes that load data, also those that a signal has stopped."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


@contextmanager
def second_signal_ends() -> Iterator[None]:
    """End this process soon after a second signal, even where Python can't, as it waits for another process.

    Python runs its handlers between two lines; what the kernel writes into this pipe another thread reads at once.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    before = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    done = threading.Event()

    def watch() -> None:
        num_signals = 0
        while (number := os.read(read_end, 1)) and number != _END:
            num_signals += number[0] in SIGNALS
            if num_signals > 1 and not done.wait(GRACE_SECONDS):
                os.write(2, b"stopped by a second signal in the middle of a step; the last checkpoint is whole\n")
                kill_loader_workers()
                os._exit(1)

    thread = threading.Thread(target=watch, daemon=True, name="watch-signals")
    thread.start()
    try:
        yield
    finally:
        done.set()
        signal.set_wakeup_fd(before)
        os.write(write_end, _END)  # closing it does not end the reading while data workers hold a copy of it
        thread.join()
        os.close(write_end)
        os.close(read_end)


@contextmanager
def stoppable() -> Iterator[None]:
    """In here a signal raises `TrainingStopped` at once, except in a training, which ends its step first."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TrainingStopped(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():  # Python runs handlers in the main thread only
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    handle(stop)
    try:
        with second_signal_ends():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
