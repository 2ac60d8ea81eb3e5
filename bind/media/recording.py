"""Recordings on disk or in memory, seen alike: so many frames at some rate, read where they are needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bind.types import Clip


@dataclass(frozen=True, slots=True)
class Recording:
    """`num_frames` frames at `sample_rate_hz`; `read(first, last)` gives (last - first, C) finite float32.

    `channels` and `units` are empty for sound.
    """

    name: str
    sample_rate_hz: float
    num_frames: int
    read: Callable[[int, int], np.ndarray]
    channels: tuple[str, ...] = ()
    units: tuple[str, ...] = ()


def span_frames(clip: Clip, sample_rate_hz: float, num_frames: int) -> tuple[int, int]:
    """First and last + 1 frame of a clip; its end may lie one frame behind the recording's, where rounding puts it."""
    first = round((clip.start_seconds or 0.0) * sample_rate_hz)
    last = num_frames if clip.end_seconds is None else round(clip.end_seconds * sample_rate_hz)
    if last > num_frames + 1:
        raise ValueError(
            f"{clip}: the recording is only {num_frames / sample_rate_hz:g} s long; correct the span in the manifest"
        )
    last = min(last, num_frames)
    if last <= first:
        raise ValueError(f"{clip}: there are no samples in it. Replace the file, widen the span or drop the row")
    return first, last


def finite(values: np.ndarray, name: str) -> np.ndarray:
    """`values`, or a ValueError that names the recording and counts what is NaN or infinite."""
    num_bad = values.size - int(np.isfinite(values).sum())
    if num_bad:
        raise ValueError(f"{name}: {num_bad} of {values.size} values are NaN or infinite. Repair the file or drop it")
    return values


def recording_in_memory(
    name: str, values: np.ndarray, rate: float, channels: tuple[str, ...] = (), units: tuple[str, ...] = ()
) -> Recording:
    if not len(values):
        raise ValueError(f"{name}: there are no samples in it")

    def read(first: int, last: int) -> np.ndarray:
        return finite(np.asarray(values[first:last], dtype=np.float32), name)

    return Recording(name, rate, len(values), read, channels, units)
