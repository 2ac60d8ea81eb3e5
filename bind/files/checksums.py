"""Checksums of files, so that a bit that flipped on a disk or on the way is refused by the file's name.

CRC-32, which finds every flip of one bit and all but one in four billion others; it is no proof against intent.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from pathlib import Path
from typing import Any, BinaryIO

CHUNK_BYTES = 2**22
TRAILER_BYTES = 16
_TRAILER = re.compile(rb"\ncrc32 ([0-9a-f]{8})\n")


def trailer_of(content: bytes | memoryview) -> bytes:
    r"""What is written behind `content` as its checksum.

    Examples:
        >>> trailer_of(b"vectors")
        b'\ncrc32 e7ac293f\n'
    """
    return f"\ncrc32 {zlib.crc32(content):08x}\n".encode()


def matches_trailer(file: BinaryIO, num_bytes: int) -> bool:
    """Whether the first `num_bytes` of a file are those of which the trailer behind them was made; the place moves."""
    file.seek(0)
    checksum = _crc32(file, num_bytes)
    trailer = _TRAILER.fullmatch(file.read(TRAILER_BYTES + 1))
    return trailer is not None and int(trailer[1], 16) == checksum


def has_right_trailer(file: BinaryIO) -> bool | None:
    """Whether a file's last bytes are a trailer that fits what is before them; None where they are none."""
    num_bytes = file.seek(0, os.SEEK_END) - TRAILER_BYTES
    if num_bytes < 0:
        return None
    file.seek(num_bytes)
    return matches_trailer(file, num_bytes) if _TRAILER.fullmatch(file.read()) else None


def checksum_of_file(path: Path) -> str:
    """The checksum of a whole file, such as `crc32:e7ac293f`."""
    with path.open("rb") as file:
        return f"crc32:{_crc32(file, path.stat().st_size):08x}"


def checksum_of_values(value: Any) -> str:
    """The checksum of plain values, however their JSON is written.

    Examples:
        >>> checksum_of_values({"a": 1, "b": [2.0]}) == checksum_of_values({"b": [2.0], "a": 1})
        True
    """
    return f"crc32:{zlib.crc32(json.dumps(value, sort_keys=True).encode()):08x}"


def _crc32(file: BinaryIO, num_bytes: int) -> int:
    checksum = 0
    while num_bytes and (chunk := file.read(min(num_bytes, CHUNK_BYTES))):
        checksum = zlib.crc32(chunk, checksum)
        num_bytes -= len(chunk)
    return checksum
