"""Windows of a longer recording: where they start."""

from __future__ import annotations

import math


def window_starts(length: float, window: float, num_clips: int | None) -> list[float]:
    """Starts of `num_clips` windows in a recording, evenly from its start to its end; of one window, the middle.

    Windows may overlap; a recording no longer than one has one, from 0.

    Args:
        length: of the recording, in seconds or in frames, as the result.
        window: length of each window in the same unit.
        num_clips: how many; None takes as many as cover the whole recording.

    Source: ImageBind's clips, evenly spread over the recording.

    Examples:
        >>> window_starts(10.0, 2.0, num_clips=3)
        [0.0, 4.0, 8.0]
        >>> window_starts(10.0, 2.0, num_clips=1)
        [4.0]
        >>> window_starts(5.0, 2.0, num_clips=None)
        [0.0, 1.5, 3.0]
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
