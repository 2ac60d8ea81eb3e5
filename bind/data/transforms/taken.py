"""Part of a recording that a transform takes in evaluation: its middle, or a few windows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bind.data.transforms.imagebind import ImageBindAudioTransform
from bind.data.transforms.video import VideoTransform
from bind.media.audio import open_sound, sound_span_frames
from bind.media.resample import frames_at, rate_ratio
from bind.media.sensor import load_sensor_file, sensor_span_frames
from bind.media.video import open_video
from bind.media.windows import window_starts
from bind.types import Clip, SensorRecording, SensorTransform, Waveform

MAX_LEFT_OUT = 0.05
"""Of a recording: less than that is left out without a word."""


@dataclass(frozen=True)
class TakenPart:
    """Which part of a recording, or of a span of one, a transform takes.

    Attributes:
        starts_seconds: of each window, in the clock of the file.
        window_seconds: how long each is.
        of_seconds: length of the recording, or of the span that is the value.
        first_seconds: when that begins, in the clock of the file.

    Examples:
        >>> part = TakenPart((178.0,), 2.56, of_seconds=358.56, first_seconds=0.0)
        >>> print(part)
        the middle 2.56 s of 358.6 s, from 178.0 s on
        >>> part.is_cut, TakenPart((0.0, 1.0), 1.0, of_seconds=2.0, first_seconds=0.0).is_cut
        (True, False)
    """

    starts_seconds: tuple[float, ...]
    window_seconds: float
    of_seconds: float
    first_seconds: float

    @property
    def is_cut(self) -> bool:
        """Whether more than a twentieth is left out."""
        return len(self.starts_seconds) * self.window_seconds < (1 - MAX_LEFT_OUT) * self.of_seconds

    def __str__(self) -> str:
        start = f"from {self.starts_seconds[0]:.1f} s on"
        if len(self.starts_seconds) > 1:
            num_windows = len(self.starts_seconds)
            return f"{num_windows} windows of {self.window_seconds:g} s, {start}, out of {self.of_seconds:.1f} s"
        which = "first" if self.starts_seconds[0] <= self.first_seconds else "middle"
        return f"the {which} {self.window_seconds:g} s of {self.of_seconds:.1f} s, {start}"

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "starts_seconds": list(self.starts_seconds)}


def find_taken_part(value: Any, transform: Any) -> TakenPart | None:
    """What a transform takes of a sound, a sensor's recording or a video; None where it does not say, or of others.

    Raises:
        ValueError: naming the file that can't be read.

    Examples:
        >>> import numpy as np
        >>> from bind.data.transforms.audio import AudioTransform
        >>> tone = Waveform(np.zeros(80_000, np.float32), sample_rate_hz=8000)
        >>> print(find_taken_part(tone, AudioTransform(window_seconds=2.0)))
        the middle 2 s of 10.0 s, from 4.0 s on
        >>> find_taken_part("a dog", AudioTransform()) is None
        True
    """
    if isinstance(transform, SensorTransform):
        return _of_sensor(value, transform) if isinstance(value, Clip | SensorRecording) else None
    if isinstance(transform, VideoTransform):
        return _of_video(value, transform) if isinstance(value, Clip) else None
    is_of_sound = all(hasattr(transform, name) for name in ("sample_rate_hz", "num_samples", "num_clips"))
    return _of_sound(value, transform) if is_of_sound and isinstance(value, Clip | Waveform) else None


def _of_sensor(value: Clip | SensorRecording, transform: SensorTransform) -> TakenPart:
    if isinstance(value, SensorRecording):
        rate_hz, num_frames, first_seconds = value.sample_rate_hz, len(value.values), 0.0
    else:
        file = load_sensor_file(value)
        first, last = sensor_span_frames(value, file)
        rate_hz, num_frames = file.sample_rate_hz, last - first
        first_seconds = file.even.start_seconds + first / rate_hz
    spare = max(0, num_frames - transform.frames_of_window(rate_hz, str(value)))
    start = first_seconds + spare // 2 / rate_hz
    return TakenPart((start,), transform.window_seconds, num_frames / rate_hz, first_seconds)


def _of_sound(value: Clip | Waveform, transform: Any) -> TakenPart:
    if isinstance(value, Waveform):
        rate_hz, first, last = value.sample_rate_hz, 0, len(value.samples)
    else:
        with open_sound(value) as sound:
            rate_hz = sound.sample_rate_hz
            first, last = sound_span_frames(value, sound)
    ratio = rate_ratio(transform.sample_rate_hz, rate_hz, str(value))
    if isinstance(transform, ImageBindAudioTransform):
        starts = [start / transform.sample_rate_hz for start in transform.starts_of(frames_at(ratio, last - first))]
    else:
        frames = window_starts(last - first, frames_at(1 / ratio, transform.num_samples), transform.num_clips)
        starts = [int(start) / rate_hz for start in frames]
    window_seconds = transform.num_samples / transform.sample_rate_hz
    return TakenPart(
        tuple(first / rate_hz + start for start in starts), window_seconds, (last - first) / rate_hz, first / rate_hz
    )


def _of_video(value: Clip, transform: VideoTransform) -> TakenPart:
    with open_video(value) as video:
        seconds = video.seconds
    first = value.start_seconds or 0.0
    starts = window_starts(seconds, transform.clip_seconds, transform.num_clips)
    return TakenPart(tuple(first + start for start in starts), transform.clip_seconds, seconds, first)
