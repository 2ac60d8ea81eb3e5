"""Readers of pictures: files, arrays and frames of videos, as RGB images or as the numbers that are stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from bind.files.reading import reading
from bind.media.arrays import read_array
from bind.media.notices import warn_once
from bind.media.stored_pixels import require_all_rows, require_stored_pixels
from bind.media.video import VIDEO_SUFFIXES, open_video
from bind.types import Clip

READER_VERSION = 2
"""Raised where the same file would give other values: part of the key of caches."""
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
"""The only decoders that are tried, whatever a file's name or content asks for: PostScript, for one, is a program."""
MAX_PIXELS = 2**30 // 12
"""89 million; a file of a few kilobytes can claim more than fits into memory."""
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How a picture is turned that has this EXIF orientation."""
TIFF_BITS, TIFF_PHOTOMETRIC = 258, 262
"""Tags of TIFF: bits per sample, and what 0 stands for."""
WHITE_IS_ZERO = 0
TIFF_SUBFILE_TYPE, TIFF_OTHER_PICTURES, DNG_VERSION = 254, 330, 50706
IS_PREVIEW = 1
"""Bit of the type of subfile; the full picture then stands elsewhere in the file."""
DARK_FACTOR = 15
"""Cameras of 12 bits fill a sixteenth of 16 bits where nobody scaled their levels; viewers show that nearly black."""
STEP_OF_LEVEL = {"L;2": 85, "L;4": 17}
"""By what Pillow multiplies the levels of a grey PNG of 2 or 4 bits."""


def open_image(value: Any) -> Image.Image:
    """Open an RGB picture from a path, a `Clip`, a PIL image or a uint8 array (H, W, 3); of a video the middle frame.

    It is what a good viewer shows: upright by its EXIF orientation, on white where it is transparent, greys of 16 bits
    scaled to 8, floats from 0 (black) to 1 (white).

    Raises:
        ValueError: naming the file, where it is missing, cut off, too large or no picture, or its greys have no known
            black and white.

    Examples:
        >>> image = open_image(np.zeros((4, 6, 3), dtype=np.uint8))
        >>> image.size, image.mode
        ((6, 4), 'RGB')
        >>> open_image(Image.fromarray(np.full((4, 6), 65535, dtype=np.uint16))).getpixel((0, 0))
        (255, 255, 255)
    """
    if isinstance(value, Image.Image):
        with reading("a picture in memory", "not readable as a picture", "Convert it to RGB before"):
            return _as_shown(value, "a picture in memory")
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3 or not value.size:
            raise ValueError(f"an image array must be uint8 (H, W, 3), got {value.dtype} {value.shape}")
        return Image.fromarray(value)
    clip = value if isinstance(value, Clip) else Clip(Path(value))
    if clip.path.suffix.lower() in VIDEO_SUFFIXES:
        with open_video(clip) as video:
            return Image.fromarray(video.frames([video.seconds / 2])[0])
    with _decoder(clip) as image:
        return _as_shown(image, str(clip))


def read_pixels(clip: Clip) -> np.ndarray:
    """Read the numbers of a picture (H, W) or (H, W, C), uint8 or uint16 as stored, or of an `.npy` array.

    The numbers are those of the file, but they lie upright as the picture is shown, beside which they were taken.

    Raises:
        ValueError: names the file that is missing or not readable.
    """
    if clip.path.suffix.lower() == ".npy":
        return np.array(read_array(clip))
    with _decoder(clip) as image:
        max_stored = _max_before_scaling(image)
        image.load()
        # A palette's numbers are no measurements.
        numbers = image.convert("RGB") if image.mode == "P" else image
        pixels = np.asarray(_upright(numbers, _orientation(image, str(clip))))
        if max_stored is not None:
            max_read, kind = (255, np.uint8) if pixels.dtype == np.uint8 else (65535, np.uint16)
            pixels = np.round(pixels * (max_stored / max_read)).astype(kind)
        if pixels.dtype.kind == "u":
            return pixels.astype(pixels.dtype.newbyteorder("="))
        if pixels.dtype == np.int32 and 0 <= pixels.min() <= pixels.max() < 2**16:
            return pixels.astype(np.uint16)  # Pillow opens some 16-bit files as 32-bit numbers
        return pixels


def read_picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as the picture is shown, decoded to its end: a file that is cut off is refused.

    JPEGs are decoded at an eighth of their size, which finds what is cut and takes a fraction of the time.

    Raises:
        ValueError: naming the file, as `open_image` does.
    """
    with _decoder(Clip(path)) as image:
        width, height = image.size
        image.draft("RGB", (width // 8, height // 8))
        image.load()
        is_turned = image.format != "TIFF" and _orientation(image, str(path)) >= 5
        return (height, width) if is_turned else (width, height)


def require_few_pixels(clip: Clip, max_pixels: int) -> None:
    """Raise ValueError, naming the file, where a picture has more pixels; nothing but its head is decoded.

    Examples:
        >>> import io
        >>> from bind.types import PackedFile
        >>> file = io.BytesIO()
        >>> Image.new("L", (30, 20)).save(file, "PNG")
        >>> require_few_pixels(Clip(PackedFile("a.png", file.getvalue())), 500)
        Traceback (most recent call last):
        ValueError: a.png: has 30 x 20 pixels, up to 500 are taken; scale it down
    """
    path = clip.path
    with reading(path, "not readable as a picture"), Image.open(clip.file, formats=_available_formats()) as image:
        if image.width * image.height > max_pixels:
            raise ValueError(
                f"{path}: has {image.width} x {image.height} pixels, up to {max_pixels:,} are taken; scale it down"
            )


@contextmanager
def _decoder(clip: Clip) -> Iterator[ImageFile]:
    """A picture's file, not decoded yet; whatever goes wrong in the block is a ValueError that names it."""
    with reading(clip.path, "not readable as a picture"), ExitStack() as stack:
        # Not opened by its name: Pillow 13 mixes up the rows of turned TIFFs that it maps into memory.
        opened = stack.enter_context(clip.path.open("rb")) if isinstance(clip.path, Path) else clip.file
        file = cast("BinaryIO", opened)
        try:
            image = stack.enter_context(Image.open(file, formats=_available_formats()))
        except UnidentifiedImageError:
            raise ValueError(
                f"it is whole in none of {', '.join(FORMATS)}; convert it to PNG or JPEG if it is another format"
            ) from None
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, up to {MAX_PIXELS:,} are read; scale it down")
        if image.width * image.height == 0:
            raise ValueError("it has no pixels")
        tags = getattr(image, "tag_v2", {})
        if tags.get(TIFF_SUBFILE_TYPE, 0) & IS_PREVIEW and not {TIFF_OTHER_PICTURES, DNG_VERSION}.isdisjoint(tags):
            raise ValueError("its first picture is a preview, as in a camera's raw file: export it as JPEG or PNG")
        require_stored_pixels(image, file)
        if image.format != "MPO" and getattr(image, "is_animated", False):
            warn_once("pictures of several pages or moments are read as their first", str(clip))
        width = image.width
        yield image
        require_all_rows(image, file, width)


@lru_cache(maxsize=1)
def _available_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow can open."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _as_shown(image: Image.Image, name: str) -> Image.Image:
    """RGB, upright, on white, 8 bits."""
    _scale_transparent_level(image)
    image.load()
    shown = _eight_bit_grey(image, name) if image.mode[0] in "IF" else image
    if image.format == "BMP" and shown.mode == "RGBA" and not any(shown.getchannel("A").getextrema()):
        shown = shown.convert("RGB")  # a byte that nobody filled; viewers show it
    if shown.has_transparency_data:
        pixels = (shown.convert("LA") if shown.mode == "La" else shown).convert("RGBA")
        if not any(pixels.getchannel("A").getextrema()):
            warn_once("pictures that are transparent all over are white", name)
        shown = Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels)
    return _upright(shown.convert("RGB"), _orientation(image, name))


def _scale_transparent_level(image: Image.Image) -> None:
    """Bring the one level or colour that a PNG calls transparent to 8 bits, as Pillow does with its pixels."""
    raw_mode = image.tile[0][3] if isinstance(image, ImageFile) and image.tile else None
    if "transparency" not in image.info or not isinstance(raw_mode, str):
        return
    if raw_mode == "RGB;16B":
        raise ValueError("one of its 16-bit colours is transparent; save it with an alpha channel, or with 8 bits")
    if raw_mode in STEP_OF_LEVEL:
        image.info["transparency"] *= STEP_OF_LEVEL[raw_mode]


def _eight_bit_grey(image: Image.Image, name: str) -> Image.Image:
    """Greys of 16 bits, or floats from 0 to 1, as 8 bits: `L`, or `LA` where one level is transparent.

    Raises:
        ValueError: for other floats and integers: nothing says which of them is white.
    """
    levels = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F":
        if not (levels.min() >= 0 and levels.max() <= 1):  # NaN is neither
            raise ValueError(
                f"its floats go from {levels.min():g} to {levels.max():g}, and nothing says which is white; save it "
                "with 8 or 16 bits, or scale it to 0 (black) to 1 (white)"
            )
        white = 1.0
    elif image.mode.startswith("I;16"):
        white = 2.0 ** tags.get(TIFF_BITS, (16,))[0] - 1
        if int(levels.max()) * DARK_FACTOR < white:
            warn_once(f"grey pictures that fill less than 1/{DARK_FACTOR} of their levels are nearly black", name)
    elif image.format == "PPM":
        white = 65535.0  # Pillow scales other ones to it
    else:
        raise ValueError(
            f"its greys are 32-bit or signed integers ({levels.min()} to {levels.max()}), and nothing says which is "
            "white; save it with 8 or 16 bits"
        )
    scaled = np.rint(levels.astype(np.float64) * (255 / white)).clip(0, 255).astype(np.uint8)
    if tags.get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO:
        scaled = 255 - scaled
    if isinstance(key := image.info.get("transparency"), int):
        return Image.fromarray(np.stack([scaled, np.where(levels == key, 0, 255).astype(np.uint8)], axis=-1))
    return Image.fromarray(scaled)


def _max_before_scaling(image: ImageFile) -> int | None:
    """The highest level of a PGM whose levels Pillow scales to 255 or 65535; None where it keeps them."""
    arguments = image.tile[0][3] if image.format == "PPM" and image.mode in ("L", "I") else None
    return int(arguments[1]) if isinstance(arguments, tuple) else None


def _orientation(image: Image.Image, name: str) -> int:
    """The EXIF orientation, 1 where there is none; EXIF that can't be parsed counts as none, and the log says so."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
        return value if isinstance(value, int) and value in UPRIGHT else 1
    except Exception as error:  # of any class, as from any decoder
        warn_once(f"EXIF that can't be parsed is ignored ({type(error).__name__}: {error})", name)
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
