"""Measured stretches of a recording: the times of a file in which there is something to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bind.files.reading import reading, require_regular_file
from bind.media.audio import open_sound
from bind.media.kinds import PICTURE_SUFFIXES, SOUND_SUFFIXES
from bind.media.sensor import load_sensor_file
from bind.media.soundtrack import CONTAINER_SUFFIXES
from bind.media.video import open_container, stream_end_seconds
from bind.types import Clip, Modality

WITHOUT_TIME = frozenset({"depth", "thermal"})
"""Modalities whose arrays are maps, not recordings."""


def measured_stretches(modality: Modality, clip: Clip, flat_seconds: float) -> np.ndarray:
    """Starts and ends (K, 2) in seconds, in the clip's clock, of what its file holds, in order; the clip's span counts.

    A sound and a video are one stretch. A sensor's ends where rows are missing, where a value is none, and where all
    channels stand still for `flat_seconds` or more, as they do when it is off.

    Raises:
        ValueError: naming the file, where it can't be read, or holds no recording but a picture or a map.

    Examples:
        >>> import json
        >>> from tempfile import TemporaryDirectory
        >>> folder = TemporaryDirectory()
        >>> path = Path(folder.name, "walk.npy")
        >>> values_TC = np.arange(600.0).reshape(300, 2)
        >>> values_TC[100:110] = np.nan  # two tenths of a second at 50 Hz
        >>> np.save(path, values_TC)
        >>> about = {"channels": ["a", "b"], "units": ["V", "V"], "sample_rate_hz": 50}
        >>> _ = path.with_suffix(".json").write_text(json.dumps(about))
        >>> measured_stretches("imu", Clip(path), flat_seconds=1.0).tolist()
        [[0.0, 2.0], [2.2, 6.0]]
        >>> folder.cleanup()
    """
    assert isinstance(clip.path, Path)
    suffix = clip.path.suffix.lower()
    if suffix in PICTURE_SUFFIXES or (modality in WITHOUT_TIME and suffix not in CONTAINER_SUFFIXES):
        raise ValueError(
            f"{clip.path}: a {modality} has no time, so windows can't be cut out of it. Leave its column out of the "
            "manifest of recordings"
        )
    if suffix in CONTAINER_SUFFIXES:
        stretches = np.array([[0.0, _container_seconds(modality, clip)]])
    elif suffix in SOUND_SUFFIXES:
        require_regular_file(clip.path)
        with open_sound(Clip(clip.path)) as sound:
            stretches = np.array([[0.0, sound.num_frames / sound.sample_rate_hz]])
    else:
        stretches = _sensor_stretches(clip, flat_seconds)
    low = 0.0 if clip.start_seconds is None else clip.start_seconds
    high = np.inf if clip.end_seconds is None else clip.end_seconds
    if clip.start_seconds is not None or clip.end_seconds is not None:
        stretches = np.clip(stretches, low, high)
    measured: np.ndarray = stretches[stretches[:, 1] > stretches[:, 0]]
    return measured


def _container_seconds(modality: Modality, clip: Clip) -> float:
    """The end of the sound track, of a video in any other modality."""
    assert isinstance(clip.path, Path)
    require_regular_file(clip.path)
    kind = "sound" if modality == "audio" else "video"
    with open_container(Clip(clip.path)) as container, reading(clip.path, f"not readable as {kind}"):
        streams = container.streams.audio if kind == "sound" else container.streams.video
        if not streams:
            raise ValueError(f"{clip.path}: there is no {kind} in it. Leave its cell empty, or replace the file")
        return stream_end_seconds(container, streams[0])


def _sensor_stretches(clip: Clip, flat_seconds: float) -> np.ndarray:
    file = load_sensor_file(clip)
    rate_hz = file.sample_rate_hz
    clock_start = 0.0 if clip.from_first_row else file.even.start_seconds
    edges: list[np.ndarray] = [np.zeros((0, 2), np.int64)]
    for first, values_TC in file.even.stretches:
        is_measured = np.isfinite(values_TC).all(axis=1)
        is_still = np.append((values_TC[1:] == values_TC[:-1]).all(axis=1), False)  # as the row after it
        for begin, end in runs(is_still).tolist():
            if end - begin + 1 >= max(2, round(flat_seconds * rate_hz)):
                is_measured[begin : end + 1] = False
        edges.append(runs(is_measured) + first)
    return clock_start + np.concatenate(edges) / rate_hz


def runs(flags: np.ndarray) -> np.ndarray:
    """First and last + 1 (K, 2) of every run of true values.

    Examples:
        >>> runs(np.array([True, False, True, True])).tolist()
        [[0, 1], [2, 4]]
    """
    steps = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return steps.reshape(-1, 2)
