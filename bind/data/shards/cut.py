"""What goes into a shard for one value: the file as it is, or exactly the frames of its span."""

from __future__ import annotations

import io
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from bind.data.recordings import open_audio, open_sensor, span_frames
from bind.types import Clip

SOUND = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".opus")
SENSOR = (".npy", ".csv", ".parquet")
FRAMES_TYPE = {"PCM_16": "int16", "PCM_24": "int32"}

MAX_HEADER_BYTES = 4096
"""Of the files that spans are written to."""

Packed = tuple[str, bytes]
"""Extension and content of a member."""


def is_cut(clip: Clip) -> bool:
    """Whether the span of `clip` is taken out of its file; pictures and videos are packed whole with their span."""
    return has_span(clip) and _suffix(clip) in (*SOUND, *SENSOR)


def has_span(clip: Clip) -> bool:
    return clip.start_seconds is not None or clip.end_seconds is not None


def packed_value(clip: Clip) -> list[Packed]:
    """The members of one value: its file, or its span's frames, and the sidecar of a `.npy`.

    A span decodes to the same frames as it does out of its file. Sound of 16 or 24 bits stays what it was, any other
    becomes 32-bit float WAV; sensor spans become `.npy` with the rate of the whole recording.

    Raises:
        ValueError: naming the file, where it has no extension, can't be read, or ends before its span.
    """
    if is_cut(clip):
        return _cut_sensor(clip) if _suffix(clip) in SENSOR else [_cut_sound(clip)]
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


def largest_size(clip: Clip) -> int:
    """Bytes that the members of a value hold at most, found without decoding sound."""
    path = cast(Path, clip.path)
    if not is_cut(clip):
        sidecar = path.with_suffix(".json")
        has_sidecar = _suffix(clip) == ".npy" and sidecar.is_file()
        return path.stat().st_size + (sidecar.stat().st_size if has_sidecar else 0)
    if _suffix(clip) in SENSOR:
        recording = open_sensor(clip)
        num_values = recording.num_frames * len(recording.channels)
    else:
        rate_hz, num_frames, num_channels = _sound_facts(path)
        first, last = span_frames(clip, rate_hz, num_frames)
        num_values = (last - first) * num_channels
    return 4 * num_values + MAX_HEADER_BYTES


def _suffix(clip: Clip) -> str:
    return clip.path.suffix.lower()


@lru_cache(maxsize=4096)
def _sound_facts(path: Path) -> tuple[int, int, int]:
    import soundfile

    try:
        facts = soundfile.info(path)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"{path}: not readable as sound ({error}). Replace the file or drop its row") from error
    return facts.samplerate, facts.frames, facts.channels


def _cut_sound(clip: Clip) -> Packed:
    import soundfile
    from scipy.io import wavfile

    with open_audio(clip) as recording:
        rate_hz, num_frames = int(recording.sample_rate_hz), recording.num_frames
        frames = recording.read(0, num_frames)
    written = io.BytesIO()
    with soundfile.SoundFile(clip.file) as file:
        kind = FRAMES_TYPE.get(file.subtype) if file.format in ("WAV", "WAVEX", "FLAC") else None
        if kind:
            file.seek(span_frames(clip, rate_hz, file.frames)[0])
            whole = file.read(num_frames, dtype=kind, always_2d=True)
            container = "FLAC" if file.format == "FLAC" else "WAV"
            soundfile.write(written, whole, rate_hz, file.subtype, format=container)
            return container.lower(), written.getvalue()
    # Not soundfile: it writes the time of day into a WAV of floats.
    wavfile.write(written, rate_hz, frames)
    return "wav", written.getvalue()


def _cut_sensor(clip: Clip) -> list[Packed]:
    recording = open_sensor(clip)
    about: dict[str, Any] = {
        "channels": recording.channels,
        "units": recording.units,
        "sample_rate_hz": recording.sample_rate_hz,
    }
    written = io.BytesIO()
    np.save(written, recording.read(0, recording.num_frames), allow_pickle=False)
    return [("npy", written.getvalue()), ("json", json.dumps(about).encode())]
