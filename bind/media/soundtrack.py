"""The sound track of a video, and sound in other containers, through PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from bind.media.notices import say_once
from bind.media.recording import Recording, finite, span_frames
from bind.media.video import VIDEO_SUFFIXES, discard_other_streams, end_seconds, open_container, start_seconds
from bind.types import Clip

CONTAINER_SUFFIXES = VIDEO_SUFFIXES | {".m4a", ".mka", ".aac", ".wma"}
PREROLL_SECONDS = 0.2
"""Decoded ahead of what is read: lossy codecs need what came before."""
EDGE_SECONDS = 0.1
"""Containers know when sound starts and ends, and when its packets come, no better than this."""


@contextmanager
def open_soundtrack(clip: Clip) -> Iterator[Recording]:
    """The first sound track of a container or its span, on the clock of its pictures.

    Where the track has no sound, before it starts or in a gap, there is silence, as in a player; the log says so once.

    Raises:
        ValueError: a file that is missing, not readable, without sound, cut off, or shorter than its span.
    """
    with open_container(clip) as container:
        if not container.streams.audio:
            raise ValueError(f"{clip.path}: there is no sound track in it. Leave its cell empty, or replace the file")
        stream = container.streams.audio[0]
        discard_other_streams(container, stream)
        head = next(container.decode(stream), None)
        if head is None:
            raise ValueError(f"{clip.path}: there is no sound in its sound track. Leave its cell empty")
        rate_hz, num_channels = head.sample_rate, len(head.layout.channels)
        total = end_seconds(container, stream)
        known_to_end = clip.end_seconds is None or not total < clip.end_seconds <= total + EDGE_SECONDS
        span = clip if known_to_end else replace(clip, end_seconds=None)
        first, last = span_frames(span, rate_hz, round(total * rate_hz))

        def read(begin: int, end: int) -> np.ndarray:
            sound_TC = np.zeros((end - begin, num_channels), dtype=np.float32)
            heard, decoded = 0, 0
            for place, x_TC in _pieces(container, stream, (first + begin) / rate_hz, (first + end) / rate_hz, rate_hz):
                skip = place - (first + begin)
                low, high = max(0, skip), min(len(sound_TC), skip + len(x_TC))
                if low < high:
                    sound_TC[low:high] = x_TC[low - skip : high - skip]
                    heard += high - low
                decoded = place + len(x_TC)
            missing = max(0, first + end - decoded)
            if missing > EDGE_SECONDS * rate_hz:
                raise ValueError(
                    f"{clip}: its sound ends early, at {decoded / rate_hz:g} s. The file is cut off: replace it, or "
                    "give it a span that ends sooner"
                )
            if len(sound_TC) - heard - missing > EDGE_SECONDS * rate_hz:
                say_once("a sound track that starts late or has gaps is silent there", str(clip))
            return finite(sound_TC, str(clip))

        yield Recording(str(clip), rate_hz, last - first, read)


def _pieces(container: Any, stream: Any, start: float, end: float, rate_hz: int) -> Iterator[tuple[int, np.ndarray]]:
    """Decoded pieces (n, C) float32 from `start` to `end` seconds, each with its place in samples."""
    import av

    zero = start_seconds(container)
    ticks = round((Fraction(max(0.0, start - PREROLL_SECONDS)) + zero) / stream.time_base)
    container.seek(ticks, stream=stream)
    as_float = av.AudioResampler(format="fltp")
    place: int | None = None
    for frame in container.decode(stream):
        ticks = frame.pts if frame.pts is not None else frame.dts
        told = None if ticks is None else round(float(ticks * frame.time_base - zero) * rate_hz)
        # Pieces follow on one another: rounded times must not cut samples out or in between.
        if place is None or (told is not None and abs(told - place) > EDGE_SECONDS * rate_hz):
            place = told or 0
        for piece in as_float.resample(frame):
            x_TC = piece.to_ndarray().T
            yield place, x_TC
            place += len(x_TC)
        if place >= end * rate_hz:
            return
