"""Pixels that the file of a picture holds: decoders leave black or grey what its head states beyond them."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

from PIL.ImageFile import ImageFile

from bind.media.jpeg_rows import lacks_jpeg_rows
from bind.media.tiff_rows import lacks_tiff_rows

MAX_PIXELS_PER_JPEG_BYTE = 2**12
"""Huffman's codes spend one bit at least on 64 pixels, arithmetic ones somewhat less."""
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Type of colour in the head of a PNG → values per pixel."""
INTERLACED_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row and column of each pass, and its steps in rows and columns."""
BLOCK_BYTES = 1 << 20
MIDDLE_GREYS = frozenset({127, 128})
"""What the decoder of a JPEG gives where it has no data, in every channel."""
NARROW_PX = 64
"""Two of the largest blocks of a JPEG: what is left of the data may fill the first one that is missing."""


def require_stored_pixels(image: ImageFile, file: BinaryIO) -> None:
    """Raise ValueError where a picture that is not decoded yet states more pixels than its file can hold."""
    num_pixels = image.width * image.height
    if image.format == "TIFF":
        pieces = {piece.extents for piece in image.tile if piece.extents is not None}
        num_stored = sum((right - left) * (bottom - top) for left, top, right, bottom in pieces)
    elif image.format in ("JPEG", "MPO"):
        num_stored = file.seek(0, 2) * MAX_PIXELS_PER_JPEG_BYTE
    else:
        return
    if num_stored < num_pixels:
        raise ValueError(f"cut short: it states {image.width} x {image.height} pixels and holds {num_stored} at most")


def require_all_rows(image: ImageFile, file: BinaryIO, width: int) -> None:
    """Raise ValueError where the data of a decoded PNG, JPEG or TIFF end before the last row that its head states.

    Rows that are missing are zeros after decoding, and middle grey in a JPEG, so only a picture that ends with them is
    looked at. `width` is what the head states, also of a JPEG that was decoded at a part of its size.
    """
    if image.format == "PNG":
        _require_png_rows(image, file)
        return
    lacks_rows = False
    corner = image.crop((image.width - 1, image.height - 1, *image.size)).tobytes()
    if image.format == "TIFF":
        lacks_rows = lacks_tiff_rows(dict(getattr(image, "tag_v2", {})), file)
    elif image.format in ("JPEG", "MPO") and (width <= NARROW_PX or MIDDLE_GREYS.issuperset(corner)):
        file.seek(0)
        lacks_rows = lacks_jpeg_rows(file.read())
    if lacks_rows:
        raise ValueError("cut short: its head states more rows than its data holds")


def _require_png_rows(image: ImageFile, file: BinaryIO) -> None:
    file.seek(0)
    head = file.read(29)
    is_interlaced = head[28] == 1
    last_row = image.crop((0, image.height - 1, *image.size))
    if is_interlaced or not any(last_row.tobytes()):
        num_stated, num_stored = _stated_png_bytes(head, is_interlaced), _stored_png_bytes(file)
        if num_stored < num_stated:
            raise ValueError(
                f"cut short: {image.width} x {image.height} pixels are {num_stated} bytes, and it holds {num_stored}"
            )


def _stated_png_bytes(head: bytes, is_interlaced: bool) -> int:
    width, height, bits_per_channel, colours = struct.unpack(">IIBB", head[16:26])
    bits: int = bits_per_channel * PNG_CHANNELS[colours]
    if not is_interlaced:
        return int(height * (1 + (width * bits + 7) // 8))
    num_bytes = 0
    for top, left, row_step, column_step in INTERLACED_PASSES:
        rows, columns = len(range(top, height, row_step)), len(range(left, width, column_step))
        num_bytes += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    return num_bytes


def _stored_png_bytes(file: BinaryIO) -> int:
    """Bytes of the first picture of a PNG, unpacked; those that stand before what can't be read."""
    unpack, num_bytes = zlib.decompressobj(), 0
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        size = struct.unpack(">I", head[:4])[0]
        if head[4:] == b"IDAT":
            packed = file.read(size)
            while packed:
                num_bytes += len(unpack.decompress(packed, BLOCK_BYTES))
                packed = unpack.unconsumed_tail
            file.seek(4, 1)
        else:
            file.seek(size + 4, 1)
    return num_bytes + len(unpack.flush())
