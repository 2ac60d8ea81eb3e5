import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bind.media.pictures import open_image, read_picture_size, read_pixels
from bind.types import Clip

GREY = np.linspace(0, 255, 64 * 48).reshape(48, 64).astype(np.uint8)
COLOURS = np.stack([GREY, GREY[::-1], GREY.T.copy().reshape(48, 64)], axis=-1)
TIFF_ROWS = 257
READERS = (open_image, read_picture_size, lambda path: read_pixels(Clip(path)))


def encode(pixels, format, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return bytearray(file.getvalue())


def png_stating(rows, pixels, **options):
    content = encode(pixels, "PNG", **options)
    content[20:24] = struct.pack(">I", rows)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return content


def jpeg_stating(rows, **options):
    content = encode(COLOURS, "JPEG", **options)
    position = 2
    while content[position + 1] not in (0xC0, 0xC2):
        position += 2 + struct.unpack(">H", content[position + 2 : position + 4])[0]
    content[position + 5 : position + 7] = struct.pack(">H", rows)
    return content


def tiff_stating(rows, pixels):
    content = encode(pixels, "TIFF")
    (directory,) = struct.unpack("<I", content[4:8])
    (num_tags,) = struct.unpack("<H", content[directory : directory + 2])
    for entry in range(directory + 2, directory + 2 + 12 * num_tags, 12):
        if struct.unpack("<H", content[entry : entry + 2])[0] == TIFF_ROWS:
            content[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, rows)
    return content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((f"grey{rows}.png", png_stating(rows, GREY)) for rows in (49, 60, 20_000)),
        ("colours.png", png_stating(2_000_000 // 64, COLOURS)),
        ("two_levels.png", png_stating(60, GREY > 100)),
        ("transparent.png", png_stating(60, np.dstack([COLOURS, GREY]))),
        *((f"grey{rows}.tif", tiff_stating(rows, GREY)) for rows in (60, 1_000_000)),
        *((f"colours{rows}.tif", tiff_stating(rows, COLOURS)) for rows in (60, 1_000_000)),
        ("absurd.jpg", jpeg_stating(65_000, quality=1)),
        ("absurd_progressive.jpg", jpeg_stating(65_000, quality=1, progressive=True)),
    ],
)
def test_rows_that_the_head_states_and_the_file_lacks_are_not_read_as_black(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    for read in READERS:
        with pytest.raises(ValueError, match=rf"{name}: not readable as a picture \(cut short: .* holds \d+"):
            read(path)


def interlaced_png(pixels_HW):
    """A grey PNG by Adam7, whose seven passes Pillow can read and not write."""
    rows = b""
    for top, left, down, right in (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1),
    ):  # fmt: skip
        rows += b"".join(b"\0" + row.tobytes() for row in pixels_HW[top::down, left::right] if row.size)
    height, width = pixels_HW.shape

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    def png(rows):
        head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

    return png(rows), png(rows[: -width - 1])


@settings(max_examples=30)
@given(st.integers(2, 20), st.integers(1, 20))
def test_an_interlaced_png_is_read_where_all_its_passes_are_whole(tmp_path_factory, height, width):
    path = tmp_path_factory.mktemp("interlaced") / "a.png"
    pixels = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    whole, cut = interlaced_png(pixels)
    path.write_bytes(whole)
    assert np.array_equal(read_pixels(Clip(path)), pixels)
    path.write_bytes(cut)
    with pytest.raises(ValueError, match=r"a\.png: not readable as a picture"):
        read_pixels(Clip(path))


@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("JPEG", {}), ("TIFF", {}), ("TIFF", {"tile": True})])
def test_pictures_of_one_level_are_whole_however_few_bytes_they_take(tmp_path, format, options):
    for level in (0, 128, 255):
        pixels = np.full((1200, 1600), level, np.uint8)
        path = tmp_path / f"{level}.{format.lower()}"
        if options:
            for compression in ("raw", "tiff_adobe_deflate"):
                tiles = {322: 512, 323: 512}
                Image.fromarray(pixels).save(path, format, compression=compression, tiffinfo=tiles)
                assert np.array_equal(read_pixels(Clip(path)), pixels)
            continue
        path.write_bytes(encode(pixels, format))
        assert np.array_equal(read_pixels(Clip(path)), pixels)
        assert read_picture_size(path) == (1600, 1200)
