"""Writers of sound files: the span of a file, cut out without loss, and sound that a browser plays."""

from __future__ import annotations

import io

import numpy as np

from bind.media.audio import open_audio
from bind.media.recording import span_frames
from bind.types import Clip

LOSSLESS_DTYPES = {"PCM_16": "int16", "PCM_24": "int32"}
"""How soundfile's subtypes are read and written back bit for bit."""


def cut_sound(clip: Clip) -> tuple[str, bytes]:
    """Extension and content of a file that holds the span of `clip` alone; it decodes to the same frames.

    Sound of 16 or 24 bits stays what it was, any other becomes 32-bit float WAV.

    Raises:
        ValueError: naming the file, where it can't be read or ends before its span.
    """
    import soundfile
    from scipy.io import wavfile

    with open_audio(clip) as recording:
        rate_hz, num_frames = int(recording.sample_rate_hz), recording.num_frames
        frames_TC = recording.read(0, num_frames)
    content = io.BytesIO()
    with soundfile.SoundFile(clip.file) as file:
        dtype = LOSSLESS_DTYPES.get(file.subtype) if file.format in ("WAV", "WAVEX", "FLAC") else None
        if dtype:
            file.seek(span_frames(clip, rate_hz, file.frames)[0])
            stored_TC = file.read(num_frames, dtype=dtype, always_2d=True)
            container = "FLAC" if file.format == "FLAC" else "WAV"
            soundfile.write(content, stored_TC, rate_hz, file.subtype, format=container)
            return container.lower(), content.getvalue()
    # Not soundfile: it writes the time of day into a WAV of floats.
    wavfile.write(content, rate_hz, frames_TC)
    return "wav", content.getvalue()


def encode_for_browsers(samples_T: np.ndarray, sample_rate_hz: int) -> tuple[str, bytes]:
    """Media type and content of a sound file that every browser plays: MP3, WAV where libsndfile lacks it."""
    import soundfile

    container = "MP3" if "MP3" in soundfile.available_formats() else "WAV"
    content = io.BytesIO()
    soundfile.write(content, np.clip(samples_T, -1.0, 1.0), sample_rate_hz, format=container)
    return f"audio/{'mpeg' if container == 'MP3' else 'wav'}", content.getvalue()
