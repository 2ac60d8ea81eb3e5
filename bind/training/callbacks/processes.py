"""The processes that Lightning starts for one training: what ends one of them ends all, and is what the user reads."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

from bind.files.writing import write_text
from bind.processes.states import describe_processes, is_stopped
from bind.training.callbacks.stop import TrainingStopped
from bind.training.lightning_private import other_processes, stop_watching_children

FOLDER = "BIND_ERRORS_FOLDER"
POLL_SECONDS = 0.5
GRACE_SECONDS = 3.0
"""For a process to come back by itself where another one is gone, before it is ended from outside."""


NO_ANSWER = "another process of this training did not answer within timeout_seconds"


class ProcessTimeoutError(ValueError):
    """Another process of the training does not answer."""


@contextmanager
def stop_all_ranks_together(
    launcher: Any, resume_hint: Callable[[], str], timeout_seconds: float = 600.0
) -> Iterator[None]:
    """Train in a process that may have siblings, started by `launcher`.

    A process that fails leaves its message for the first one, which raises it instead of the lost connection that it
    sees itself, and ends the others, which may wait for a process that is gone.

    Args:
        timeout_seconds: how long the first process waits for the others to stop where it stops.

    Raises:
        ValueError: in the first process, with the error of another one, or with what another one that does not answer
            is doing.
    """
    if other_processes(launcher) is None:
        yield
    elif FOLDER in os.environ:
        with _another_process(Path(os.environ[FOLDER]), os.environ["LOCAL_RANK"]):
            yield
    else:
        with _first_process(lambda: other_processes(launcher) or (), resume_hint, timeout_seconds):
            yield


@contextmanager
def _first_process(
    processes: Callable[[], Sequence[Popen[Any]]], resume_hint: Callable[[], str], timeout_seconds: float
) -> Iterator[None]:
    folder = Path(tempfile.mkdtemp(prefix="bind"))

    def failure() -> str:
        """What ended another process; "" while none has failed."""
        for number, process in enumerate(processes(), start=1):
            if (folder / str(number)).is_file():  # it may take its time to end
                return f"process {number}: {(folder / str(number)).read_text(encoding='utf-8')}"
            if status := process.poll():
                how = (
                    f"was killed by {signal.Signals(-status).name}"
                    if status < 0
                    else f"ended with status {status}, see above"
                )
                return f"process {number} {how}" + ("; is there enough memory?" if status == -signal.SIGKILL else "")
        return ""

    def alive() -> dict[str, int]:
        return {f"process {n}": p.pid for n, p in enumerate(processes(), start=1) if p.poll() is None}

    def reason() -> str:
        """What ended another process, or the one for which all of them wait; "" while there is neither."""
        if stopped := {name: pid for name, pid in alive().items() if is_stopped(pid)}:
            return f"{NO_ANSWER}: {describe_processes(stopped)}"
        return failure()

    def give_up() -> None:
        print(f"error: {reason()}{resume_hint()}", file=sys.stderr, flush=True)
        end()
        os._exit(1)

    def end() -> None:
        for process in processes():
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)

    os.environ[FOLDER] = str(folder)
    try:
        with _watch(failure, give_up):
            yield
    except TrainingStopped:
        deadline = time.monotonic() + timeout_seconds
        for process in processes():  # which stop at the same step
            with suppress(TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        end()
        raise
    except BaseException as error:
        # A connection is lost before it is known why; any other ValueError is not the echo of another process's end.
        is_late = isinstance(error, ProcessTimeoutError)
        is_echo = is_late or (isinstance(error, Exception) and not isinstance(error, ValueError))
        deadline = time.monotonic() + GRACE_SECONDS * is_echo
        while not (other := reason()) and time.monotonic() < deadline:
            time.sleep(0.1)
        if is_late and not other:
            other = (
                f"{error}: {describe_processes({f'process {n}': p.pid for n, p in enumerate(processes(), start=1)})}"
            )
        end()
        if other and is_echo:
            raise ValueError(other) from error
        raise
    finally:
        del os.environ[FOLDER]
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _another_process(folder: Path, number: str) -> Iterator[None]:
    parent = os.getppid()
    with _watch(lambda: os.getppid() != parent, lambda: os._exit(1)):
        try:
            yield
        except ValueError as error:
            if is_late := isinstance(error, ProcessTimeoutError) and is_stopped(parent):
                error = ProcessTimeoutError(f"{error}: {describe_processes({'process 0': parent})}")
            write_text(folder / number, str(error))
            if is_late:  # the first process would not say this, nor end
                print(f"error: process {number}: {error}", file=sys.stderr, flush=True)
                os.kill(parent, signal.SIGCONT)
            raise SystemExit(1) from error
        except Exception:
            time.sleep(2 * GRACE_SECONDS)  # if this is the echo of another's error, the first process ends this one
            raise


@contextmanager
def _watch(is_over: Callable[[], Any], end: Callable[[], None]) -> Iterator[None]:
    """`end()` once `is_over()` and what is done in here has not come to its own end within the grace."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(POLL_SECONDS):
            stop_watching_children()
            if is_over():
                if not done.wait(GRACE_SECONDS):
                    end()
                return

    threading.Thread(target=look, daemon=True, name="watch-processes").start()
    try:
        yield
    finally:
        done.set()
