import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from PIL.Image import Transpose
from support import videos
from support.source_code import MODULES

from bind.media import notices
from bind.media.pictures import open_image, read_picture_size, read_pixels
from bind.types import Clip, PackedFile

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_a_picture_is_the_same_from_a_file_a_clip_or_memory(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(PIXELS).save(path)
    for value in (path, str(path), Clip(path), Image.fromarray(PIXELS), PIXELS):
        image = open_image(value)
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), PIXELS)
    Image.fromarray(PIXELS[..., 0]).save(path)
    assert np.array_equal(np.asarray(open_image(path)), np.repeat(PIXELS[..., :1], 3, axis=2))


def test_bad_pictures_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.png: no such file"):
        open_image(Clip(tmp_path / "nowhere.png"))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken\.png: not readable as a picture"):
        open_image(broken)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(broken)
    broken.write_bytes(broken.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"broken\.png: not readable as a picture"):
        open_image(broken)
    for array in (PIXELS.astype(np.float32), PIXELS[..., 0], np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(ValueError, match="must be uint8"):
            open_image(array)


@pytest.mark.slow
def test_the_picture_of_a_video_is_in_the_middle_of_its_span(tmp_path):
    path = videos.three_colours(tmp_path / "a.mp4")
    for clip, colour in ((Clip(path), 1), (Clip(path, 0.0, 1.0), 0), (Clip(path, 2.0), 2), (path, 1)):
        picture = open_image(clip)
        assert isinstance(picture, Image.Image)
        assert np.asarray(picture).mean(axis=(0, 1)).argmax() == colour


def test_numbers_are_read_as_they_are_stored(tmp_path):
    grey16 = np.random.default_rng(0).integers(0, 2**16, (5, 7)).astype(np.uint16)
    for name, stored in (("rgb.png", PIXELS), ("grey.png", PIXELS[..., 0]), ("grey16.png", grey16)):
        Image.fromarray(stored).save(tmp_path / name)
        pixels = read_pixels(Clip(tmp_path / name))
        assert pixels.dtype == stored.dtype
        np.testing.assert_array_equal(pixels, stored)
    floats = grey16.astype(np.float32) / 7
    np.save(tmp_path / "a.npy", floats)
    np.testing.assert_array_equal(read_pixels(Clip(tmp_path / "a.npy")), floats)


def test_a_palette_is_read_as_its_colours(tmp_path):
    palette = Image.fromarray(PIXELS).quantize(8)
    palette.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_pixels(Clip(tmp_path / "a.png")), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.png", r"a\.png: not readable as a picture"), ("a.npy", r"a\.npy: not readable as \.npy")],
)
@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_numbers_that_cannot_be_read_are_named(tmp_path, name, message, content):
    with pytest.raises(ValueError, match=f"{name}: no such file"):
        read_pixels(Clip(tmp_path / name))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_pixels(Clip(tmp_path / name))


AS_STORED = {
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}
"""EXIF orientation → how a camera's sensor stores a picture that is shown upright."""
CORNERS = np.zeros((24, 16, 3), dtype=np.uint8)
CORNERS[:12, :8, 0] = CORNERS[:12, 8:, 1] = CORNERS[12:, :8, 2] = 255


def save_turned(path, pixels, orientation, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(pixels)
    how = AS_STORED[orientation]
    (image if how is None else image.transpose(how)).save(path, exif=exif, **options)


@pytest.mark.parametrize("orientation", AS_STORED)
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("png", {}),
        ("jpg", {"quality": 98, "subsampling": 0}),
        ("webp", {"lossless": True}),
        ("tif", {}),
        ("tiff", {"compression": "tiff_lzw"}),
    ],
)
def test_pictures_are_upright(tmp_path, suffix, options, orientation):
    path = tmp_path / f"phone.{suffix}"
    save_turned(path, CORNERS, orientation, **options)
    for value in (path, Clip(PackedFile(f"shard: {path.name}", path.read_bytes())), Image.open(path)):
        np.testing.assert_allclose(np.asarray(open_image(value)), CORNERS, atol=4)
    np.testing.assert_allclose(read_pixels(Clip(path)), CORNERS, atol=4)
    assert read_picture_size(path) == (16, 24)


@pytest.mark.parametrize("orientation", AS_STORED)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_numbers_lie_upright_and_keep_their_values(tmp_path, suffix, orientation):
    depth_mm = np.arange(35, dtype=np.uint16).reshape(5, 7) * 1800
    save_turned(tmp_path / f"d.{suffix}", depth_mm, orientation)
    np.testing.assert_array_equal(read_pixels(Clip(tmp_path / f"d.{suffix}")), depth_mm)


