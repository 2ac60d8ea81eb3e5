import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bind.media import notices
from bind.media.jpeg_rows import lacks_jpeg_rows
from bind.media.pictures import open_image, read_picture_size, read_pixels
from bind.media.tiff_rows import lacks_tiff_rows
from bind.types import Clip

GREY = np.linspace(0, 255, 64 * 48).reshape(48, 64).astype(np.uint8)
BITS = GREY > 100
COLOURS = np.stack([GREY, GREY[::-1], GREY.T.copy().reshape(48, 64)], axis=-1)
TIFF_ROWS, TIFF_ROWS_PER_STRIP = 257, 278
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


def jpeg_stating(rows, pixels=COLOURS, **options):
    return state_jpeg_rows(encode(pixels, "JPEG", **options), rows)


def state_jpeg_rows(content, rows):
    content = bytearray(content)
    position = 2
    while content[position + 1] not in (0xC0, 0xC2):
        position += 2 + struct.unpack(">H", content[position + 2 : position + 4])[0]
    content[position + 5 : position + 7] = struct.pack(">H", rows)
    return content


def tiff_stating(rows, pixels, **options):
    """A TIFF of one strip, in which all of the rows that its head states are said to be."""
    content = encode(pixels, "TIFF", **options)
    tags = (TIFF_ROWS, TIFF_ROWS_PER_STRIP) if options else (TIFF_ROWS,)
    (directory,) = struct.unpack("<I", content[4:8])
    (num_tags,) = struct.unpack("<H", content[directory : directory + 2])
    for entry in range(directory + 2, directory + 2 + 12 * num_tags, 12):
        if struct.unpack("<H", content[entry : entry + 2])[0] in tags:
            content[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, rows)
    return content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((f"grey{rows}.png", png_stating(rows, GREY)) for rows in (49, 60, 20_000)),
        ("colours.png", png_stating(2_000_000 // 64, COLOURS)),
        ("two_levels.png", png_stating(60, BITS)),
        ("transparent.png", png_stating(60, np.dstack([COLOURS, GREY]))),
        *((f"grey{rows}.tif", tiff_stating(rows, GREY)) for rows in (60, 1_000_000)),
        *((f"colours{rows}.tif", tiff_stating(rows, COLOURS)) for rows in (60, 1_000_000)),
        *(
            (f"{compression}{rows}.tif", tiff_stating(rows, pixels, compression=compression))
            for compression, pixels in (
                ("jpeg", GREY),
                ("jpeg", COLOURS),
                ("group3", GREY > 100),
                ("group4", GREY > 100),
            )
            for rows in (49, 60, 500)
        ),
        ("low_bits_first.tif", tiff_stating(60, BITS, compression="group4", tiffinfo={266: 2})),
        *((f"rows{rows}.jpg", jpeg_stating(rows)) for rows in (65, 80, 500)),
        ("tall.jpg", jpeg_stating(500, pixels=COLOURS[:, :20])),
        ("cut_and_closed.jpg", encode(COLOURS, "JPEG")[:-200] + b"\xff\xd9"),
        ("absurd.jpg", jpeg_stating(65_000, quality=1)),
        ("absurd_progressive.jpg", jpeg_stating(65_000, quality=1, progressive=True)),
    ],
)
def test_rows_that_the_head_states_and_the_file_lacks_are_not_read_as_black(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    for read in READERS:
        with pytest.raises(ValueError, match=rf"{name}: not readable as a picture \(cut short: .* holds?[ )]"):
            read(path)


COLOURS_OF_JPEG = {"L": 1, "RGB": 3, "CMYK": 4}


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(COLOURS_OF_JPEG)),
    st.integers(1, 200),
    st.integers(1, 100),
    st.integers(1, 200),
    st.sampled_from([{}, {"progressive": True}, {"optimize": True}]),
    st.sampled_from([{}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 3}]),
    st.sampled_from(["noise", "ramp", "grey at its end", "grey"]),
    st.integers(0, 99),
)
def test_a_jpeg_lacks_rows_where_its_head_states_more_blocks_than_it_has(
    mode, width, height, num_missing, coding, restarts, content, seed
):
    shape = (height, width, COLOURS_OF_JPEG[mode])
    pixels = np.full(shape, 128, np.uint8)
    if content in ("noise", "grey at its end"):
        pixels[: height if content == "noise" else height // 2] = 0
        pixels += np.where(pixels == 0, np.random.default_rng(seed).integers(0, 256, shape), 0).astype(np.uint8)
    elif content == "ramp":
        pixels[:] = np.linspace(0, 255, width)[None, :, None]
    image = Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode=mode)
    file = io.BytesIO()
    image.save(file, "JPEG", subsampling=0, **coding, **restarts)
    assert not lacks_jpeg_rows(file.getvalue())
    states_more_blocks = -(-height // 8) < -(-(height + num_missing) // 8)
    if content == "noise" and width > 16 and states_more_blocks:
        assert lacks_jpeg_rows(bytes(state_jpeg_rows(file.getvalue(), height + num_missing)))


@pytest.mark.parametrize(("compression", "pixels"), [("jpeg", GREY), ("group3", BITS), ("group4", BITS)])
@pytest.mark.parametrize("rows_per_strip", [8, 40, 48, 1000])
def test_whole_tiffs_of_any_strips_are_read(tmp_path, compression, pixels, rows_per_strip):
    path = tmp_path / "a.tif"
    for fill_order in (1, 2) if compression != "jpeg" else (1,):
        Image.fromarray(pixels).save(
            path, compression=compression, tiffinfo={TIFF_ROWS_PER_STRIP: rows_per_strip, 266: fill_order}
        )
        assert read_picture_size(path) == (64, 48)
        assert np.abs(np.asarray(open_image(path).convert("L")) - 255.0 * (pixels / max(pixels.max(), 1))).max() < 16


def test_a_fax_without_a_mark_of_its_end_is_read(tmp_path):
    file = io.BytesIO(encode(BITS, "TIFF", compression="group4"))
    with Image.open(file) as image:
        tags = dict(image.tag_v2)
    for shorter_by in (0, 3, 4):  # the mark takes three bytes, and shares a fourth
        assert not lacks_tiff_rows({**tags, 279: (tags[279][0] - shorter_by,)}, file)
    assert lacks_tiff_rows({**tags, TIFF_ROWS: 60, TIFF_ROWS_PER_STRIP: 60}, file)


def test_pictures_of_several_pages_are_said_to_be_read_as_their_first(tmp_path, monkeypatch, caplog):
    pages = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (10, 200)]
    for suffix in ("tif", "gif", "webp", "png"):
        monkeypatch.setattr(notices, "_warned", set())
        caplog.clear()
        path = tmp_path / f"a.{suffix}"
        pages[0].save(path)
        open_image(path)
        assert not caplog.text
        pages[0].save(path, save_all=True, append_images=pages[1:])
        assert np.abs(np.asarray(open_image(path)) - 10.0).max() < 4
        assert "read as their first (first: " in caplog.text
        assert f"a.{suffix}" in caplog.text


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


@pytest.mark.slow
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


@pytest.mark.slow
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
