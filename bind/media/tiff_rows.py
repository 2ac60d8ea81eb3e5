"""Rows that the last strip or tile of a TIFF holds: decoders of JPEG and of fax codes leave black what is missing."""

from __future__ import annotations

import io
import re
import struct
from typing import Any, BinaryIO

from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from bind.media.jpeg_rows import lacks_jpeg_rows

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_BYTES, JPEG_TABLES = 273, 278, 279, 347
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
FAX_3, FAX_4, JPEG = 3, 4, 7
LOW_BITS_FIRST = 2
LINE_END = re.compile("0{11,}1")
PAGE_END = 2 * "000000000001"
"""Ends the data of fax group 4 (T.6); some programs leave it out."""
TWO_BLACK_PX = "001" + "00110101" + "11"
"""Horizontal mode of T.6: no white pixel, then two black ones."""


def lacks_tiff_rows(tags: dict[int, Any], file: BinaryIO) -> bool:
    """Whether the last strip or tile of a TIFF with these tags holds fewer rows than it should.

    False of other compressions than JPEG and fax groups 3 and 4: their decoders refuse data that end early.
    """
    compression, is_tiled = tags.get(COMPRESSION), TILE_OFFSETS in tags
    if compression not in (FAX_3, FAX_4, JPEG) or (is_tiled and compression != JPEG):
        return False
    width, height = int(tags[WIDTH]), int(tags[HEIGHT])
    num_rows = (height - 1) % min(int(tags.get(ROWS_PER_STRIP, height)), height) + 1
    file.seek(tags[TILE_OFFSETS if is_tiled else STRIP_OFFSETS][-1])
    last = file.read(tags[TILE_BYTES if is_tiled else STRIP_BYTES][-1])
    if compression == JPEG:
        needed_width, needed_rows = (tags[TILE_WIDTH], tags[TILE_HEIGHT]) if is_tiled else (width, num_rows)
        stored_width, stored_rows = JpegImageFile(io.BytesIO(last)).size
        content = tags.get(JPEG_TABLES, b"")[:-2] + last[2:] if JPEG_TABLES in tags else last
        return bool(stored_width < needed_width or stored_rows < needed_rows or lacks_jpeg_rows(content))
    bits = bin(int.from_bytes(b"\1" + last))[3:]
    if tags.get(FILL_ORDER) == LOW_BITS_FIRST:
        bits = "".join(bits[i : i + 8][::-1] for i in range(0, len(bits), 8))
    bits = bits.rstrip("0")
    if compression == FAX_4:
        return _lacks_fax_4_rows(bits, width, num_rows)
    lines = LINE_END.split(bits)
    num_held = sum(1 for line in lines if "1" in line and line != "1")  # a bit alone says how its line is coded
    return num_held < num_rows


def _lacks_fax_4_rows(bits: str, width: int, num_rows: int) -> bool:
    """Whether a black row that is put behind the data is then in the picture; False where nothing marks their end."""
    data = bits.removesuffix(PAGE_END)
    with_black_row = data + TWO_BLACK_PX * ((width + 1) // 2) + PAGE_END
    return data != bits and _decode_fax_4(with_black_row, width, num_rows) != _decode_fax_4(bits, width, num_rows)


def _decode_fax_4(bits: str, width: int, num_rows: int) -> bytes | None:
    """The rows of a strip of these bits; None where they can't be decoded."""
    num_bytes = (len(bits) + 7) // 8
    strip = int(bits.ljust(8 * num_bytes, "0"), 2).to_bytes(num_bytes)
    tags = {WIDTH: width, HEIGHT: num_rows, BITS: 1, COMPRESSION: FAX_4, PHOTOMETRIC: 0, STRIP_OFFSETS: 8}
    tags |= {ROWS_PER_STRIP: num_rows, STRIP_BYTES: num_bytes}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + num_bytes)
    content = head + strip + struct.pack("<H", len(tags)) + directory + bytes(4)
    try:
        return TiffImageFile(io.BytesIO(content)).tobytes()
    except OSError:
        return None