def test_exif_that_cannot_be_parsed_is_no_exif(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    np.testing.assert_array_equal(open_image(tmp_path / "a.png"), PIXELS)


RAMP = np.linspace(0.0, 1.0, 64 * 64).reshape(64, 64)
GREY8 = np.rint(RAMP * 255)


def tiff_of_white_zero(levels):
    """A 16-bit TIFF in which 0 is white."""
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "TIFF")
    content = bytearray(file.getvalue())
    entry = content.index(struct.pack("<HHI", 262, 3, 1))
    content[entry + 8 : entry + 10] = struct.pack("<H", 0)
    return bytes(content)


def tiff_of_12_bits(levels):
    """A TIFF of 12-bit greys, two in three bytes."""
    file = io.BytesIO()
    Image.fromarray((levels >> 4).astype(np.uint8)).save(file, "TIFF")
    content = bytearray(file.getvalue())
    first, second = levels.ravel()[::2].astype(int), levels.ravel()[1::2].astype(int)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()
    for tag, kind, value in ((258, 3, 12), (273, 4, len(content)), (279, 4, len(packed))):
        entry = content.index(struct.pack("<H", tag), struct.unpack("<I", content[4:8])[0])
        content[entry : entry + 12] = struct.pack("<HHII", tag, kind, 1, value)
    return bytes(content) + packed


def encoded(array, suffix):
    file = io.BytesIO()
    Image.fromarray(array).save(file, suffix)
    return file.getvalue()


