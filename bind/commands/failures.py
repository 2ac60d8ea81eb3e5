"""Failures of commands, said in one line."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from bind.files.reading import explain_os_error


class JobFailed(SystemExit):
    """Exit status 1 of a job that has printed why."""


def plain_message(error: BaseException) -> str:
    """The message of an error, without the traceback that a loader's worker process wraps around it."""
    message = explain_os_error(error) if isinstance(error, OSError) else str(error)
    if "Original Traceback" in message:
        message = message.rsplit("\nValueError: ", 1)[-1]
    return message.strip()


def report_interrupt(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
    """A `sys.excepthook`: one line for a Ctrl-C that nothing took; Python then dies of the signal, as shells expect."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, frames)
    elif "LOCAL_RANK" not in os.environ:
        print("stopped by SIGINT", file=sys.stderr, flush=True)
