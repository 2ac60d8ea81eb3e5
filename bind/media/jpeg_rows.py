"""Rows that the data of a JPEG holds: decoders fill with grey what its head states beyond them, and say nothing."""

from __future__ import annotations

import io
import random
import re

from PIL.JpegImagePlugin import JpegImageFile

AFTER_SCAN = re.compile(rb"\xff+[^\0\xd0-\xd7\xff]", re.DOTALL)
"""A marker that is no restart: the data of a JPEG's scan end there."""
ARITHMETIC_HEAD = re.compile(rb"\xff[\xc9\xca]\0.\x08", re.DOTALL)
NOISE_BYTES, NUM_RESTARTS = 1024, 16


def lacks_jpeg_rows(content: bytes) -> bool:
    """Whether a JPEG has fewer blocks than its head states: noise put behind its first scan then shows in the picture.

    A picture that is middle grey all over passes: tables of one code read noise as more of the same. So do pictures in
    arithmetic codes, which may end early. The picture is decoded twice, at an eighth of its size.
    """
    file = io.BytesIO(content)
    JpegImageFile(file)  # reads up to the data of the first scan
    start = file.tell()
    if ARITHMETIC_HEAD.search(content, 0, start):
        return False
    after = AFTER_SCAN.search(content, start)
    end = after.start() if after else len(content)
    random_bytes = random.Random(0).randbytes
    noise = [random_bytes(NOISE_BYTES).replace(b"\xff", b"\0") for _ in range(NUM_RESTARTS + 1)]
    # Decoders go on at the restart that they expect, and pass over those that nothing expects.
    filler = noise[0] + b"".join(bytes([0xFF, 0xD0 + i % 8]) + noise[i + 1] for i in range(NUM_RESTARTS))
    return _decode_small(content) != _decode_small(content[:end] + filler + content[end:])


def _decode_small(content: bytes) -> bytes:
    image = JpegImageFile(io.BytesIO(content))
    image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
    return image.tobytes()
