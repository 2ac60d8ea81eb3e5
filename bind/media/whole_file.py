"""Checks that a file of sound or video is one whole file: not cut short, and not several joined to one."""

from __future__ import annotations

import io
import math
import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bind.media.mp3_tags import id3_bytes

UNKNOWN_BYTES = 0x7FFF0000
"""Programs that write into a pipe state sizes from here to 2³² - 1, because they don't know them yet."""
FLAC_START = b"fLaC\x00\x00\x00\x22"
"""Marker, and the head of the block that comes first in every FLAC file: its type, and its length of 34 bytes."""
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
OGG_BEGINS, OGG_ENDS = 2, 4
"""Bits in the head of a page: the first and the last page of a stream."""
TS_SYNC, TS_PACKET_BYTES = b"\x47", 188
ADTS_START = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")
ADTS_HEAD_BYTES = 7
CHUNK_NAME = re.compile(rb"[ -~]{4}")
MAX_REST_BYTES = 4096
"""Behind the last chunk, where programs leave tags and zeros; more than that may be sound."""
SOUND_CHUNKS = (b"data", b"SSND", b"BODY", b"LIST")
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
CUT_SHORT = "Replace it with a complete copy; or, to keep what is there, write it again: ffmpeg -i FILE NEW_FILE"
JOINED = "Split it, or write the sounds into one file: sox or ffmpeg's concat filter join them"


def require_whole_file(file: Path | io.BytesIO, name: str) -> None:
    """Raise ValueError where the structure of a file shows that it is cut short, or that another one follows in it.

    Only heads of blocks are read, but for FLAC, which is searched for a second start. Known are WAV, RF64, AVI, AIFF,
    8SVX, AU, CAF, W64, NIST, FLAC, Ogg, MP4 and its relatives, Matroska, MPEG-TS, AAC in frames of its own and WMA;
    other formats pass.
    """
    if isinstance(file, io.BytesIO):
        _check(file, len(file.getbuffer()), name)
        file.seek(0)
        return
    try:
        with file.open("rb") as opened:
            _check(opened, file.stat().st_size, name)
    except OSError as error:
        raise ValueError(f"{name}: not readable ({error.strerror}). Check the path") from error


