"""Readers of sound: files, sound tracks of videos and waveforms in memory, each as a `Recording`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np

from bind.media.recording import Recording, checked_finite, recording_in_memory, span_frames
from bind.types import Clip, Waveform

READER_VERSION = 1
"""Raised where the same file would give other values: part of the key of caches."""


@contextmanager
def open_audio(value: Clip | Waveform) -> Iterator[Recording]:
    """Open a sound file (WAV, FLAC, OGG, MP3), the sound track of a video, a span of either, or a waveform in memory.

    Raises:
        ValueError: a file that is missing, cannot be decoded, is empty, ends before its span, or holds NaN.

    Examples:
        >>> with open_audio(Waveform(np.array([0.0, 0.5, -0.5], dtype=np.float32), sample_rate_hz=8000)) as recording:
        ...     recording.num_frames, recording.sample_rate_hz, recording.read(1, 3).tolist()
        (3, 8000, [[0.5], [-0.5]])
    """
    if isinstance(value, Waveform):
        samples_TC = value.samples.reshape(len(value.samples), -1)
        yield recording_in_memory("a waveform in memory", samples_TC, value.sample_rate_hz)
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
                frames_TC: np.ndarray = file.read(end - begin, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise ValueError(f"{value.path}: decoding stopped ({error}). Replace the file") from error
            if len(frames_TC) != end - begin:
                raise ValueError(f"{value.path}: ends early, {len(frames_TC)} frames instead of {end - begin}")
            return checked_finite(frames_TC, str(value))

        yield Recording(str(value), file.samplerate, last - first, read)


@lru_cache(maxsize=4096)
def read_sound_header(path: Path) -> tuple[int, int, int]:
    """Sample rate in Hz, number of frames and number of channels, as the file's header gives them.

    Raises:
        ValueError: naming the file, where it can't be read.
    """
    import soundfile

    try:
        header = soundfile.info(path)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"{path}: not readable as sound ({error}). Replace the file or drop its row") from error
    return header.samplerate, header.frames, header.channels


class SoundBlockReader:
    """A sound file that is read in blocks, as it is stored: values that are NaN stay NaN."""

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
        """Read frames `first` to `last` (excluded) in blocks (T, C) float32 of at most `block_frames`.

        Raises:
            ValueError: where they can't be decoded, or the file ends early.
        """
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
