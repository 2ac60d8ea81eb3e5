"""Pretrained encoder: what those of all families have in common around their trunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn
from transformers import PreTrainedModel

from bind.encoders.pretrained.loading import describe_config
from bind.types import Inputs


class PretrainedEncoder(nn.Module):
    """A trunk of transformers; a family adds how it is fed and pooled.

    Its BatchNorm layers stay in eval mode whatever `train()` is called: their statistics are those of the data that it
    was trained on.

    Args:
        trunk: the model whose weights these are.
        num_features: F.
    """

    trunk: Any
    layer_list: str
    """Dotted name of the trunk's layers within the trunk."""

    def __init__(self, trunk: PreTrainedModel, num_features: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.num_features = num_features
        self.train()

    def train(self, mode: bool = True) -> Self:
        """As of any module, but for layers with running statistics."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.training = False
        return self

    def layers(self) -> Sequence[nn.Module]:
        """See `LayeredEncoder.layers`: those of the trunk, first to last."""
        modules = self.trunk.get_submodule(self.layer_list)
        assert isinstance(modules, nn.ModuleList)
        return list(modules)

    def saved_arguments(self) -> dict[str, Any]:
        """See `LoadedPart.saved_arguments`: the architecture takes the place of the files."""
        return {"pretrained": None, "architecture": describe_config(self.trunk.config)}

    def inputs_by_name(self, inputs: Inputs, *names: str) -> Mapping[str, Tensor]:
        """The `inputs` of a transform of the family; ValueError where they are those of another."""
        if not isinstance(inputs, Mapping) or not set(names) <= set(inputs):
            shown = sorted(inputs) if isinstance(inputs, Mapping) else f"a tensor {tuple(inputs.shape)}"
            family = type(self).__module__.rpartition(".")[2]
            raise ValueError(
                f"{type(self).__name__} takes {' and '.join(names)}, and its transform gives {shown}: choose the "
                f"transform of its family, for example transform/audio={family}"
            )
        return inputs


def masked_mean(tokens_BLF: Tensor, mask_BL: Tensor) -> Tensor:
    """The mean (B, F) of the tokens that are there.

    Examples:
        >>> import torch
        >>> tokens_BLF = torch.tensor([[[1.0], [3.0], [100.0]]])
        >>> masked_mean(tokens_BLF, torch.tensor([[True, True, False]]))
        tensor([[2.]])
    """
    weights_BL1 = mask_BL.to(tokens_BLF.dtype)[..., None]
    return (tokens_BLF * weights_BL1).sum(dim=1) / weights_BL1.sum(dim=1).clamp_min(1.0)
