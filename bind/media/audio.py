"""Readers of sound: files, sound tracks of videos and waveforms in memory, each as a `Recording`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bind.files.reading import reading
from bind.media import decoded
from bind.media.decoded import Blocks, Sound, decoded_sound
from bind.media.mp3_index import Mp3Index, index_mp3, indexed_sound
from bind.media.recording import EDGE_SECONDS, Recording, checked_finite, recording_in_memory, span_frames
from bind.media.soundtrack import (
    CONTAINER_SUFFIXES,
    decode_format,
    decode_mp3,
    decode_soundtrack,
    is_container,
    is_mp3,
    without_tag_in_front,
    without_tags,
)
from bind.media.whole_file import CUT_SHORT, require_whole_file
from bind.types import Clip, Waveform

READER_VERSION = 4
"""Raised where the same file would give other values: part of the key of caches."""
EXACT_SUBTYPES = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
"""Encodings of one frame each, which libsndfile finds by its number; FLAC with them, whose frames are numbered."""
WHOLE_FORMATS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "SVX", "AU", "CAF", "NIST", "FLAC", "OGG")
"""Formats of libsndfile that say where they end."""
UNKNOWN_FRAMES = 1 << 36
"""More than a FLAC file can state: libsndfile's number where the head states none."""
MAX_PEAK = 16.0
"""24 dB above full scale, which noise that is added on purpose may reach, and integers called floats exceed."""
BLOCK_FRAMES = 1 << 16
MIN_MP3_BITS_PER_SECOND, MIN_MP3_RATE_HZ, BYTES_PER_SAMPLE = 8000, 8000, 4
FileIdentity = tuple[Path, int, int]
"""Path, time of change in ns, and size in bytes: a file that was written again is read again."""


@contextmanager
def open_audio(value: Clip | Waveform) -> Iterator[Recording]:
    """Open a sound file (WAV, FLAC, Ogg, Opus, MP3), the sound track of a video, a span of either, or a waveform.

    Any part of it is that slice of the whole, whatever was read before. A span may end up to 0.1 s after the sound.

    Raises:
        ValueError: a file that is missing, cannot be decoded, is empty, cut short or joined of several, ends before its
            span, or holds NaN or values far beyond full scale; a waveform of integers or (channels, time).

    Examples:
        >>> with open_audio(Waveform(np.array([0.0, 0.5, -0.5], dtype=np.float32), sample_rate_hz=8000)) as recording:
        ...     recording.num_frames, recording.sample_rate_hz, recording.read(1, 3).tolist()
        (3, 8000, [[0.5], [-0.5]])
    """
    if isinstance(value, Waveform):
        name = "a waveform in memory"
        samples_TC = _checked_samples(name, value)
        yield recording_in_memory(name, samples_TC, value.sample_rate_hz, check=_checked_frames)
        return
    if not isinstance(value, Clip):
        raise ValueError(f"audio is a Clip (a file) or a Waveform, not {type(value).__name__}")
    with open_sound(value) as sound:
        first, last = sound_span_frames(value, sound)

        def read_part(begin: int, end: int) -> np.ndarray:
            frames_TC = sound.read(first + begin, first + end)
            return _checked_frames(frames_TC, str(value))

        yield Recording(str(value), sound.sample_rate_hz, last - first, read_part)


@contextmanager
def open_sound(clip: Clip) -> Iterator[Sound]:
    """Open the whole file of `clip` by its decoder; values are as stored, also NaN.

    WAV, AIFF and FLAC are read where they are asked for; other encodings are decoded from their start, because their
    decoders go on from what came before.

    Raises:
        ValueError: naming the file, where it is missing, cannot be decoded, is empty, cut short or joined of several.
    """
    with ExitStack() as opened:
        with reading(clip.path, "not readable as sound"):
            sound = _open_by_kind(Clip(clip.path), opened)
        yield sound


