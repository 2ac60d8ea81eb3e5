"""Metrics of a service, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ITEMS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What a service counts: requests by route and status, items and batches by modality, what waits, its memory."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()  # two services of one process count apart
        self._requests = Counter("bind_requests", "Requests answered", ("route", "status"), registry=registry)
        self._seconds = Histogram(
            "bind_request_seconds", "From request to answer", ("route",), buckets=SECONDS, registry=registry
        )
        self._items = Counter("bind_items", "Items by what became of them", ("modality", "outcome"), registry=registry)
        self._batches = Histogram(
            "bind_batch_items", "Items embedded together", ("modality",), buckets=ITEMS, registry=registry
        )
        self._waiting = Gauge("bind_waiting_items", "Items that wait to be embedded", registry=registry)
        ProcessCollector(registry=registry)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_item(self, modality: str, outcome: str) -> None:
        """Count an item."""
        self._items.labels(modality, outcome).inc()

    def observe_batch(self, modality: str, num_items: int) -> None:
        """Count a batch."""
        self._batches.labels(modality).observe(num_items)

    def watch_waiting(self, num_waiting: Callable[[], int]) -> None:
        """Ask this for what waits, whenever somebody reads the metrics."""
        self._waiting.set_function(num_waiting)

    def text(self) -> bytes:
        """All of them.

        Examples:
            >>> metrics = Metrics()
            >>> metrics.count_request("/embed", 200, 0.02)
            >>> b'bind_requests_total{route="/embed",status="200"} 1.0' in metrics.text().splitlines()
            True
        """
        return generate_latest(self.registry)