LEVELS16, LEVELS12 = (RAMP * 65535).astype(np.uint16), (RAMP * 4095).astype(np.uint16)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("8.png", encoded(GREY8.astype(np.uint8), "PNG")),
        ("16.png", encoded(LEVELS16, "PNG")),
        ("16.tif", encoded(LEVELS16, "TIFF")),
        ("16.pgm", encoded(LEVELS16, "PPM")),
        ("16.jp2", encoded(LEVELS16, "JPEG2000")),
        ("big_endian.tif", encoded(LEVELS16.astype(">u2"), "TIFF")),
        ("white_is_0.tif", tiff_of_white_zero(65535 - LEVELS16)),
        ("12.tif", tiff_of_12_bits(LEVELS12)),
        ("12.pgm", b"P5 64 64 4095\n" + LEVELS12.astype(">u2").tobytes()),
        ("plain.pgm", b"P2 64 64 4095\n" + b" ".join(b"%d" % level for level in LEVELS12.ravel())),
        ("float.tif", encoded(RAMP.astype(np.float32), "TIFF")),
    ],
)
def test_greys_of_any_depth_are_scaled_to_8_bits(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    pixels_HWC = np.asarray(open_image(tmp_path / name))
    assert pixels_HWC.shape == (64, 64, 3)
    assert abs(pixels_HWC - GREY8[:, :, None]).max() <= 1
    assert pixels_HWC[0, 0, 0] == 0
    assert pixels_HWC[-1, -1, 0] == 255


def test_a_camera_of_12_bits_in_16_is_nearly_black_and_that_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(notices, "_warned", set())
    Image.fromarray(LEVELS12).save(tmp_path / "g.tif")
    for _ in range(2):
        assert np.asarray(open_image(tmp_path / "g.tif")).max() == 16
    (record,) = caplog.records
    assert "fill less than 1/15 of their levels are nearly black" in record.getMessage()
    assert "g.tif" in record.getMessage()


def test_a_grey_in_memory_is_scaled_as_well():
    np.testing.assert_allclose(np.asarray(open_image(Image.fromarray(LEVELS16)))[..., 0], GREY8, atol=1)


@pytest.mark.parametrize(
    "levels",
    [
        (RAMP * 1000).astype(np.int32),
        (RAMP * 2**31).clip(0, 2**31 - 1).astype(np.int32),
        (RAMP * 2 - 1).astype(np.float32),
        (RAMP * 255).astype(np.float32),
        np.full((4, 4), np.nan, dtype=np.float32),
        np.full((4, 4), np.inf, dtype=np.float32),
    ],
)
def test_greys_without_a_known_white_are_refused(tmp_path, levels):
    Image.fromarray(levels).save(tmp_path / "g.tif")
    with pytest.raises(ValueError, match=r"g\.tif: .*nothing says which is white; save it"):
        open_image(tmp_path / "g.tif")
    with pytest.raises(ValueError, match=r"a picture in memory: .*nothing says which is white"):
        open_image(Image.fromarray(levels))


@pytest.mark.parametrize("maxval", [100, 1000, 4095, 65535])
def test_a_pgm_keeps_its_numbers_whatever_its_highest_is(tmp_path, maxval):
    levels = np.random.default_rng(0).integers(0, maxval + 1, (9, 11)).astype(np.uint16)
    header = b"P5 11 9 %d\n" % maxval
    (tmp_path / "d.pgm").write_bytes(header + levels.astype(">u2" if maxval > 255 else np.uint8).tobytes())
    pixels = read_pixels(Clip(tmp_path / "d.pgm"))
    assert pixels.dtype == (np.uint16 if maxval > 255 else np.uint8)
    np.testing.assert_array_equal(pixels, levels)


def test_numbers_of_another_byte_order_are_the_same_numbers(tmp_path):
    levels = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    np.save(tmp_path / "d.npy", levels.astype(">u2"))
    Image.fromarray(levels.astype(">u2")).save(tmp_path / "d.tif")
    for name in ("d.npy", "d.tif"):
        pixels = read_pixels(Clip(tmp_path / name))
        assert pixels.dtype == np.uint16
        np.testing.assert_array_equal(pixels, levels)


RGBA = np.zeros((6, 8, 4), dtype=np.uint8)
RGBA[..., :3] = [0, 200, 0]  # a colour that is hidden
RGBA[2:4, 2:4] = [200, 0, 0, 255]
RGBA[4, 4] = [0, 0, 0, 128]
ON_WHITE = np.full((6, 8, 3), 255, dtype=np.uint8)
ON_WHITE[2:4, 2:4] = [200, 0, 0]
ON_WHITE[4, 4] = 127


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparency_is_shown_on_white(tmp_path, suffix):
    Image.fromarray(RGBA).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(open_image(tmp_path / f"a.{suffix}"), ON_WHITE)


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "P", "PA"])
def test_transparency_of_any_mode_is_shown_on_white(tmp_path, mode):
    grey_and_alpha = np.stack([np.where(RGBA[..., 0] > 0, 60, 0), RGBA[..., 3] // 128 * 255], axis=-1).astype(np.uint8)
    image = Image.fromarray(grey_and_alpha)
    shown = np.where(grey_and_alpha[..., 1] > 0, grey_and_alpha[..., 0], 255)
    if mode in ("La", "LA"):
        image = image.convert(mode)
    elif mode == "P":
        image = image.convert("RGBA").quantize(8)
    elif mode == "PA":
        alpha = image.getchannel("A")
        image = image.convert("L").convert("P")
        image.putalpha(alpha)
    else:
        image = image.convert("RGBA").convert(mode)
    assert image.mode == mode
    np.testing.assert_array_equal(np.asarray(open_image(image))[..., 0], shown)
    if mode == "P":
        image.save(tmp_path / "a.png")
        image.convert("RGBA").save(tmp_path / "a.gif")
        for name in ("a.png", "a.gif"):
            np.testing.assert_array_equal(np.asarray(open_image(tmp_path / name))[..., 0], shown)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, bits, colour_type, row, *chunks):
    """A PNG of one row."""
    header = struct.pack(">IIBBBBB", width, 1, bits, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("bits", "row", "level", "shown"),
    [
        (1, b"\x40", 1, [0, 255]),
        (1, b"\x40", 0, [255, 255]),
        (2, b"\x60", 2, [85, 255]),
        (4, b"\x1c", 12, [17, 255]),
        (8, b"\x07\x09", 9, [7, 255]),
        (16, b"\x07\x09\x09\x09", 0x0909, [7, 255]),
    ],
)
def test_the_one_transparent_level_of_a_grey_png_is_white(tmp_path, bits, row, level, shown):
    (tmp_path / "a.png").write_bytes(png(2, bits, 0, row, chunk(b"tRNS", struct.pack(">H", level))))
    assert np.asarray(open_image(tmp_path / "a.png"))[0, :, 0].tolist() == shown


def test_a_transparent_colour_of_16_bits_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1, 16, 2, b"\7\7" * 3, chunk(b"tRNS", b"\7\7" * 3)))
    with pytest.raises(ValueError, match=r"a\.png: .*save it with an alpha channel"):
        open_image(tmp_path / "a.png")


def test_colours_for_print_are_opened(tmp_path):
    Image.fromarray(np.full((4, 4, 3), [255, 0, 0], dtype=np.uint8)).convert("CMYK").save(
        tmp_path / "a.jpg", quality=98
    )
    np.testing.assert_allclose(np.asarray(open_image(tmp_path / "a.jpg"))[0, 0], [255, 0, 0], atol=6)