def _open_by_kind(file_clip: Clip, opened: ExitStack) -> Sound:
    name, identity, stored_clip = str(file_clip.path), _identify(file_clip.path), file_clip
    file_clip = without_tag_in_front(stored_clip)
    if identity is None or file_clip is not stored_clip:
        require_whole_file(file_clip.file, name)
    else:
        _require_whole_once(*identity)
    if file_clip.path.suffix.lower() in CONTAINER_SUFFIXES or is_container(file_clip):
        return decoded_sound(name, lambda: decode_soundtrack(file_clip), identity)
    if is_mp3(file_clip):
        index = _index_long_mp3(identity) if identity else None
        return indexed_sound(file_clip, index) if index else _decoded_mp3(file_clip, identity)
    file = opened.enter_context(_open_soundfile(file_clip))
    if file.format == "MP3":  # behind a tag, in a file that is called otherwise
        return _decoded_mp3(file_clip, identity)
    if file.format not in WHOLE_FORMATS:
        raise ValueError(
            f"{name}: of the format {file.format}, which does not say where it ends, so that a copy that is cut short "
            "would pass. Convert it: ffmpeg -i FILE NEW.flac"
        )
    if file.subtype == "MPEG_LAYER_III":
        return decoded_sound(name, lambda: decode_format(file_clip, "wav"), identity)
    if file.format == "OGG":
        return decoded_sound(name, lambda: decode_format(file_clip, "ogg"), identity)
    if file.format == "FLAC" or file.subtype in EXACT_SUBTYPES:
        return _read_in_place(file, file_clip, identity)
    return decoded_sound(name, lambda: _decode_soundfile(file_clip), identity)


def _decoded_mp3(clip: Clip, identity: FileIdentity | None) -> Sound:
    return decoded_sound(str(clip.path), lambda: decode_mp3(without_tags(clip)[0]), identity)


def sound_span_frames(clip: Clip, sound: Sound) -> tuple[int, int]:
    """First frame of a clip and the frame after its last; ValueError where it ends over 0.1 s after the sound."""
    return span_frames(clip, sound.sample_rate_hz, sound.num_frames, tolerance_seconds=EDGE_SECONDS)


def _identify(path: Any) -> FileIdentity | None:
    if not isinstance(path, Path):
        return None
    status = path.stat()
    return path.absolute(), status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4096)
def _require_whole_once(path: Path, modified_ns: int, num_bytes: int) -> None:
    require_whole_file(path, str(path))


def _index_long_mp3(identity: FileIdentity) -> Mp3Index | None:
    """The index of an MP3 that is too long to be kept decoded; None of any other."""
    longest_seconds = identity[2] * 8 / MIN_MP3_BITS_PER_SECOND
    if longest_seconds * MIN_MP3_RATE_HZ * BYTES_PER_SAMPLE <= decoded.MAX_KEPT_BYTES:
        return None
    index = _index_mp3_once(*identity)
    is_long = index and index.num_frames * index.num_channels * BYTES_PER_SAMPLE > decoded.MAX_KEPT_BYTES
    return index if is_long else None


@lru_cache(maxsize=256)
def _index_mp3_once(path: Path, modified_ns: int, num_bytes: int) -> Mp3Index | None:
    without, begin = without_tags(Clip(path))
    index = index_mp3(without)
    return index and replace(index, starts_N=index.starts_N + begin)


@contextmanager
def _open_soundfile(clip: Clip) -> Iterator[Any]:
    """The file, opened by libsndfile."""
    import soundfile

    try:
        file = soundfile.SoundFile(clip.file)
    except (soundfile.SoundFileError, OSError) as error:
        reason = str(error).replace(f"Error opening {str(clip.path)!r}: ", "")
        raise ValueError(
            f"{clip.path}: not readable as sound ({reason}). Replace the file, convert it (ffmpeg -i FILE NEW.flac) or "
            "drop its row"
        ) from error
    with file:
        yield file


