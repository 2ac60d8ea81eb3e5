"""Sound tracks of videos, and sound in other containers, read by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from bind.media.notices import warn_once
from bind.media.recording import Recording, checked_finite, span_frames
from bind.media.video import (
    VIDEO_SUFFIXES,
    clock_start_seconds,
    discard_other_streams,
    open_container,
    stream_end_seconds,
)
from bind.types import Clip

CONTAINER_SUFFIXES = VIDEO_SUFFIXES | {".m4a", ".mka", ".aac", ".wma"}
PREROLL_SECONDS = 0.2
"""Decoded ahead of what is read: lossy codecs need what came before."""
EDGE_SECONDS = 0.1
"""Containers know when sound starts and ends, and when its packets come, no better than this."""


@contextmanager
def open_soundtrack(clip: Clip) -> Iterator[Recording]:
    """Open the first sound track of a container or its span, on the clock of its pictures.

    Where the track has no sound, before it starts or in a gap, there is silence, as in a player; the log says so once.

    Raises:
        ValueError: a file that is missing, not readable, without sound, cut off, or shorter than its span.
    """
    with open_container(clip) as container:
        if not container.streams.audio:
            raise ValueError(f"{clip.path}: there is no sound track in it. Leave its cell empty, or replace the file")
        stream = container.streams.audio[0]
        discard_other_streams(container, stream)
        first_frame = next(container.decode(stream), None)
        if first_frame is None:
            raise ValueError(f"{clip.path}: there is no sound in its sound track. Leave its cell empty")
        rate_hz, num_channels = first_frame.sample_rate, len(first_frame.layout.channels)
        total_seconds = stream_end_seconds(container, stream)
        ends_at_edge = clip.end_seconds is not None and total_seconds < clip.end_seconds <= total_seconds + EDGE_SECONDS
        span = replace(clip, end_seconds=None) if ends_at_edge else clip
        first, last = span_frames(span, rate_hz, round(total_seconds * rate_hz))

        def read(begin: int, end: int) -> np.ndarray:
            sound_TC = np.zeros((end - begin, num_channels), dtype=np.float32)
            num_copied, decoded_to = 0, 0
            window_seconds = (first + begin) / rate_hz, (first + end) / rate_hz
            for position, x_TC in _decode_pieces(container, stream, *window_seconds, rate_hz):
                offset = position - (first + begin)
                low, high = max(0, offset), min(len(sound_TC), offset + len(x_TC))
                if low < high:
                    sound_TC[low:high] = x_TC[low - offset : high - offset]
                    num_copied += high - low
                decoded_to = position + len(x_TC)
            num_missing = max(0, first + end - decoded_to)
            if num_missing > EDGE_SECONDS * rate_hz:
                raise ValueError(
                    f"{clip}: its sound ends early, at {decoded_to / rate_hz:g} s. The file is cut off: replace it, or "
                    "give it a span that ends sooner"
                )
            if len(sound_TC) - num_copied - num_missing > EDGE_SECONDS * rate_hz:
                warn_once("a sound track that starts late or has gaps is silent there", str(clip))
            return checked_finite(sound_TC, str(clip))

        yield Recording(str(clip), rate_hz, last - first, read)


def _decode_pieces(
    container: Any, stream: Any, start: float, end: float, rate_hz: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Decoded pieces (n, C) float32 from `start` to `end` seconds, each with its first frame's number."""
    import av

    clock_start = clock_start_seconds(container)
    ticks = round((Fraction(max(0.0, start - PREROLL_SECONDS)) + clock_start) / stream.time_base)
    container.seek(ticks, stream=stream)
    to_float = av.AudioResampler(format="fltp")
    position: int | None = None
    for frame in container.decode(stream):
        ticks = frame.pts if frame.pts is not None else frame.dts
        by_clock = None if ticks is None else round(float(ticks * frame.time_base - clock_start) * rate_hz)
        # Pieces follow on one another: rounded times must not cut samples out or in between.
        if position is None or (by_clock is not None and abs(by_clock - position) > EDGE_SECONDS * rate_hz):
            position = by_clock or 0
        for piece in to_float.resample(frame):
            x_TC = piece.to_ndarray().T
            yield position, x_TC
            position += len(x_TC)
        if position >= end * rate_hz:
            return