def hostile_pictures():
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "x" * 2**21, zip=True)
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", pnginfo=text)
    yield "long_text.png", file.getvalue()
    yield "postscript.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n"
    yield "postscript.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n"
    yield "metafile.png", b"\xd7\xcd\xc6\x9a\0\0" + bytes(60)
    for side in (10_000, 50_000):  # Pillow warns of the first and refuses the second
        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        rows = chunk(b"IDAT", zlib.compress(b"\0"))
        yield f"{side}.png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")
    yield "50000.pgm", b"P5 50000 50000 65535\n"
    yield "empty.jpg", b""
    yield "page.jpg", b"<html>404</html>"
    whole = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "PNG")
    yield "cut.png", whole[:5000]
    yield "flipped.png", whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]
    yield "cut.jpg", encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "JPEG")[:2000]


@pytest.mark.parametrize(("name", "content"), list(hostile_pictures()), ids=lambda x: x if isinstance(x, str) else "")
@pytest.mark.parametrize("read", [open_image, lambda path: read_pixels(Clip(path)), read_picture_size])
def test_hostile_and_broken_pictures_are_refused_by_name(tmp_path, monkeypatch, name, content, read):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: not readable as a picture"):
        read(tmp_path / name)
    assert not (tmp_path / "called").exists()


def test_pipes_folders_and_devices_are_refused_before_they_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("/dev/zero")
    kinds = {"pipe.png": "named pipe", "pipe.npy": "named pipe", "folder.png": "folder", "link.png": "device"}
    for name, kind in kinds.items():
        for read in (open_image, lambda path: read_pixels(Clip(path)), read_picture_size):
            with pytest.raises(ValueError, match=f"{name}: is a {kind}, not a regular file"):
                read(tmp_path / name)


def test_one_door_opens_all_pictures():
    openers = [module for module, source in MODULES.items() if "Image.open(" in source]
    scripts = Path(__file__).parents[2] / "data_scripts"
    openers += [path.name for path in scripts.glob("*.py") if "Image.open(" in path.read_text()]
    assert openers == ["media.pictures"]


@pytest.mark.parametrize("white", [65535, 65535 // 16, 65535 // 14, 1000])
def test_only_pictures_that_are_nearly_black_are_said_to_be(tmp_path, monkeypatch, caplog, white):
    """Of 16 bits, whose highest level times a factor is more than 16 bits hold."""
    monkeypatch.setattr(notices, "_warned", set())
    path = tmp_path / "a.png"
    Image.fromarray(np.linspace(0, white, 64).reshape(8, 8).astype(np.uint16)).save(path)
    assert np.asarray(open_image(path)).max() == round(white / 257)
    assert ("nearly black" in caplog.text) == (white * 15 < 65535)


def test_the_preview_of_a_raw_file_is_not_the_picture(tmp_path):
    path = tmp_path / "a.tif"
    for tags in ({254: 1, 330: 8}, {254: 1, 50706: b"\1\4\0\0"}):
        Image.fromarray(PIXELS).save(path, tiffinfo=tags)
        for read in (open_image, read_picture_size, lambda path: read_pixels(Clip(path))):
            with pytest.raises(
                ValueError, match=r"a\.tif: .*its first picture is a preview, as in a camera's raw file"
            ):
                read(path)
    Image.fromarray(PIXELS).save(path, tiffinfo={254: 1})  # the only picture
    assert np.array_equal(read_pixels(Clip(path)), PIXELS)


def bmp_with_alpha(alpha):
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    rows = np.dstack([PIXELS[..., ::-1], np.full(PIXELS.shape[:2], alpha, np.uint8)])[::-1].tobytes()
    height, width = PIXELS.shape[:2]
    head = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(rows), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 122 + len(rows), 0, 0, 122) + head + masks + rows


def test_a_bmp_whose_fourth_byte_is_empty_is_shown(tmp_path):
    for alpha in (0, 255):
        (tmp_path / "a.bmp").write_bytes(bmp_with_alpha(alpha))
        assert np.array_equal(np.asarray(open_image(tmp_path / "a.bmp")), PIXELS)


def test_pictures_that_are_transparent_all_over_are_said_to_be_white(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(notices, "_warned", set())
    Image.fromarray(np.dstack([PIXELS, np.zeros(PIXELS.shape[:2], np.uint8)])).save(tmp_path / "a.png")
    with caplog.at_level("WARNING", "bind"):
        assert np.asarray(open_image(tmp_path / "a.png")).min() == 255
    assert "transparent all over are white" in caplog.text
