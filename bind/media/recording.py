"""Recordings of sounds and sensors, on disk or in memory: frames at one rate, of which any part can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bind.types import Clip

MAX_FRAMES = 2**53


@dataclass(frozen=True, slots=True)
class Recording:
    """`num_frames` frames at `sample_rate_hz`; `read(first, last)` gives (last - first, C) finite float32.

    `channels` and `units` are empty for sound.
    """

    name: str
    sample_rate_hz: float
    num_frames: int
    read: Callable[[int, int], np.ndarray]
    channels: tuple[str, ...] = field(default=(), kw_only=True)
    units: tuple[str, ...] = field(default=(), kw_only=True)


EDGE_SECONDS = 0.1
"""Containers know when sound starts and ends, and when its packets come, no better than this."""


def span_frames(
    clip: Clip, sample_rate_hz: float, num_frames: int, *, tolerance_seconds: float = 0.0
) -> tuple[int, int]:
    """First frame of a clip and the frame after its last, in a recording of `num_frames`.

    The end may lie one frame beyond the recording's, where rounding puts it, or `tolerance_seconds`.

    Raises:
        ValueError: naming the clip, where it ends after the recording or holds no frame.
    """
    first, last = 0, num_frames
    # A file ends long before any number that can't be rounded: infinite, or beyond what floats count in ones.
    if clip.start_seconds is not None:
        first = round(min(clip.start_seconds * sample_rate_hz, MAX_FRAMES))
    if clip.end_seconds is not None:
        last = round(min(clip.end_seconds * sample_rate_hz, MAX_FRAMES))
    if last > num_frames + max(1, round(tolerance_seconds * sample_rate_hz)):
        raise ValueError(
            f"{clip}: the recording is only {num_frames / sample_rate_hz:g} s long; correct the span in the manifest"
        )
    last = min(last, num_frames)
    if last <= first:
        raise ValueError(f"{clip}: there are no samples in it. Replace the file, widen the span or drop the row")
    return first, last


def checked_finite(values: np.ndarray, name: str) -> np.ndarray:
    """`values`; ValueError, naming the recording and counting the values, where any is NaN or infinite."""
    is_finite = np.isfinite(values)
    if not is_finite.all():
        num_bad = values.size - int(is_finite.sum())
        raise ValueError(f"{name}: {num_bad} of {values.size} values are NaN or infinite. Repair the file or drop it")
    return values


def recording_in_memory(
    name: str,
    values_TC: np.ndarray,
    sample_rate_hz: float,
    *,
    channels: tuple[str, ...] = (),
    units: tuple[str, ...] = (),
    check: Callable[[np.ndarray, str], np.ndarray] = checked_finite,
) -> Recording:
    """A recording of `values_TC`, which `check` checks where they are read; ValueError where there is no frame."""
    if not len(values_TC):
        raise ValueError(f"{name}: there are no samples in it")

    def read(first: int, last: int) -> np.ndarray:
        return check(np.asarray(values_TC[first:last], dtype=np.float32), name)

    return Recording(name, sample_rate_hz, len(values_TC), read, channels=channels, units=units)
