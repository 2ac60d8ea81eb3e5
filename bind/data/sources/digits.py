"""Handwritten digits: pictures, words and splits that the toy anchor and the spoken digits share.

The scans are the 1,797 of `sklearn.datasets.load_digits` (UCI optical recognition of handwritten digits, test part;
E. Alpaydin and C. Kaynak, CC BY 4.0): 8×8 pixels, 0 paper to 16 ink. Who wrote which is not recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
IMAGE_SIZE_PX = 64
SPLIT_SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


@dataclass(frozen=True, slots=True)
class DigitScan:
    """One scan: its place in `load_digits`, its digit, its split, and its pixels (8, 8) from 0 to 16."""

    index: int
    digit: int
    split: str
    pixels: np.ndarray


def digit_scans(seed: int = 0) -> list[DigitScan]:
    """All scans in their order, each digit's dealt at random to train, val and test as 60, 20 and 20 %."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    splits = np.empty(len(digits), dtype=object)
    rng = np.random.default_rng(seed)
    for digit in range(10):
        indices = rng.permutation(np.flatnonzero(digits == digit))
        cuts = np.round(np.cumsum(list(SPLIT_SHARES.values()))[:-1] * len(indices)).astype(int)
        for split, part in zip(SPLIT_SHARES, np.split(indices, cuts), strict=True):
            splits[part] = split
    return [DigitScan(i, int(digits[i]), splits[i], pixels[i].reshape(8, 8)) for i in range(len(digits))]


def digit_image(scan_8x8: np.ndarray) -> np.ndarray:
    """Pixels (8, 8) from 0 to 16 → uint8 (64, 64, 3): dark ink on white paper, smoothly enlarged."""
    from PIL import Image

    if scan_8x8.shape != (8, 8) or scan_8x8.min() < 0 or scan_8x8.max() > 16:
        raise ValueError(f"a scan is (8, 8) with values from 0 to 16, not {scan_8x8.shape}")
    grey = np.round(255.0 * (1.0 - scan_8x8 / 16.0)).astype(np.uint8)
    large = Image.fromarray(grey).resize((IMAGE_SIZE_PX, IMAGE_SIZE_PX), Image.Resampling.BICUBIC)
    return np.repeat(np.asarray(large)[:, :, None], 3, axis=2)


def digit_captions(digit: int) -> tuple[str, ...]:
    """Captions of a picture of `digit`."""
    word = DIGIT_WORDS[digit]
    return (
        f"a handwritten {word}",
        f"the handwritten digit {word}",
        f"the number {word}, written by hand",
        f"a picture of a {word} in handwriting",
    )
