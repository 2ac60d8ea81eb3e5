"""Activity of streams over time: of motion and sound in steps of 10 ms, of a video from frame to frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bind.media.audio import open_audio
from bind.media.kinds import SOUND_SUFFIXES
from bind.media.sensor import load_sensor_file, open_sensor
from bind.media.soundtrack import CONTAINER_SUFFIXES
from bind.media.video import open_container, open_video
from bind.studies.doctor.envelope import motion_envelope
from bind.studies.sync.estimate import ACTIVITY_HZ
from bind.types import Clip, Modality

BLOCK_SECONDS = 10
FRAMES_PER_SECOND = 30.0
"""At which a video is looked at, unless it has fewer: then each frame is, once."""
FRAME_PX = 32
FRAMES_AT_ONCE = 300


@dataclass(frozen=True, slots=True)
class Activity:
    """How much happens in each interval of a stream.

    Attributes:
        edges: (K+1,) rising, in seconds from the start of the stream's span.
        values: (K,) at least 0.
    """

    edges: np.ndarray
    values: np.ndarray

    def in_steps(self) -> np.ndarray:
        """The activity (T,) float32 at 100 Hz, between the middles of intervals in proportion.

        Examples:
            >>> Activity(np.array([0.0, 0.02, 0.04]), np.array([1.0, 3.0])).in_steps().tolist()
            [1.0, 1.5, 2.5, 3.0]
        """
        if not len(self.values):
            return np.zeros(0, dtype=np.float32)
        steps = (np.arange(round(self.edges[-1] * ACTIVITY_HZ)) + 0.5) / ACTIVITY_HZ
        middles = (self.edges[1:] + self.edges[:-1]) / 2
        return np.asarray(np.interp(steps, middles, self.values), dtype=np.float32)


def has_sound(modality: Modality, clip: Clip) -> bool:
    """Whether a stream is a sound, or a video with a sound track."""
    assert isinstance(clip.path, Path)
    suffix = clip.path.suffix.lower()
    if suffix not in CONTAINER_SUFFIXES:
        return suffix in SOUND_SUFFIXES
    if modality == "audio":
        return True
    with open_container(Clip(clip.path)) as container:
        return bool(container.streams.audio)


def clock_start_seconds(clip: Clip) -> float:
    """Where the span of a clip begins, in the clock that spans of a manifest are in."""
    assert isinstance(clip.path, Path)
    if clip.start_seconds is not None:
        return clip.start_seconds
    is_sensor = clip.path.suffix.lower() not in (*CONTAINER_SUFFIXES, *SOUND_SUFFIXES)
    return load_sensor_file(clip).even.start_seconds if is_sensor and not clip.from_first_row else 0.0


def measure_activity(modality: Modality, clip: Clip, *, by_sound: bool) -> Activity:
    """The activity of a stream from the start of its span on; `by_sound` of its sound.

    Raises:
        ValueError: naming the file, where it can't be read, has a gap, or is a picture.
    """
    assert isinstance(clip.path, Path)
    suffix = clip.path.suffix.lower()
    if by_sound or suffix in SOUND_SUFFIXES or (modality == "audio" and suffix in CONTAINER_SUFFIXES):
        return _every_10_ms(_sound_activity(clip))
    if suffix in CONTAINER_SUFFIXES:
        return _video_activity(clip)
    if suffix not in (".npy", ".csv", ".parquet"):
        raise ValueError(f"{clip.path}: a {modality} of this kind has no time; leave its column out of the manifest")
    recording = open_sensor(clip)
    x_TC = recording.read(0, recording.num_frames)
    return _every_10_ms(motion_envelope(x_TC, recording.sample_rate_hz, envelope_hz=ACTIVITY_HZ, max_seconds=math.inf))


def _every_10_ms(values_T: np.ndarray) -> Activity:
    return Activity(np.arange(len(values_T) + 1) / ACTIVITY_HZ, values_T)


def _sound_activity(clip: Clip) -> np.ndarray:
    """Root of the energy of every step, read in blocks."""
    with open_audio(clip) as recording:
        rate_hz = recording.sample_rate_hz
        num_steps = int(recording.num_frames / rate_hz * ACTIVITY_HZ)
        energy_T = np.zeros(num_steps + 1)
        block = round(BLOCK_SECONDS * rate_hz)
        for first in range(0, recording.num_frames, block):
            x_NC = recording.read(first, min(first + block, recording.num_frames))
            steps = ((first + np.arange(len(x_NC))) * ACTIVITY_HZ // rate_hz).astype(np.int64)
            energy_T += np.bincount(steps, np.square(x_NC).mean(axis=1), minlength=num_steps + 1)[: num_steps + 1]
    return np.sqrt(energy_T[:num_steps] * ACTIVITY_HZ / rate_hz).astype(np.float32)


def _video_activity(clip: Clip) -> Activity:
    """How much each small frame differs from the one before, between the times that both were taken."""
    with open_video(clip) as video:
        step_seconds = max(video.frame_seconds, 1 / FRAMES_PER_SECOND)
        # In the middle of what a frame is shown, so that rounding never hits its neighbour: half of that after it was
        # taken.
        times = np.arange(step_seconds / 2, video.seconds, step_seconds)
        change: list[float] = []
        before: np.ndarray | None = None
        for first in range(0, len(times), FRAMES_AT_ONCE):
            for frame in video.frames(times[first : first + FRAMES_AT_ONCE].tolist(), FRAME_PX):
                grey_HW = frame.mean(axis=2)
                if before is not None:
                    change.append(float(np.abs(grey_HW - before).mean()))
                before = grey_HW
        taken = times - video.frame_seconds / 2
        # Nothing is known of the time between the last frame and the end.
        return Activity(np.append(taken, video.seconds), np.array([*change, 0.0], dtype=np.float32))
