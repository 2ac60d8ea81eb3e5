import numpy as np
import pytest
from PIL import Image
from support import videos

from bind.media.pictures import open_image, read_pixels
from bind.types import Clip

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
    with pytest.raises(ValueError, match=r"nowhere\.png: no such image"):
        open_image(Clip(tmp_path / "nowhere.png"))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken\.png: not a readable picture"):
        open_image(broken)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(broken)
    broken.write_bytes(broken.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"broken\.png: not a readable picture"):
        open_image(broken)
    for array in (PIXELS.astype(np.float32), PIXELS[..., 0], np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(ValueError, match="must be uint8"):
            open_image(array)


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
@pytest.mark.parametrize("content", [None, b"", b"not a picture"])
def test_numbers_that_cannot_be_read_are_named(tmp_path, name, message, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_pixels(Clip(tmp_path / name))