def _check(file: BinaryIO, num_bytes: int, name: str) -> None:
    head = file.read(16)
    if head[:4] in (b"RIFF", b"RIFX", b"FORM", b"RF64", b"BW64"):
        _check_chunks(file, num_bytes, name, head)
    elif head[:4] == b".snd":
        offset, size = struct.unpack(">II", head[4:12])
        if size < UNKNOWN_BYTES:
            _require_end(name, offset + size, num_bytes)
            _refuse_second(file, name, head[:4], offset + size)
    elif head[:4] == b"riff":
        (size,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        _require_end(name, size, num_bytes)
        _refuse_second(file, name, head[:4], size)
    elif head[:4] == b"caff":
        for end in _caf_ends(file, num_bytes):
            _require_end(name, end, num_bytes)
            _refuse_second(file, name, head[:4], end)
    elif head[:7] == b"NIST_1A":
        _check_nist(file, num_bytes, name)
    elif head[:4] == b"fLaC":
        _check_flac(file, num_bytes, name)
    elif head[:4] == b"OggS":
        _check_ogg(file, num_bytes, name)
    elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        for end in _box_ends(file, num_bytes):
            _require_end(name, end, num_bytes)
            _refuse_second(file, name, b"ftyp", end, offset=4)
    elif head[:4] == EBML:
        _check_matroska(file, num_bytes, name)
    elif head == ASF_HEADER:
        for end in _asf_ends(file, num_bytes):
            _require_end(name, end, num_bytes)
    elif ADTS_START.match(head) or head[:3] == b"ID3":
        for end in _adts_ends(file, num_bytes):
            _require_end(name, end, num_bytes)
    elif head[:1] == TS_SYNC and _is_transport_stream(file) and num_bytes % TS_PACKET_BYTES:
        _require_end(name, num_bytes + TS_PACKET_BYTES - num_bytes % TS_PACKET_BYTES, num_bytes)


def _require_end(name: str, end: int, num_bytes: int) -> None:
    if end > num_bytes:
        raise ValueError(f"{name}: cut short: it has {num_bytes} bytes of at least {end} that it states. {CUT_SHORT}")


def _refuse_second(file: BinaryIO, name: str, start: bytes, position: int, offset: int = 0) -> None:
    file.seek(position + offset)
    if file.read(len(start)) == start:
        _refuse_joined(name, position)


def _refuse_joined(name: str, position: int) -> None:
    raise ValueError(f"{name}: another file begins at byte {position} of it, of which players play the first. {JOINED}")


def _check_chunks(file: BinaryIO, num_bytes: int, name: str, head: bytes) -> None:
    """RIFF and its relatives: WAV, RF64, AVI, AIFF."""
    order = ">" if head[:4] in (b"FORM", b"RIFX") else "<"
    kind, is_video = head[8:12], head[8:11] == b"AVI"  # long AVIs go on in further blocks of the kind AVIX
    stated = struct.unpack(f"{order}I", head[4:8])[0]
    position, data_bytes, sound_bytes = 12, 0, 0
    while position + 8 <= num_bytes:
        file.seek(position)
        chunk = file.read(8)
        size = struct.unpack(f"{order}I", chunk[4:])[0]
        if chunk[:4] == b"ds64":
            riff_bytes, data_bytes = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))
            stated = min(stated, riff_bytes) if stated < UNKNOWN_BYTES else riff_bytes
        if sound_bytes and not is_video and not CHUNK_NAME.fullmatch(chunk[:4]):
            if not CHUNK_NAME.fullmatch(_bytes_at(file, position - 1, 4)):  # where an odd length was not padded
                _refuse_long_rest(name, sound_bytes, num_bytes - position)
                break
            position -= 1
            continue
        if chunk[:4] in SOUND_CHUNKS:
            is_long = size >= UNKNOWN_BYTES
            if is_long and not data_bytes:
                return  # written into a pipe, to the end of the file
            size = data_bytes if is_long else size
            if chunk[:4] != b"LIST" or is_video:
                _require_end(name, position + 8 + size, num_bytes)
        if chunk[:4] == head[:4] and file.read(4) == kind:
            _refuse_joined(name, position)
        if chunk[:4] == b"data" and size == 0:
            return  # recorded without an end: decoders take what follows
        if chunk[:4] in SOUND_CHUNKS and chunk[:4] != b"LIST":
            sound_bytes = size
        position += 8 + size + size % 2
    # A chunk of odd length may lack its padding at a joint.
    if not is_video:
        _refuse_second(file, name, head[:4], 8 + stated)


def _bytes_at(file: BinaryIO, position: int, num_bytes: int) -> bytes:
    file.seek(position)
    return file.read(num_bytes)


def _refuse_long_rest(name: str, sound_bytes: int, rest_bytes: int) -> None:
    if rest_bytes > MAX_REST_BYTES:
        raise ValueError(
            f"{name}: its head states {sound_bytes} bytes of sound, and {rest_bytes} bytes follow that are no part of "
            "the format: where they are sound, the length in the head is wrong. Write it again from its source, or cut "
            "them off: ffmpeg -i FILE NEW_FILE"
        )


def _caf_ends(file: BinaryIO, num_bytes: int) -> Iterator[int]:
    """Ends of the chunks of a CAF file."""
    position = 8
    while position + 12 <= num_bytes:
        chunk = _bytes_at(file, position, 12)
        size = struct.unpack(">q", chunk[4:])[0]
        if size < 0 or not CHUNK_NAME.fullmatch(chunk[:4]):
            return  # -1: to the end of the file
        position += 12 + size
        yield position


