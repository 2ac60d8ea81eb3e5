"""Writers of sound files: the span of a file, cut out without loss, and sound that a browser plays."""

from __future__ import annotations

import io

import numpy as np

from bind.media.audio import open_sound, sound_span_frames
from bind.media.recording import checked_finite
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

    with open_sound(clip) as sound:
        first, last = sound_span_frames(clip, sound)
        rate_hz, frames_TC = sound.sample_rate_hz, checked_finite(sound.read(first, last), str(clip))
    content = io.BytesIO()
    container, subtype = sound.stored_as or ("", "")
    if subtype in LOSSLESS_DTYPES and container in ("WAV", "WAVEX", "FLAC"):
        with soundfile.SoundFile(clip.file) as file:
            file.seek(first)
            stored_TC = file.read(last - first, dtype=LOSSLESS_DTYPES[subtype], always_2d=True)
        container = "FLAC" if container == "FLAC" else "WAV"
        soundfile.write(content, stored_TC, rate_hz, subtype, format=container)
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