def _read_in_place(file: Any, clip: Clip, identity: FileIdentity | None) -> Sound:
    """A file of which libsndfile reads any frame by its number."""
    if file.format == "FLAC":
        if file.frames >= UNKNOWN_FRAMES:  # written into a pipe: the number of frames is not in its head
            return decoded_sound(str(clip.path), lambda: decode_format(clip, "flac"), identity)
        _require_last_frame(file, clip)

    def read(first: int, last: int) -> np.ndarray:
        import soundfile

        try:
            file.seek(first)
            frames_TC: np.ndarray = file.read(last - first, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise ValueError(_damaged(clip, error)) from error
        if len(frames_TC) != last - first:
            raise ValueError(
                f"{clip.path}: cut short: {len(frames_TC)} frames instead of {last - first} from {first} on. "
                f"{CUT_SHORT}"
            )
        return frames_TC

    return Sound(file.samplerate, file.frames, file.channels, read, stored_as=(file.format, file.subtype))


def _require_last_frame(file: Any, clip: Clip) -> None:
    """Raise ValueError where the last frame that the head states can't be read."""
    import soundfile

    if not file.frames:
        return
    try:
        file.seek(file.frames - 1)
        is_there = len(file.read(1)) == 1
    except soundfile.SoundFileError:
        is_there = False
    if not is_there:
        raise ValueError(f"{clip.path}: cut short: the last of its {file.frames} frames is not there. {CUT_SHORT}")


def _decode_soundfile(clip: Clip) -> Blocks:
    """The whole of a file, block after block, by libsndfile."""
    import soundfile

    num_frames = 0
    with _open_soundfile(clip) as file:
        while True:
            try:
                block_TC = file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise ValueError(_damaged(clip, error)) from error
            if not len(block_TC):
                break
            num_frames += len(block_TC)
            yield file.samplerate, block_TC
        if num_frames < file.frames < UNKNOWN_FRAMES:
            raise ValueError(f"{clip.path}: cut short: {num_frames} of the {file.frames} frames it states. {CUT_SHORT}")


def _damaged(clip: Clip, error: Exception) -> str:
    reason = str(error).replace("(Garbled error message from libsndfile)", "").strip() or "unknown error"
    return f"{clip.path}: decoding stopped ({reason}). It is damaged or cut short. {CUT_SHORT}"


def _checked_samples(name: str, waveform: Waveform) -> np.ndarray:
    """The samples (T, C); ValueError where they are no floats or not in that order, or the rate is none."""
    samples = waveform.samples
    if not (math.isfinite(waveform.sample_rate_hz) and waveform.sample_rate_hz > 0):
        raise ValueError(f"{name}: sample_rate_hz is {waveform.sample_rate_hz}, it must be above 0")
    if not np.issubdtype(samples.dtype, np.floating):
        scale = f"divide by {-int(np.iinfo(samples.dtype).min)}" if samples.dtype.kind == "i" else "convert them"
        raise ValueError(f"{name}: its samples are {samples.dtype}, not float32 in [-1, 1]: {scale}")
    if samples.ndim not in (1, 2):
        raise ValueError(f"{name}: its shape {samples.shape} is neither (time,) nor (time, channels)")
    if samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise ValueError(f"{name}: its shape {samples.shape} looks like (channels, time); pass it as (time, channels)")
    return samples if samples.ndim == 2 else samples[:, None]


def _checked_frames(frames_TC: np.ndarray, name: str) -> np.ndarray:
    """`frames_TC`; ValueError where they are not finite, or exceed full scale by more than any recording does."""
    peak = max(float(frames_TC.max(initial=0.0)), -float(frames_TC.min(initial=0.0)))
    if not peak <= MAX_PEAK:  # NaN compares false
        checked_finite(frames_TC, name)
        raise ValueError(
            f"{name}: its values reach {peak:g}, where sound lies in [-1, 1]. They look like integers that were called "
            "floats: divide by 32768 (16 bits) or 2147483648 (32 bits) and write it again"
        )
    return frames_TC