def _check_nist(file: BinaryIO, num_bytes: int, name: str) -> None:
    head = _bytes_at(file, 0, 1 << 14)
    fields = {words[0]: words[2] for line in head.splitlines() if len(words := line.split(None, 2)) == 3}
    numbers = [fields.get(key, b"") for key in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    if all(number.isdigit() for number in numbers) and b"shorten" not in fields.get(b"sample_coding", b""):
        start = int(head[8:16]) if head[8:16].strip().isdigit() else 1024
        end = start + math.prod(map(int, numbers))
        _require_end(name, end, num_bytes)
        _refuse_second(file, name, b"NIST_1A", end)


def _is_transport_stream(file: BinaryIO) -> bool:
    return all(_bytes_at(file, n * TS_PACKET_BYTES, 1) == TS_SYNC for n in range(4))


def _adts_ends(file: BinaryIO, num_bytes: int) -> Iterator[int]:
    """Ends of the frames of an AAC stream that has no container, or of the head of one that is cut within it."""
    content = _as_buffer(file)
    position = 0
    while size := id3_bytes(content[position : position + 10]):
        position += size
    first = content[position : position + 2]
    while ADTS_START.match(content, position) and position + ADTS_HEAD_BYTES <= num_bytes:
        size = int.from_bytes(content[position + 3 : position + 6], "big") >> 5 & 0x1FFF
        if size < ADTS_HEAD_BYTES:
            return
        position += size
        yield position
    rest = content[position:]
    if 0 < len(rest) < ADTS_HEAD_BYTES and ADTS_START.match(first) and rest[:2] == first[: len(rest)]:
        yield position + ADTS_HEAD_BYTES


def _as_buffer(file: BinaryIO) -> bytes | mmap.mmap:
    if isinstance(file, io.BytesIO):
        return file.getvalue()
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _check_flac(file: BinaryIO, num_bytes: int, name: str) -> None:
    second = _as_buffer(file).find(FLAC_START, 4)
    if second >= 0:
        _refuse_joined(name, second)


def _check_ogg(file: BinaryIO, num_bytes: int, name: str) -> None:
    position, ended = 0, False
    while position + 27 <= num_bytes:
        file.seek(position)
        head = file.read(27)
        if head[:4] != b"OggS":
            break
        if head[5] & OGG_BEGINS and ended:
            _refuse_joined(name, position)
        ended = bool(head[5] & OGG_ENDS)
        position += 27 + head[26] + sum(file.read(head[26]))
    if position > num_bytes or not ended:
        raise ValueError(f"{name}: cut short: its last page is missing. {CUT_SHORT}")


def _box_ends(file: BinaryIO, num_bytes: int) -> Iterator[int]:
    """Ends of the outer boxes of MP4 and its relatives."""
    position = 0
    while position + 8 <= num_bytes:
        file.seek(position)
        head = file.read(16).ljust(16, b"\0")
        size = struct.unpack(">I", head[:4])[0]
        if size == 1:
            size = struct.unpack(">Q", head[8:])[0]
        if size < 8:
            return  # 0: to the end of the file; else no box
        position += size
        yield position
    if 0 < num_bytes - position < 8:
        yield position + 8


def _asf_ends(file: BinaryIO, num_bytes: int) -> Iterator[int]:
    position = 0
    while position + 24 <= num_bytes:
        file.seek(position + 16)
        size = struct.unpack("<Q", file.read(8))[0]
        if size < 24:
            return
        position += size
        yield position


def _check_matroska(file: BinaryIO, num_bytes: int, name: str) -> None:
    position = 0
    seen_segment = False
    while position + 12 <= num_bytes:
        file.seek(position)
        head = file.read(12)
        if head[:4] == EBML and seen_segment:
            _refuse_joined(name, position)
        if head[:4] not in (EBML, SEGMENT):
            return
        # The size: as many bytes follow the first as it has leading zeros; all ones mean that it is not known.
        length = 9 - head[4].bit_length()
        if length > 8:
            return
        size = int.from_bytes(head[4 : 4 + length], "big") & ((1 << 7 * length) - 1)
        if size == (1 << 7 * length) - 1:
            return
        seen_segment |= head[:4] == SEGMENT
        position += 4 + length + size
        _require_end(name, position, num_bytes)
