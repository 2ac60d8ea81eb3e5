"""Image processors of transformers: from a hub id or folder, or from settings alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoImageProcessor, CLIPImageProcessorPil
from transformers.image_processing_utils import BaseImageProcessor

from bind.encoders.pretrained.sources import opened_source

FILES = "preprocessor_config.json"
TYPE = "image_processor_type"


def load_processor(pretrained: str | None, settings: Mapping[str, Any] | None) -> Any:
    """An image processor with the settings of `pretrained`, with `settings`, or CLIP's.

    Its PIL backend gives the same pixels whether or not torchvision happens to be installed.

    Raises:
        ValueError: where it can't be loaded.
    """
    if pretrained is None:
        return CLIPImageProcessorPil() if settings is None else _build(dict(settings))
    if settings is not None:
        raise ValueError("a transform takes pretrained or image_processor, not both: set one of them to null")
    with opened_source("pretrained", pretrained, files=FILES) as options:
        return AutoImageProcessor.from_pretrained(pretrained, backend="pil", **options)


def settings_of(processor: Any) -> dict[str, Any]:
    """The settings of a processor as plain data, with the name of its class."""
    settings: dict[str, Any] = json.loads(json.dumps(processor.to_dict()))
    return {name: value for name, value in settings.items() if not name.startswith("_") and name != "processor_class"}


def _build(settings: dict[str, Any]) -> Any:
    name = str(settings.pop(TYPE, ""))
    cls = getattr(transformers, f"{name}Pil", None) or getattr(transformers, name, None)
    if not (isinstance(cls, type) and issubclass(cls, BaseImageProcessor)):
        raise ValueError(f"image_processor.{TYPE}={name!r} is no image processor of transformers: set pretrained")
    try:
        return cls(**settings)
    except Exception as error:  # whatever a processor makes of values that it was never given
        raise ValueError(f"image_processor: its settings don't make a {name}: {error}") from error


@dataclass(frozen=True)
class PictureScale:
    """The square that a model takes, and the mean and deviation of its channels, for maps between 0 and 1."""

    size_px: int
    mean_311: Tensor
    std_311: Tensor

    @classmethod
    def of(cls, processor: Any) -> PictureScale:
        """Those of a processor; ValueError where it makes no squares."""
        size = dict((processor.crop_size if getattr(processor, "do_center_crop", False) else None) or processor.size)
        sides = {int(value) for name, value in size.items() if value and name in ("height", "width", "shortest_edge")}
        if len(sides) != 1:
            raise ValueError(f"its pictures have the size {size}: maps need a model for squares")
        do_normalize = processor.do_normalize
        mean, std = (processor.image_mean, processor.image_std) if do_normalize else ([0.0] * 3, [1.0] * 3)
        return cls(sides.pop(), torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None])

    def picture(self, x_1HW: Tensor) -> Tensor:
        """(1, S, S) between 0 and 1 → (3, S, S), equal channels as the model expects those of photographs."""
        return (x_1HW.expand(3, -1, -1) - self.mean_311) / self.std_311
