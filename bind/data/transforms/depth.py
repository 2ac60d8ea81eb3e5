"""Transform of a depth map: a square of normalised inverse depth, or disparity."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bind.data.transforms.square import checked_map, middle_square
from bind.media.pictures import read_pixels
from bind.types import Clip

MAX_USUAL_METRES = 500.0
"""Lidars reach 250 m; a room in millimetres has thousands."""


class DepthTransform:
    """A depth map (H, W) of floats in metres, or of 16-bit numbers of `unit_metres` each → float32 (1, S, S).

    S is `size_px`. The output is (d - mean) / std of the disparity d = baseline_metres * focal_px / depth, with depth
    clipped to [min_metres, max_metres] first; with a baseline and a focal length of 1 it is the inverse of depth in
    metres. A pixel of 0 was not measured and takes no part in resizing; where nothing was measured the disparity is 0,
    that of infinitely far. The picture is scaled to its shorter side, and its middle kept.

    Args:
        unit_metres: of one step of a 16-bit number: 0.001 where depth is stored in millimetres.
        encoding: `sun_rgbd` where 16-bit numbers are rotated by three bits, as in SUN RGB-D's raw files.
        baseline_metres: between the two cameras of the sensor.
        focal_px: focal length of the depth picture as it is stored.
        max_disparity: disparity is capped here and divided by it, as in Omnivore; None does neither.

    Raises:
        ValueError: names the file where it is no 16-bit grey picture or array of floats, or holds NaN, negative values,
            floats that are no metres, or no measurement.

    Examples:
        >>> depth_HW = np.full((48, 64), 4.0, dtype=np.float32)  # metres
        >>> square = DepthTransform(size_px=32, mean=0.0, std=1.0)(depth_HW, None)
        >>> square.shape, float(square.mean())  # the inverse of 4 m
        (torch.Size([1, 32, 32]), 0.25)

    Source: disparity, its cap of 75 and the baselines: Omnivore (Girdhar et al., 2022; DepthNorm, and issue 12 of its
    repository). Mean 0.0418 and std 0.0295: ViT-Lens (issue 9). Both come from SUN RGB-D's rotated numbers read as
    millimetres (issue 12 of ViT-Lens), so in true metres the cap is 600 and the farthest depth 6.25, not 50.
    """

    def __init__(
        self,
        *,
        size_px: int = 64,
        min_metres: float = 0.1,
        max_metres: float = 50.0,
        mean: float = 0.5,
        std: float = 0.5,
        unit_metres: float = 0.001,
        encoding: Literal["plain", "sun_rgbd"] = "plain",
        baseline_metres: float = 1.0,
        focal_px: float = 1.0,
        max_disparity: float | None = None,
    ) -> None:
        if not (size_px >= 1 and 0 < min_metres < max_metres and std > 0):
            raise ValueError("depth needs size_px >= 1, 0 < min_metres < max_metres and std > 0")
        if min(unit_metres, baseline_metres, focal_px, 1.0 if max_disparity is None else max_disparity) <= 0:
            raise ValueError("depth needs unit_metres, baseline_metres, focal_px and max_disparity above 0")
        if encoding not in ("plain", "sun_rgbd"):
            raise ValueError(f"depth's encoding is plain or sun_rgbd, not {encoding!r}")
        self.size_px = size_px
        self.min_metres, self.max_metres = min_metres, max_metres
        self.mean, self.std = mean, std
        self.unit_metres, self.encoding = unit_metres, encoding
        self.baseline_metres, self.focal_px = baseline_metres, focal_px
        self.max_disparity = max_disparity

    def __call__(self, value: Clip | np.ndarray, rng: np.random.Generator | None) -> Tensor:
        name = str(value) if isinstance(value, Clip) else "a depth map in memory"
        depth_HW = torch.from_numpy(self._metres(read_pixels(value) if isinstance(value, Clip) else value, name))
        measured_HW = (depth_HW > 0).float()
        disparity_HW = self.baseline_metres * self.focal_px / depth_HW.clamp(self.min_metres, self.max_metres)
        if self.max_disparity is not None:
            disparity_HW = disparity_HW.clamp(max=self.max_disparity) / self.max_disparity
        disparity, measured = middle_square(torch.stack([disparity_HW * measured_HW, measured_HW]), self.size_px)
        disparity = torch.where(measured > 1e-3, disparity / measured.clamp_min(1e-3), 0.0)
        return ((disparity - self.mean) / self.std)[None]

    def collate(self, items: list[Tensor]) -> Tensor:
        """B_m maps (1, S, S) → (B_m, 1, S, S)."""
        return torch.stack(items)

    def _metres(self, stored_HW: np.ndarray, name: str) -> np.ndarray:
        if stored_HW.dtype == np.uint16:
            if self.encoding == "sun_rgbd":
                stored_HW = (stored_HW >> 3) | (stored_HW << 13)
            depth_HW = checked_map(stored_HW, name) * np.float32(self.unit_metres)
        elif np.issubdtype(stored_HW.dtype, np.floating):
            depth_HW = checked_map(stored_HW, name)
            usual = float(np.median(depth_HW[depth_HW > 0])) if (depth_HW > 0).any() else 0.0
            if usual > MAX_USUAL_METRES:
                raise ValueError(
                    f"{name}: its floats, {usual:g} in the middle, are too far for metres; where they are millimetres, "
                    "divide them by 1000 or save them as 16-bit numbers"
                )
        else:
            raise ValueError(
                f"{name}: {stored_HW.dtype} is no depth map; save depth as a 16-bit grey PNG, or as floats in metres "
                "in .npy"
            )
        if (depth_HW < 0).any():
            raise ValueError(f"{name}: depth is negative; write 0 where nothing was measured")
        if not depth_HW.any():
            raise ValueError(f"{name}: no pixel was measured. Drop its row")
        return depth_HW
