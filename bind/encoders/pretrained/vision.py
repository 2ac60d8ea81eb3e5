"""Vision models of any kind over depth maps and thermal pictures, which enter as pictures of three equal channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from bind.encoders.pretrained.encoder import PretrainedEncoder
from bind.encoders.pretrained.loading import load_trunk
from bind.types import Inputs

RANDOM_POOLERS = ("deit", "vit", "vit_hybrid", "vivit")
"""Types whose pooling layer published weights lack, or have untrained: their class token is what counts."""


class VisionEncoder(PretrainedEncoder):
    """A vision model of transformers → its pooled output (B, F), else its class token, else the mean of its tokens.

    DINOv2, DINOv3, ViT, DeiT, BEiT, Swin, ConvNeXt, and the image tower of a dual encoder (CLIP, SigLIP), before its
    projection. Inputs are those of `VisionDepthTransform` and `VisionThermalTransform`: (B, 3, H, W).

    Args:
        pretrained: hub id or local folder.
        architecture: of the model's config class with its `model_type`, in place of `pretrained`: random weights.

    Raises:
        ValueError: where it can't be loaded, or is no vision model.
    """

    def __init__(self, *, pretrained: str | None = None, architecture: Mapping[str, Any] | None = None) -> None:
        trunk: Any = load_trunk(pretrained, architecture, parts=None, without_pooler=RANDOM_POOLERS)
        if trunk.main_input_name != "pixel_values":
            raise ValueError(
                f"{'architecture' if pretrained is None else f'pretrained={pretrained}'} is a {type(trunk).__name__}, "
                "which takes no pictures: choose a vision model, for example DINOv2, or the encoder of its family"
            )
        super().__init__(trunk, width_of(trunk))

    def forward(self, x_B3HW: Inputs) -> Tensor:
        if not isinstance(x_B3HW, Tensor) or x_B3HW.ndim != 4 or x_B3HW.shape[1] != 3:
            shape = tuple(x_B3HW.shape) if isinstance(x_B3HW, Tensor) else "several inputs by name"
            raise ValueError(
                f"expected pictures (B, 3, H, W), got {shape}: choose the transform of vision models, for example "
                "transform/depth=vision"
            )
        return pooled(self.trunk, self.trunk(x_B3HW.to(next(self.trunk.parameters()).dtype)))

    def layers(self) -> Sequence[nn.Module]:
        """See `LayeredEncoder.layers`: the list with most of the weights; of ConvNeXt and Swin the stages."""
        return longest_list(self.trunk)


def pooled(trunk: Any, outputs: Any) -> Tensor:
    """Features (B, F) of a vision model's outputs: its pooled ones, else its class token, else the mean of all."""
    features_BF: Tensor | None = getattr(outputs, "pooler_output", None)
    tokens: Tensor = outputs.last_hidden_state
    if features_BF is not None:
        return features_BF.flatten(1)
    if tokens.ndim == 4:  # (B, F, H, W)
        return tokens.mean(dim=(2, 3))
    has_class_token = any(name.endswith(("cls_token", "class_embedding")) for name, _ in trunk.named_parameters())
    return tokens[:, 0] if has_class_token else tokens.mean(dim=1)


def width_of(trunk: Any) -> int:
    """F, from the config."""
    width = getattr(trunk.config, "hidden_size", None) or trunk.config.hidden_sizes[-1]
    return int(width)


def longest_list(trunk: nn.Module) -> Sequence[nn.Module]:
    """The modules of the list that holds most of the weights."""
    lists: list[nn.ModuleList] = [module for module in trunk.modules() if isinstance(module, nn.ModuleList)]
    largest: nn.ModuleList = max(lists, key=lambda modules: sum(p.numel() for p in modules.parameters()))
    return list(largest)
