"""Pictures out of focus and depth maps with holes: as decoded, before any transform."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

HOLES_PER_SIDE = 16
"""How many holes fit beside each other on the shorter side, about."""


def blur(pixels_HWC: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A uint8 picture (H, W, 3) blurred by a Gaussian whose standard deviation is `share` of the shorter side."""
    radius = share * min(pixels_HWC.shape[:2])
    return np.asarray(Image.fromarray(pixels_HWC).filter(ImageFilter.GaussianBlur(radius)))


def holes(depth_HW: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A depth map with a `share` (0 to below 1) of what was measured set to 0, not measured, in connected patches."""
    height, width = depth_HW.shape
    cells = [max(1, round(HOLES_PER_SIDE * side / min(height, width))) for side in (height, width)]
    coarse = Image.fromarray(rng.standard_normal(cells).astype(np.float32))
    field_HW = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    measured = np.flatnonzero(depth_HW)
    lost = measured[np.argsort(field_HW.ravel()[measured], kind="stable")][: int(share * len(measured))]
    holed = depth_HW.copy()
    holed.ravel()[lost] = 0
    return holed
