"""PatchTST: sensors, each channel for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PatchTSTModel

from bind.encoders.pretrained.encoder import PretrainedEncoder
from bind.encoders.pretrained.loading import load_trunk
from bind.types import Inputs


class PatchTstEncoder(PretrainedEncoder):
    """A PatchTST over sensor windows (B, C, T) → the mean over its patches of every channel, side by side (B, C * F).

    Pooled as `PatchTSTForClassification` does it, after its `pooling_type` and `use_cls_token`. No masking of inputs.
    Each channel is standardised within its window unless the model's config says otherwise (`scaling: null`): then its
    level is gone, and with it where gravity points.

    Args:
        pretrained: hub id or local folder of a PatchTST model, heads for forecasts, labels or pretraining are left out.
        architecture: of `PatchTSTConfig`, in place of `pretrained`: random weights.

    Source: Nie et al. 2023 (PatchTST).
    """

    layer_list = "encoder.layers"

    def __init__(self, *, pretrained: str | None = None, architecture: Mapping[str, Any] | None = None) -> None:
        trunk: Any = load_trunk(
            pretrained,
            architecture,
            parts={"patchtst": None},
            trunk_class=PatchTSTModel,
            options={"do_mask_input": False},
        )
        super().__init__(trunk, trunk.config.num_input_channels * trunk.config.d_model)

    def forward(self, x_BCT: Inputs) -> Tensor:
        config = self.trunk.config
        expected = (config.num_input_channels, config.context_length)
        if not isinstance(x_BCT, Tensor) or x_BCT.shape[1:] != expected:
            shape = tuple(x_BCT.shape) if isinstance(x_BCT, Tensor) else "several inputs by name"
            raise ValueError(
                f"expected sensor windows (B, {expected[0]}, {expected[1]}), got {shape}: set the transform's "
                f"channels, and its sample_rate_hz and window_seconds for {expected[1]} steps"
            )
        tokens_BCLF: Tensor = self.trunk(
            x_BCT.transpose(1, 2).to(next(self.trunk.parameters()).dtype)
        ).last_hidden_state
        if config.use_cls_token:
            return tokens_BCLF[:, :, 0].flatten(1)
        pooled_BCF = tokens_BCLF.amax(dim=2) if config.pooling_type == "max" else tokens_BCLF.mean(dim=2)
        return pooled_BCF.flatten(1)
