"""Cost of what a benchmark does: seconds, CPU seconds, and the private memory that it takes at most."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PERIOD_SECONDS = 0.05


@dataclass
class Cost:
    """What a block has taken, once it has ended; `memory_mb` beyond what the process had before."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_mb: float = 0.0


@contextlib.contextmanager
def measured() -> Iterator[Cost]:
    """Measure the block; memory is looked at twenty times a second, and at the end, before anything is let go."""
    cost = Cost()
    peak, is_done = [before := private_mb()], threading.Event()

    def watch() -> None:
        while not is_done.wait(PERIOD_SECONDS):
            peak.append(private_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, start_cpu = time.perf_counter(), time.process_time()
    try:
        yield cost
    finally:
        cost.seconds, cost.cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
        peak.append(private_mb())
        is_done.set()
        watcher.join()
        cost.memory_mb = max(peak) - before


def private_mb() -> float:
    """Private memory of this process that is not a copy of a file."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1024
