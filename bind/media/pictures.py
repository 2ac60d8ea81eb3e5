"""Readers of pictures: files, arrays and frames of videos, as RGB images or as the numbers that are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from bind.media.video import VIDEO_SUFFIXES, open_video
from bind.types import Clip


def open_image(value: Any) -> Image.Image:
    """Open an RGB picture from a path, a `Clip`, a PIL image or a uint8 array (H, W, 3); of a video the middle frame.

    Raises:
        ValueError: naming the file, where it is missing or no picture.

    Examples:
        >>> image = open_image(np.zeros((4, 6, 3), dtype=np.uint8))
        >>> image.size, image.mode
        ((6, 4), 'RGB')
    """
    if isinstance(value, Image.Image):
        return value.convert("RGB")
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3:
            raise ValueError(f"an image array must be uint8 (H, W, 3), got {value.dtype} {value.shape}")
        return Image.fromarray(value)
    clip = value if isinstance(value, Clip) else Clip(Path(value))
    path = clip.path
    if path.suffix.lower() in VIDEO_SUFFIXES:
        with open_video(clip) as video:
            return Image.fromarray(video.frames([video.seconds / 2])[0])
    try:
        with Image.open(clip.file) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such image; check the manifest's image column") from error
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path}: not a readable picture ({error}); replace it or drop its row") from error


def read_pixels(clip: Clip) -> np.ndarray:
    """Read the numbers of a picture (H, W) or (H, W, C), uint8 or uint16 as stored, or of an `.npy` array.

    Raises:
        ValueError: names the file that is missing or not readable.
    """
    if clip.path.suffix.lower() == ".npy":
        try:
            stored: np.ndarray = np.load(clip.file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"{clip}: not readable as .npy ({error}). Replace the file or drop its row") from error
        return stored
    try:
        with Image.open(clip.file) as image:
            # A palette's numbers are no measurements.
            pixels = np.asarray(image.convert("RGB") if image.mode == "P" else image)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{clip}: not readable as a picture ({error}). Replace the file or drop its row") from error
    if pixels.dtype == np.int32 and 0 <= pixels.min() <= pixels.max() < 2**16:
        return pixels.astype(np.uint16)  # Pillow opens some 16-bit files as 32-bit numbers
    return pixels
