"""Members of a shard for one value: its whole file, or exactly the frames of its span."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, cast

import numpy as np

from bind.media.audio import open_sound, sound_span_frames
from bind.media.sensor import open_sensor
from bind.media.sound_writer import cut_sound
from bind.types import Clip

SOUND = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".opus")
SENSOR = (".npy", ".csv", ".parquet")

MAX_HEADER_BYTES = 4096
"""Of the files that spans are written to."""

PackedMember = tuple[str, bytes]
"""Extension and content of a member."""


def is_cut(clip: Clip) -> bool:
    """Whether the span of `clip` is taken out of its file; pictures and videos are packed whole with their span."""
    return has_span(clip) and _suffix(clip) in (*SOUND, *SENSOR)


def has_span(clip: Clip) -> bool:
    """Whether `clip` is a part of its file."""
    return clip.start_seconds is not None or clip.end_seconds is not None


def pack_value(clip: Clip) -> list[PackedMember]:
    """The members of one value: its file, or its span's frames, and the sidecar of a `.npy`.

    A span decodes to the same frames as it does out of its file. Sound of 16 or 24 bits stays what it was, any other
    becomes 32-bit float WAV; sensor spans become `.npy` with the rate of the whole recording.

    Raises:
        ValueError: naming the file, where it has no extension, can't be read, or ends before its span.
    """
    if is_cut(clip):
        return _cut_sensor(clip) if _suffix(clip) in SENSOR else [cut_sound(clip)]
    path = cast(Path, clip.path)
    extension = _suffix(clip).removeprefix(".")
    if not extension.isalnum():
        raise ValueError(f"{path}: a packed file needs an extension that says what it is, such as .wav")
    try:
        members = [(extension, path.read_bytes())]
        sidecar = path.with_suffix(".json")
        if extension == "npy" and sidecar.is_file():
            members.append(("json", sidecar.read_bytes()))
    except OSError as error:
        raise ValueError(f"{path}: not readable ({error.strerror}). Check the manifest") from error
    return members


def max_packed_bytes(clip: Clip) -> int:
    """Bytes that the members of a value hold at most, found without decoding WAV and FLAC."""
    path = cast(Path, clip.path)
    if not is_cut(clip):
        sidecar = path.with_suffix(".json")
        has_sidecar = _suffix(clip) == ".npy" and sidecar.is_file()
        return path.stat().st_size + (sidecar.stat().st_size if has_sidecar else 0)
    if _suffix(clip) in SENSOR:
        recording = open_sensor(clip)
        num_values = recording.num_frames * len(recording.channels)
    else:
        with open_sound(clip) as sound:
            first, last = sound_span_frames(clip, sound)
            num_values = (last - first) * sound.num_channels
    return 4 * num_values + MAX_HEADER_BYTES


def _suffix(clip: Clip) -> str:
    return clip.path.suffix.lower()


def _cut_sensor(clip: Clip) -> list[PackedMember]:
    recording = open_sensor(clip)
    header: dict[str, Any] = {
        "channels": recording.channels,
        "units": recording.units,
        "sample_rate_hz": recording.sample_rate_hz,
    }
    content = io.BytesIO()
    np.save(content, recording.read(0, recording.num_frames), allow_pickle=False)
    return [("npy", content.getvalue()), ("json", json.dumps(header).encode())]
