"""Metrics of a service in the text format of Prometheus, version 0.0.4."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ITEMS = (1, 2, 4, 8, 16, 32, 64)

Labels = tuple[tuple[str, str], ...]


class Histogram:
    """Counts of values up to each bound, with their sum, apart for each set of labels."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts: dict[Labels, list[int]] = {}
        self.sums: Counter[Labels] = Counter()

    def observe(self, value: float, **labels: str) -> None:
        """Count a value."""
        key = tuple(labels.items())
        counts = self.counts.setdefault(key, [0] * (len(self.bounds) + 1))
        counts[bisect_left(self.bounds, value)] += 1
        self.sums[key] += value  # type: ignore[assignment]

    def lines(self, name: str) -> list[str]:
        """As Prometheus reads it."""
        lines = []
        for labels, counts in self.counts.items():
            total = 0
            for bound, count in zip([*map(str, self.bounds), "+Inf"], counts, strict=True):
                total += count
                lines.append(f"{name}_bucket{_text((*labels, ('le', bound)))} {total}")
            lines += [f"{name}_sum{_text(labels)} {self.sums[labels]:.6g}", f"{name}_count{_text(labels)} {total}"]
        return lines


class Metrics:
    """What a service counts: requests by route and status, items and batches by modality, what waits, its memory."""

    def __init__(self) -> None:
        self.requests: Counter[Labels] = Counter()
        self.items: Counter[Labels] = Counter()
        self.seconds = Histogram(SECONDS)
        self.batches = Histogram(ITEMS)
        self.num_waiting: Callable[[], int] = lambda: 0

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self.requests[(("route", route), ("status", str(status)))] += 1
        self.seconds.observe(seconds, route=route)

    def count_item(self, modality: str, outcome: str) -> None:
        """Count an item."""
        self.items[(("modality", modality), ("outcome", outcome))] += 1

    def observe_batch(self, modality: str, num_items: int) -> None:
        """Count a batch."""
        self.batches.observe(num_items, modality=modality)

    def text(self) -> str:
        """All of them.

        Examples:
            >>> metrics = Metrics()
            >>> metrics.count_request("/embed", 200, 0.02)
            >>> 'bind_requests_total{route="/embed",status="200"} 1' in metrics.text().splitlines()
            True
        """
        lines = ["# TYPE bind_requests_total counter"]
        lines += [f"bind_requests_total{_text(labels)} {count}" for labels, count in self.requests.items()]
        lines += ["# TYPE bind_request_seconds histogram", *self.seconds.lines("bind_request_seconds")]
        lines += ["# TYPE bind_items_total counter"]
        lines += [f"bind_items_total{_text(labels)} {count}" for labels, count in self.items.items()]
        lines += ["# TYPE bind_batch_items histogram", *self.batches.lines("bind_batch_items")]
        lines += ["# TYPE bind_waiting_items gauge", f"bind_waiting_items {self.num_waiting()}"]
        if (num_bytes := resident_bytes()) is not None:
            lines += ["# TYPE process_resident_memory_bytes gauge", f"process_resident_memory_bytes {num_bytes}"]
        return "\n".join([*lines, ""])


def resident_bytes() -> int | None:
    """Memory of this process, None where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _text(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{value}"' for name, value in labels)  # none comes from a request as it is
    return f"{{{pairs}}}" if labels else ""
