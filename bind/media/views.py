"""Augmented views of a picture: of each, a cache can keep several vectors, of which training draws one at a time."""

from __future__ import annotations

import numpy as np
from PIL import Image

VIEW_RECIPE = (
    "the plain picture, then crops of 50 to 100 % of its area, sides 3:4 to 4:3 of its own, half of them mirrored"
)
"""Part of the key of a cache: with another recipe its vectors are others."""


def random_view(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A random part of `image`, at least half of its area, mirrored half the time (`VIEW_RECIPE`).

    Source: the crops of "Going deeper with convolutions" (Szegedy et al., 2015), from half the area on because what
    is bound to the picture should stay in it.
    """
    area, stretch = rng.uniform(0.5, 1.0), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    width = max(1, min(image.width, round(image.width * np.sqrt(area * stretch))))
    height = max(1, min(image.height, round(image.height * np.sqrt(area / stretch))))
    left, top = (int(rng.integers(space + 1)) for space in (image.width - width, image.height - height))
    view = image.crop((left, top, left + width, top + height))
    return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else view
