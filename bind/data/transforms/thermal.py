"""Transform of a thermal picture: a square of intensities between 0 and 1."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bind.data.transforms.square import checked_map, middle_square
from bind.media.pictures import read_pixels
from bind.types import Clip

FULL_SCALE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
GREY_TOLERANCE = 8
"""By how much the channels of a grey picture that was stored as a colour JPEG may differ."""


class ThermalTransform:
    """A thermal picture of 8 or 16 bits, or an `.npy` of floats, (H, W) → float32 (1, S, S), S = `size_px`.

    `low` maps to 0, `high` to 1, and what is beyond is clipped; then (x - mean) / std. There is no normalisation
    by default: the statistics of colour photographs are not those of heat. The picture is scaled to its
    shorter side, and its middle kept.

    Args:
        low: in the units of the file, 0 unless it holds floats.
        high: in the units of the file; None is 255 for 8 bits and 65535 for 16. Sensors that count in 16 bits fill a
            small part of them: give its ends, which also keeps temperatures comparable between pictures.

    Raises:
        ValueError: names the file where it is no such picture, has false colours, or holds NaN.

    Examples:
        >>> celsius_HW = np.linspace(10.0, 40.0, 48 * 64, dtype=np.float32).reshape(48, 64)
        >>> square = ThermalTransform(size_px=32, low=0.0, high=50.0)(celsius_HW, None)
        >>> square.shape, round(float(square.mean()), 2)  # 25 °C on average
        (torch.Size([1, 32, 32]), 0.5)
    """

    def __init__(
        self,
        *,
        size_px: int = 64,
        low: float = 0.0,
        high: float | None = None,
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        if not (size_px >= 1 and std > 0 and (high is None or low < high)):
            raise ValueError("thermal needs size_px >= 1, low < high and std > 0")
        self.size_px = size_px
        self.low, self.high = low, high
        self.mean, self.std = mean, std

    def __call__(self, value: Clip | np.ndarray, rng: np.random.Generator | None) -> Tensor:
        return (middle_square(self.intensity(value)[None], self.size_px) - self.mean) / self.std

    def intensity(self, value: Clip | np.ndarray) -> Tensor:
        """The picture as it is stored, (H, W), with `low` as 0 and `high` as 1."""
        name = str(value) if isinstance(value, Clip) else "a thermal picture in memory"
        stored = read_pixels(value) if isinstance(value, Clip) else value
        high = FULL_SCALE.get(stored.dtype) if self.high is None else self.high
        if high is None:
            raise ValueError(f"{name}: {stored.dtype} has no full scale; set transform.thermal.low and .high for it")
        x_HW = torch.from_numpy(checked_map(_one_channel(stored, name), name))
        return ((x_HW - self.low) / (high - self.low)).clamp(0.0, 1.0)

    def collate(self, items: list[Tensor]) -> Tensor:
        """B_m pictures (1, S, S) → (B_m, 1, S, S)."""
        return torch.stack(items)


def _one_channel(stored: np.ndarray, name: str) -> np.ndarray:
    if stored.ndim != 3 or stored.shape[2] != 3:
        return stored
    spread = stored.max(axis=2).astype(np.int64) - stored.min(axis=2)
    if spread.max() > GREY_TOLERANCE:
        raise ValueError(
            f"{name}: its colours are false, so they are no measure of heat; export the picture in grey levels"
        )
    return stored[:, :, 1]
