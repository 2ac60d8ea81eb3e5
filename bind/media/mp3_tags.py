"""Tags behind the sound of an MP3: with large ones, decoders take the length in its head for another file's."""

from __future__ import annotations

import struct
from typing import BinaryIO

from bind.media.soundtrack import open_content
from bind.types import Clip, PackedFile

ID3V1, ID3V1_BYTES = b"TAG", 128
APE, APE_HEAD_BYTES, APE_HAS_HEADER = b"APETAGEX", 32, 1 << 31
LYRICS, LYRICS_END_BYTES = b"LYRICS200", 15


def without_tags_behind(clip: Clip) -> Clip:
    """`clip`, or the same file in memory without the tags that it ends with: APE, ID3v1 and Lyrics3.

    With them, decoders would leave what the encoder added behind the sound.
    """
    with open_content(clip) as file:
        num_bytes = file.seek(0, 2)
        end = num_bytes
        while size := _last_tag_bytes(file, end):
            end -= size
        if end == num_bytes:
            return clip
        file.seek(0)
        return Clip(PackedFile(str(clip.path), file.read(end)))


def _last_tag_bytes(file: BinaryIO, end: int) -> int:
    """Length of the tag that ends at `end`; 0 where there is none."""
    start = max(0, end - ID3V1_BYTES)
    file.seek(start)
    tail = file.read(end - start)
    size = 0
    if tail.startswith(ID3V1):
        size = ID3V1_BYTES
    elif tail[-APE_HEAD_BYTES:].startswith(APE):
        items_bytes, _, flags = struct.unpack("<III", tail[-20:-8])
        size = items_bytes + (APE_HEAD_BYTES if flags & APE_HAS_HEADER else 0)
    elif tail.endswith(LYRICS) and tail[-LYRICS_END_BYTES : -len(LYRICS)].isdigit():
        size = int(tail[-LYRICS_END_BYTES : -len(LYRICS)]) + LYRICS_END_BYTES
    return size if size < end else 0
