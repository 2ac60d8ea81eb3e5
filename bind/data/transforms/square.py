"""Squares of pictures that measure something: checked, scaled and cut."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate


def middle_square(x_CHW: Tensor, size_px: int) -> Tensor:
    """(C, H, W) → (C, S, S): scaled to the shorter side, smoothed where it shrinks, and cut to its middle."""
    height, width = x_CHW.shape[-2:]
    scale = size_px / min(height, width)
    size = [max(size_px, round(side * scale)) for side in (height, width)]
    if size != [height, width]:
        x_CHW = interpolate(x_CHW[None], size=size, mode="bilinear", antialias=True)[0]
    top, left = ((side - size_px) // 2 for side in size)
    return x_CHW[:, top : top + size_px, left : left + size_px]


def checked_map(x_HW: np.ndarray, name: str) -> np.ndarray:
    """(H, W) numbers as float32; ValueError that names the file for another shape, NaN or infinity."""
    if x_HW.ndim != 2 or not x_HW.size:
        raise ValueError(f"{name}: shape {x_HW.shape} is not (height, width)")
    num_bad = x_HW.size - int(np.isfinite(x_HW).sum())
    if num_bad:
        raise ValueError(f"{name}: {num_bad} of {x_HW.size} values are NaN or infinite. Repair it or drop its row")
    return np.ascontiguousarray(x_HW, dtype=np.float32)
