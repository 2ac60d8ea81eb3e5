"""Readers of video files, by PyAV: upright frames by time, and the clock of a container."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bind.files.reading import reading, require_regular_file
from bind.types import Clip

READER_VERSION = 1
"""Raised where the same file would give other values: part of the key of caches."""
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts"})
FORMATS = "mov,matroska,avi,mpeg,mpegts,mpegvideo,aac,asf,mp3,ogg,flac,wav"
"""Those that are decoded, whatever a file is called: a playlist would have other files opened."""
ROUNDING_SECONDS = 1e-3
"""Containers round times to their own clock, Matroska's to a millisecond."""
LAST_FRAME_SECONDS = 1.0
"""How long the last frame is shown at least; beyond, a file is shorter than it says."""
SEEK_SECONDS = 2.0
"""Over larger steps frames are not decoded one by one."""


class ReadFrames(Protocol):
    """From rising times in seconds to the frames shown then, uint8 (H, W, 3), scaled to `short_side_px`."""

    def __call__(self, times: Sequence[float], short_side_px: int | None = None) -> list[np.ndarray]: ...


@dataclass(frozen=True, slots=True)
class Video:
    """`seconds` of moving pictures; `frames(times)` gives what is shown at each of those seconds.

    Frames are uint8 (H, W, 3), turned upright as the file asks for, with `short_side_px` scaled to that shorter side.
    Times rise; a frame is shown until the next one comes, so that any frame rate, also one that varies, will do.
    `frame_seconds` is how long a frame is shown on average, 0 where the file does not say.
    """

    name: str
    seconds: float
    frames: ReadFrames
    frame_seconds: float = 0.0


@contextmanager
def open_video(clip: Clip) -> Iterator[Video]:
    """Open the pictures of a video file, or of its span, in seconds from the start of the file as players count them.

    Raises:
        ValueError: a file that is missing, no video, cut off, without a frame, or shorter than its span.
    """
    if not isinstance(clip, Clip):
        raise ValueError(f"a video is a Clip (a file), not {type(clip).__name__}")
    if isinstance(clip.path, Path):
        require_regular_file(clip.path)
    with open_container(clip) as container:
        with reading(clip.path, "not readable as video"):
            if not container.streams.video:
                raise ValueError(f"{clip.path}: there is no video in it. Leave its cell empty, or replace the file")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # samples are decoded side by side by the loader's processes
            discard_other_streams(container, stream)
            total = stream_end_seconds(container, stream)
            start = clip.start_seconds or 0.0
            end = total if clip.end_seconds is None else clip.end_seconds
            if end > total + LAST_FRAME_SECONDS:
                raise ValueError(f"{clip}: the video is only {total:g} s long; correct the span in the manifest")
            end = min(end, total)
            if end <= start:
                raise ValueError(f"{clip}: there are no frames in it. Replace the file, widen the span or drop the row")
            reader = _FrameReader(container, stream, clip)

        def frames(times: Sequence[float], short_side_px: int | None = None) -> list[np.ndarray]:
            with reading(clip.path, "not readable as video"):
                return [_upright_pixels(frame, short_side_px) for frame in reader.frames_at([start + t for t in times])]

        yield Video(str(clip), end - start, frames, float(1 / stream.average_rate) if stream.average_rate else 0.0)


@contextmanager
def open_container(clip: Clip, format_name: str | None = None) -> Iterator[Any]:
    """Open a PyAV container, of one of `FORMATS`; what PyAV raises in the block becomes a ValueError with the file."""
    import av

    file = clip.file
    try:
        place = str(file) if isinstance(file, Path) else file
        with av.open(
            place, format=format_name, options={"format_whitelist": FORMATS}, metadata_errors="replace"
        ) as container:
            yield container
    except av.FFmpegError:
        with reading(clip.path, "not readable as video or sound"):
            raise


def discard_other_streams(container: Any, stream: Any) -> None:
    """Have `container` read no other of its streams than `stream`."""
    from av.stream import Discard

    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all


def clock_start_seconds(container: Any) -> Fraction:
    """Where a container's clock stands when playing starts: time zero of all of its streams."""
    return Fraction(container.start_time or 0, 1_000_000)


def stream_end_seconds(container: Any, stream: Any) -> float:
    """When `stream` ends, in seconds from the start of the file; read packet by packet where no header says so."""
    zero = clock_start_seconds(container)
    if stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base - zero)
    if container.duration:
        return float(container.duration / 1e6)
    ends = [(p.pts + (p.duration or 0)) * p.time_base for p in container.demux(stream) if p.pts is not None]
    container.seek(0)
    return float(max(ends, default=zero) - zero)


class _FrameReader:
    """Frames of a stream by the time at which they are shown."""

    def __init__(self, container: Any, stream: Any, clip: Clip) -> None:
        self.container, self.stream, self.clip = container, stream, clip
        self.zero = clock_start_seconds(container)
        self.decoder: Iterator[Any] = iter(())
        self.current: Any = None  # the frame that is shown now
        self.following: Any = None  # the one after it, which ends the time of the current one

    def frames_at(self, times: Sequence[float]) -> list[Any]:
        frames = []
        for time in times:
            if self.current is None:
                self._start()
            if not 0 <= time - self._time(self.current) <= SEEK_SECONDS:
                self._seek(time)
                if self._time(self.current) > time + ROUNDING_SECONDS or not self.current.key_frame:
                    self._seek(0.0)  # the index, or a file without one, led too far or between key frames
            while self.following is not None and self._time(self.following) <= time + ROUNDING_SECONDS:
                self._step()
            if self.following is None:
                self._refuse_early_end(time)
            frames.append(self.current)
        return frames

    def _seek(self, time: float) -> None:
        ticks = math.floor((Fraction(time) + self.zero) / self.stream.time_base)
        self.container.seek(ticks, stream=self.stream)
        self._start()

    def _start(self) -> None:
        self.decoder, self.following = self.container.decode(self.stream), None
        self._step()
        self._step()
        if self.current is None:
            raise ValueError(f"{self.clip}: no frame could be decoded. Replace the file or drop its row")

    def _step(self) -> None:
        self.current, self.following = self.following, next(self.decoder, None)

    def _time(self, frame: Any) -> float:
        ticks = frame.pts if frame.pts is not None else frame.dts
        if ticks is None:
            raise ValueError(f"{self.clip.path}: its frames have no times. Write it again as MP4 or Matroska")
        return float(ticks * frame.time_base - self.zero)

    def _refuse_early_end(self, time: float) -> None:
        last = self._time(self.current)
        shown_for = float((self.current.duration or 0) * self.current.time_base)
        if time > last + max(shown_for, LAST_FRAME_SECONDS):
            raise ValueError(
                f"{self.clip}: ends early, its last frame is at {last:g} s and one at {time:g} s was to be there. The "
                "file is cut off: replace it, or give it a span that ends sooner"
            )


def _upright_pixels(frame: Any, short_side_px: int | None) -> np.ndarray:
    width, height = frame.width, frame.height
    if short_side_px is not None:
        scale = short_side_px / min(width, height)
        width, height = (max(short_side_px, round(side * scale)) for side in (width, height))
    pixels = frame.reformat(width=width, height=height, format="rgb24", interpolation="BICUBIC").to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
