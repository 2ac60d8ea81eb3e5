"""Transforms of depth maps and thermal pictures for vision models: pictures of three equal channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from torch import Tensor

from bind.data.transforms.depth import DepthTransform
from bind.data.transforms.pretrained.processor import PictureScale, load_processor, settings_of
from bind.data.transforms.thermal import ThermalTransform
from bind.types import Clip


class VisionDepthTransform(DepthTransform):
    """A depth map → float32 (3, S, S): disparity between 0 (far) and 1 (near), scaled as the model's photographs.

    S, mean and deviation are those of its image processor. Disparity is `DepthTransform`'s, divided by `max_disparity`.

    Args:
        pretrained: hub id or local folder of the encoder's model.
        image_processor: settings of its image processor with their `image_processor_type`, in place of `pretrained`.
        max_disparity: what becomes 1; nearer is 1 too.
    """

    def __init__(
        self,
        *,
        pretrained: str | None = None,
        image_processor: Mapping[str, Any] | None = None,
        min_metres: float = 0.5,
        max_metres: float = 50.0,
        unit_metres: float = 0.001,
        encoding: Literal["plain", "sun_rgbd"] = "plain",
        baseline_metres: float = 1.0,
        focal_px: float = 1.0,
        max_disparity: float = 2.0,
    ) -> None:
        self.image_processor = load_processor(pretrained, image_processor)
        self.scale = PictureScale.of(self.image_processor)
        super().__init__(
            size_px=self.scale.size_px,
            min_metres=min_metres,
            max_metres=max_metres,
            mean=0.0,
            std=1.0,
            unit_metres=unit_metres,
            encoding=encoding,
            baseline_metres=baseline_metres,
            focal_px=focal_px,
            max_disparity=max_disparity,
        )

    def __call__(self, value: Clip | np.ndarray, rng: np.random.Generator | None) -> Tensor:
        return self.scale.picture(super().__call__(value, rng))

    def saved_arguments(self) -> dict[str, Any]:
        """See `LoadedPart.saved_arguments`: settings take the place of the files."""
        return {"pretrained": None, "image_processor": settings_of(self.image_processor)}


class VisionThermalTransform(ThermalTransform):
    """A thermal picture → float32 (3, S, S): intensity between 0 and 1, scaled as the model's photographs.

    S, mean and deviation are those of its image processor. Intensity is `ThermalTransform`'s.

    Args:
        pretrained: hub id or local folder of the encoder's model.
        image_processor: settings of its image processor with their `image_processor_type`, in place of `pretrained`.
    """

    def __init__(
        self,
        *,
        pretrained: str | None = None,
        image_processor: Mapping[str, Any] | None = None,
        low: float = 0.0,
        high: float | None = None,
    ) -> None:
        self.image_processor = load_processor(pretrained, image_processor)
        self.scale = PictureScale.of(self.image_processor)
        super().__init__(size_px=self.scale.size_px, low=low, high=high)

    def __call__(self, value: Clip | np.ndarray, rng: np.random.Generator | None) -> Tensor:
        return self.scale.picture(super().__call__(value, rng))

    def saved_arguments(self) -> dict[str, Any]:
        """See `LoadedPart.saved_arguments`: settings take the place of the files."""
        return {"pretrained": None, "image_processor": settings_of(self.image_processor)}
