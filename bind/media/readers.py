"""Versions of the readers: what was computed from files by another version is not what would be computed now."""

from __future__ import annotations

from bind.media import audio, pictures, sensor, text, video
from bind.types import Modality

READERS_OF = {"image": (pictures, video), "text": (text,), "video": (video,)}
"""Modality → the modules that read its files; a picture may be a frame of a video."""
OTHER_READERS = (audio, pictures, sensor, video)


def describe_readers(modality: Modality) -> str:
    """The readers of a modality's files with their versions, as a part of a cache's key.

    Examples:
        >>> describe_readers("text") == f"text {text.READER_VERSION}"
        True
    """
    modules = READERS_OF.get(modality, OTHER_READERS)
    return ", ".join(f"{module.__name__.rpartition('.')[2]} {module.READER_VERSION}" for module in modules)
