"""Seconds of the parts of a job, by name."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Runs from its construction; `part` measures what is done in it.

    Args:
        earlier: seconds of parts that were measured before, which count in `total`.

    Examples:
        >>> watch = Stopwatch({"fit": 40.0})
        >>> with watch.part("evaluate"):
        ...     pass
        >>> list(watch.seconds()), watch.seconds()["total"] >= 40.0
        (['fit', 'evaluate', 'total'], True)
    """

    def __init__(self, earlier: Mapping[str, float] | None = None) -> None:
        self.parts = dict(earlier or {})
        self._started = time.perf_counter() - sum(self.parts.values())

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure what is done in here as `name`."""
        started = time.perf_counter()
        yield
        self.parts[name] = time.perf_counter() - started

    def seconds(self) -> dict[str, float]:
        """Seconds of every part so far and in `total`, to a tenth."""
        return {name: round(x, 1) for name, x in {**self.parts, "total": time.perf_counter() - self._started}.items()}
