"""Items of a request: texts, and files that lie in the request itself, within the limits."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Any

from bind.media.audio import open_audio
from bind.media.kinds import ARRAY_SUFFIXES, PICTURE_SUFFIXES, SOUND_SUFFIXES
from bind.media.pictures import require_few_pixels
from bind.media.video import VIDEO_SUFFIXES, open_video
from bind.serve.limits import Limits
from bind.types import Clip, Modality, PackedFile

NPY, PARQUET = b"\x93NUMPY", b"PAR1"
CONTAINER_MARKS = ((4, b"ftyp"), (0, b"\x1a\x45\xdf\xa3"), (0, b"RIFF"))
"""Of MP4 and MOV, of Matroska and WebM, of AVI; where they stand."""
TABLE_SUFFIXES = frozenset({".csv", ".parquet"})
SUFFIXES = SOUND_SUFFIXES | PICTURE_SUFFIXES | ARRAY_SUFFIXES | VIDEO_SUFFIXES | TABLE_SUFFIXES


def decode_base64(text: Any, what: str) -> bytes:
    """The bytes of a text in base64; ValueError, naming `what`, for anything else."""
    if not isinstance(text, str):
        raise ValueError(f"{what}: give the file's bytes as base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{what}: is no base64 ({error}); send the file's bytes without a data: prefix") from error


def text_item(text: Any, limits: Limits, what: str) -> str:
    """A text that can be embedded; ValueError for an empty or an endless one."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{what}: give a text that is not empty")
    if len(text) > limits.max_text_characters:
        raise ValueError(f"{what}: has {len(text)} characters, up to {limits.max_text_characters} are taken")
    return text


def file_item(modality: Modality, content: bytes, what: str, name: str = "", sidecar: bytes | None = None) -> Clip:
    """A file of a request as a value of a modality.

    Args:
        what: it is called in messages, such as `audio 1`.
        name: that the client gave it; nothing but its suffix counts.
        sidecar: of a `.npy` recording, the JSON with its channels.
    """
    if not content:
        raise ValueError(f"{what}: is empty")
    suffix = PurePosixPath(name[-100:].lower()).suffix
    if suffix not in SUFFIXES:
        suffix = suffix_of(modality, content)
    return Clip(PackedFile(f"{what}{suffix}", content, sidecar))


def suffix_of(modality: Modality, content: bytes) -> str:
    """What a file without a name may be called.

    Examples:
        >>> suffix_of("imu", b"time_seconds,acc_x [g]"), suffix_of("image", b"xxxxftypisom")
        ('.csv', '.mp4')
    """
    if content.startswith(NPY):
        return ".npy"
    if modality == "audio":
        return ".wav"  # its decoders look at the content
    is_container = any(content[at : at + len(mark)] == mark for at, mark in CONTAINER_MARKS)
    if modality in ("image", "video", "depth", "thermal"):
        is_video = is_container and content[8:12] not in (b"WEBP", b"avif", b"avis")
        return (".avi" if content.startswith(b"RIFF") else ".mp4") if is_video else ".png"
    return ".parquet" if content.startswith(PARQUET) else ".csv"


def require_within_limits(modality: Modality, value: Any, limits: Limits) -> None:
    """Raise ValueError, naming the item, where a picture has too many pixels, or a sound or a video lasts too long."""
    if not isinstance(value, Clip) or value.path.suffix in ARRAY_SUFFIXES:
        return
    seconds = 0.0
    if modality == "audio":
        with open_audio(value) as sound:
            seconds = sound.num_frames / sound.sample_rate_hz
    elif value.path.suffix in VIDEO_SUFFIXES:
        with open_video(value) as video:
            seconds = video.seconds
    elif modality in ("image", "depth", "thermal"):
        require_few_pixels(value, limits.max_pixels)
    if seconds > limits.max_media_seconds:
        raise ValueError(f"{value}: lasts {seconds:.0f} s, up to {limits.max_media_seconds:g} s are taken")


def require_modality(modality: Any, known: Collection[Modality]) -> None:
    """Raise ValueError unless the binder embeds it."""
    if modality not in known:
        raise ValueError(f"{str(modality)[:60]!r} is no modality of this binder; it embeds {', '.join(known)}")
