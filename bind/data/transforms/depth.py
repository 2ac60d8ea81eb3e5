"""A depth map → a square of normalised inverse depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from bind.types import Clip


class DepthTransform:
    """A depth map (H, W) in metres, or a 16-bit PNG in millimetres → float32 (1, S, S), S = `size_px`.

    The output is (1 / depth - mean) / std with depth in metres, clipped to [min_metres, max_metres] first: inverse
    depth is what stereo disparity measures, up to the camera's baseline times its focal length. A pixel of 0 was not
    measured and takes no part in resizing; where nothing was measured the output is that of infinitely far. The
    picture is scaled to its shorter side, and its middle kept.

    Raises:
        ValueError: names the file where it is no 16-bit grey picture, or holds NaN, negative values or no measurement.
    """

    def __init__(
        self,
        size_px: int = 64,
        min_metres: float = 0.1,
        max_metres: float = 50.0,
        mean: float = 0.5,
        std: float = 0.5,
    ) -> None:
        if not (size_px >= 1 and 0 < min_metres < max_metres and std > 0):
            raise ValueError("depth needs size_px >= 1, 0 < min_metres < max_metres and std > 0")
        self.size_px = size_px
        self.min_metres, self.max_metres = min_metres, max_metres
        self.mean, self.std = mean, std

    def __call__(self, value: Clip | np.ndarray, rng: np.random.Generator | None) -> Tensor:
        name = str(value) if isinstance(value, Clip) else "a depth map in memory"
        depth_HW = torch.from_numpy(_checked(_read(value), name))
        measured_HW = (depth_HW > 0).float()
        inverse_HW = measured_HW / depth_HW.clamp(self.min_metres, self.max_metres)
        inverse, measured = self._resized(torch.stack([inverse_HW, measured_HW])).unbind()
        inverse = torch.where(measured > 1e-3, inverse / measured.clamp_min(1e-3), 0.0)
        return ((inverse - self.mean) / self.std)[None]

    def collate(self, items: list[Tensor]) -> Tensor:
        """B_m maps (1, S, S) → (B_m, 1, S, S)."""
        return torch.stack(items)

    def _resized(self, x_CHW: Tensor) -> Tensor:
        height, width = x_CHW.shape[-2:]
        scale = self.size_px / min(height, width)
        size = [max(self.size_px, round(side * scale)) for side in (height, width)]
        if size != [height, width]:
            x_CHW = interpolate(x_CHW[None], size=size, mode="bilinear", antialias=True)[0]
        top, left = ((side - self.size_px) // 2 for side in size)
        return x_CHW[:, top : top + self.size_px, left : left + self.size_px]


def _read(value: Any) -> np.ndarray:
    if not isinstance(value, Clip):
        return np.asarray(value, dtype=np.float32)
    from PIL import Image

    try:
        with Image.open(value.path) as image:
            mode, pixels = image.mode, np.asarray(image)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{value}: not readable as a picture ({error}). Replace the file or drop its row") from error
    if mode not in ("I;16", "I;16B", "I;16L", "I"):
        raise ValueError(f"{value}: mode {mode} is no depth map; save depth in millimetres as a 16-bit grey PNG")
    return pixels.astype(np.float32) / 1000.0


def _checked(depth_HW: np.ndarray, name: str) -> np.ndarray:
    if depth_HW.ndim != 2 or not depth_HW.size:
        raise ValueError(f"{name}: shape {depth_HW.shape} is not (height, width)")
    if not (np.isfinite(depth_HW).all() and (depth_HW >= 0).all()):
        raise ValueError(f"{name}: depth is NaN, infinite or negative; write 0 where nothing was measured")
    if not depth_HW.any():
        raise ValueError(f"{name}: no pixel was measured. Drop its row")
    return depth_HW
