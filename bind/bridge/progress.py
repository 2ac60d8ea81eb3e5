"""Lines of progress for a log file, where no bar can be drawn: one after some seconds, then one a minute."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS_TO_FIRST_LINE = 10.0
SECONDS_BETWEEN_LINES = 60.0


class ProgressLines:
    """How far a job of `total` steps or texts is, and how long the rest will take.

    Args:
        what: is counted, in the singular.
        first: with which it goes on, where it was stopped before.

    Examples:
        >>> ProgressLines("step", 200).print_now(50, "loss 0.500")
        step 50/200, loss 0.500, 0 s left
    """

    def __init__(self, what: str, total: int, first: int = 0) -> None:
        self.what, self.total, self.first = what, total, first
        self.started = time.monotonic()
        self.due = self.started + SECONDS_TO_FIRST_LINE

    def print_if_due(self, done: int, note: Callable[[], str] | None = None) -> None:
        """Print a line where it is time for one.

        Args:
            note: what else to say; it is only asked for a line that is printed.
        """
        if time.monotonic() >= self.due:
            self.print_now(done, note() if note else "")

    def print_now(self, done: int, note: str = "") -> None:
        """Print a line."""
        now = time.monotonic()
        self.due = now + SECONDS_BETWEEN_LINES
        seconds_left = (now - self.started) / max(1, done - self.first) * (self.total - done)
        parts = [f"{self.what} {done:,}/{self.total:,}", *([note] if note else []), f"{seconds_left:.0f} s left"]
        print(", ".join(parts), flush=True)
