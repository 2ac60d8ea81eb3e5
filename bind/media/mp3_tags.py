"""Tags around the sound of an MP3: decoders take what lies in large ones for sound, or its length for another one's."""

from __future__ import annotations

import struct
from typing import BinaryIO

ID3V1, ID3V1_BYTES = b"TAG", 128
ID3V2, ID3V2_HEAD_BYTES, ID3V2_HAS_FOOTER = b"ID3", 10, 0x10
APE, APE_HEAD_BYTES, APE_HAS_HEADER = b"APETAGEX", 32, 1 << 31
APE_VERSIONS = (1000, 2000)
APE_IS_HEAD = 1 << 5
"""In the last byte of the flags."""

NO_BITRATES = (0, 15)
"""Of a frame; by these a length of 65,535 in front of an APE tag's first item is none."""

LYRICS, LYRICS_END_BYTES = b"LYRICS200", 15
MAX_APE_BYTES = 1 << 24
"""Of a tag in front that has no head and is known by its end."""

MAX_PADDING_BYTES = 1 << 16
"""Zeros with which programs make room for longer tags."""


def sound_bytes(file: BinaryIO) -> tuple[int, int]:
    """First byte of an MP3's sound and the byte after its last, without the tags around it: ID3, APE and Lyrics3.

    Zeros in front of the sound count as a tag.

    Raises:
        ValueError: where a tag in front claims more bytes than the file has.
    """
    num_bytes = end = file.seek(0, 2)
    begin = 0
    while size := _first_tag_bytes(file, begin) or _padding_bytes(file, begin):
        begin += size
    if begin >= num_bytes > 0:
        raise ValueError(f"the tags in front of its sound claim {begin} bytes, and it has {num_bytes}: it is cut short")
    while size := _last_tag_bytes(file, end):
        if end - size <= begin:
            break
        end -= size
    return begin, end


def id3_bytes(head: bytes) -> int:
    """The length of the ID3v2 tag that begins with `head`; 0 where none does."""
    if head[:3] != ID3V2 or len(head) < ID3V2_HEAD_BYTES:
        return 0
    size = 0
    for byte in head[6:ID3V2_HEAD_BYTES]:
        size = size << 7 | byte & 0x7F
    return ID3V2_HEAD_BYTES + size + (ID3V2_HEAD_BYTES if head[5] & ID3V2_HAS_FOOTER else 0)


def _first_tag_bytes(file: BinaryIO, begin: int) -> int:
    """Length of the tag that begins at `begin`; 0 where there is none."""
    file.seek(begin)
    head = file.read(APE_HEAD_BYTES)
    if size := id3_bytes(head):
        return size
    if head.startswith(APE):
        return _ape_bytes(head)
    is_frame = len(head) < 3 or (head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[2] >> 4 not in NO_BITRATES)
    return 0 if is_frame else _headless_ape_bytes(head + file.read(MAX_APE_BYTES))


def _padding_bytes(file: BinaryIO, begin: int) -> int:
    """How many zeros lie at `begin`, in front of a frame of sound or a tag; 0 where something else follows on them."""
    file.seek(begin)
    if file.read(1) != b"\0":
        return 0
    file.seek(begin)
    content = file.read(MAX_PADDING_BYTES)
    behind = content.lstrip(b"\0")
    is_sound = behind[:1] == b"\xff" or behind.startswith((ID3V2, APE))
    return len(content) - len(behind) if is_sound else 0


def _ape_bytes(head: bytes) -> int:
    """Length of the APE tag that begins with `head`; 0 where that is not one's head."""
    if len(head) < APE_HEAD_BYTES:
        return 0
    version, items_bytes, _, _ = struct.unpack("<IIII", head[8:24])
    return APE_HEAD_BYTES + items_bytes if version in APE_VERSIONS else 0


def _headless_ape_bytes(content: bytes) -> int:
    """Length of an APE tag with an end but no head, and of zeros before it, with which `content` begins; 0: of none.

    The tag may itself begin with zeros, those of a length: where it begins is known by its end alone.
    """
    place = content.find(APE)
    while place >= 0:
        end = content[place : place + APE_HEAD_BYTES]
        begin = place + 2 * APE_HEAD_BYTES - _ape_bytes(end)
        is_end = len(end) == APE_HEAD_BYTES and not end[23] & APE_IS_HEAD
        if is_end and 0 <= begin <= MAX_PADDING_BYTES and begin <= place and not any(content[:begin]):
            return place + APE_HEAD_BYTES
        place = content.find(APE, place + 1)
    return 0


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
