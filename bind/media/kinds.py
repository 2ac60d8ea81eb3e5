"""Kinds of files by their suffix: which modalities may be read from a file whose table says nothing of it."""

from __future__ import annotations

from collections.abc import Iterable

from bind.media.soundtrack import CONTAINER_SUFFIXES
from bind.media.video import VIDEO_SUFFIXES
from bind.types import Modality

SOUND_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64"})
PICTURE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".jp2", ".avif"}
)
ARRAY_SUFFIXES = frozenset({".npy"})
SUFFIXES_OF = {
    "audio": SOUND_SUFFIXES | CONTAINER_SUFFIXES,
    "video": VIDEO_SUFFIXES,
    "image": PICTURE_SUFFIXES | VIDEO_SUFFIXES,
    "depth": PICTURE_SUFFIXES | ARRAY_SUFFIXES,
    "thermal": PICTURE_SUFFIXES | ARRAY_SUFFIXES,
    "text": frozenset[str](),
}
"""Modality → suffixes of its files; of any other modality arrays, tables and files with a suffix that is not here."""


def readable_modalities(suffix: str, modalities: Iterable[Modality]) -> list[Modality]:
    """Those of `modalities` that a file with this suffix may hold.

    Examples:
        >>> readable_modalities(".WAV", ["image", "text", "audio", "imu"])
        ['audio']
        >>> readable_modalities(".png", ["image", "text", "depth"])
        ['image', 'depth']
        >>> readable_modalities(".npy", ["image", "text", "audio", "imu"])
        ['imu']
    """
    suffix = suffix.lower()
    taken = frozenset().union(*SUFFIXES_OF.values()) - ARRAY_SUFFIXES
    return [m for m in modalities if (suffix in SUFFIXES_OF[m] if m in SUFFIXES_OF else suffix not in taken)]
