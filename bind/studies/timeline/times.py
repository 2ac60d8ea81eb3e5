"""Times as a person reads them, and how long labels last: what the picture and the page of a time line share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from bind.timeline.segments import Segment

LEAST_EPOCH_SECONDS = 1e8
"""A clock beyond it counts from 1970, not from the start of a recording."""


TICK_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200)
"""How far apart times are named, as clocks are read; the script of the page has the same."""


def tick_seconds(span_seconds: float, most: int) -> float:
    """The least of `TICK_SECONDS`, or number of days, of which at most `most` fit into the span.

    Examples:
        >>> tick_seconds(358.6, 10), tick_seconds(3.0, 10), tick_seconds(20 * 86_400, 10)
        (60, 0.5, 172800)
    """
    least = span_seconds / most
    days = 86_400 * math.ceil(least / 86_400)
    return next((seconds for seconds in TICK_SECONDS if seconds >= least), days)


def clock_text(seconds: float) -> str:
    """Hours, minutes and seconds; of a clock that counts from 1970, in UTC.

    Examples:
        >>> clock_text(62.5), clock_text(3725.0), clock_text(1_700_000_000.0)
        ('1:02.5', '1:02:05.0', '22:13:20.0')
    """
    if seconds >= LEAST_EPOCH_SECONDS:
        moment = datetime.fromtimestamp(seconds, UTC)
        return f"{moment:%H:%M:%S}.{moment.microsecond // 100_000}"
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{tenths // 10:02d}.{tenths % 10}"


def seconds_of_labels(segments: Sequence[Segment]) -> dict[str, float]:
    """Label → how long it lasts in all, the longest first."""
    sums: dict[str, float] = {}
    for segment in segments:
        sums[segment.label] = sums.get(segment.label, 0.0) + segment.seconds
    return dict(sorted(sums.items(), key=lambda item: -item[1]))
