"""Where the windows of a longer recording lie."""

from __future__ import annotations

import math


def window_starts(length: float, window: float, num_clips: int | None) -> list[float]:
    """Starts of `num_clips` windows in a recording, evenly from its start to its end; of one window, the middle.

    None takes as many as cover all of it. Windows may overlap; a recording no longer than one has one, from 0.

    Source: ImageBind's clips, evenly spread over the recording.
    """
    spare = length - window
    if spare <= 0:
        return [0.0]
    if num_clips is None:
        num_clips = math.ceil(length / window)
    if num_clips == 1:
        return [spare / 2]
    return [spare * i / (num_clips - 1) for i in range(num_clips)]


def checked_num_clips(num_clips: int | None) -> int | None:
    """`num_clips`; ValueError unless it is a count or None."""
    if num_clips is not None and (not isinstance(num_clips, int) or num_clips < 1):
        raise ValueError(f"num_clips={num_clips}: give a number of clips, or null for as many as cover the recording")
    return num_clips
