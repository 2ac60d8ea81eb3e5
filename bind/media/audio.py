"""Sound from files, from the sound track of a video or from memory, as a `Recording`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np

from bind.media.recording import Recording, finite, recording_in_memory, span_frames
from bind.types import Clip, Waveform


@contextmanager
def open_audio(value: Clip | Waveform) -> Iterator[Recording]:
    """A sound file (WAV, FLAC, OGG, MP3), the sound track of a video, a span of either, or a waveform in memory.

    Raises:
        ValueError: a file that is missing, cannot be decoded, is empty, ends before its span, or holds NaN.
    """
    if isinstance(value, Waveform):
        yield recording_in_memory(
            "a waveform in memory", value.samples.reshape(len(value.samples), -1), value.sample_rate_hz
        )
        return
    if not isinstance(value, Clip):
        raise ValueError(f"audio is a Clip (a file) or a Waveform, not {type(value).__name__}")
    from bind.media.soundtrack import CONTAINER_SUFFIXES, open_soundtrack

    if value.path.suffix.lower() in CONTAINER_SUFFIXES:
        with open_soundtrack(value) as recording:
            yield recording
        return
    import soundfile

    if isinstance(value.path, Path) and not value.path.is_file():
        raise ValueError(f"{value.path}: no such file")
    try:
        file = soundfile.SoundFile(value.file)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"{value.path}: not readable as sound ({error}). Replace the file or drop its row") from error
    with file:
        first, last = span_frames(value, file.samplerate, file.frames)

        def read(begin: int, end: int) -> np.ndarray:
            try:
                file.seek(first + begin)
                frames = file.read(end - begin, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise ValueError(f"{value.path}: decoding stopped ({error}). Replace the file") from error
            if len(frames) != end - begin:
                raise ValueError(f"{value.path}: ends early, {len(frames)} frames instead of {end - begin}")
            return finite(frames, str(value))

        yield Recording(str(value), file.samplerate, last - first, read)


@lru_cache(maxsize=4096)
def sound_facts(path: Path) -> tuple[int, int, int]:
    """Frames per second, frames and channels as the file's header gives them; ValueError where it can't be read."""
    import soundfile

    try:
        facts = soundfile.info(path)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"{path}: not readable as sound ({error}). Replace the file or drop its row") from error
    return facts.samplerate, facts.frames, facts.channels


class SoundBlocks:
    """A sound file that is read block by block as it is stored, NaN and all."""

    def __init__(self, path: Path) -> None:
        import soundfile

        self._file = soundfile.SoundFile(path)
        self.sample_rate_hz: int = self._file.samplerate
        self.num_frames: int = self._file.frames

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, first: int, last: int, block_frames: int) -> Iterator[np.ndarray]:
        """Blocks (T, C) float32 of the frames from `first` to `last`; ValueError where they can't be decoded."""
        import soundfile

        try:
            self._file.seek(first)
            num_read = 0
            while num_read < last - first:
                block_TC = self._file.read(min(block_frames, last - first - num_read), dtype="float32", always_2d=True)
                if not len(block_TC):
                    raise ValueError(f"ends early, after {num_read} of {last - first} frames")
                yield block_TC
                num_read += len(block_TC)
        except soundfile.SoundFileError as error:
            raise ValueError(str(error)) from error
