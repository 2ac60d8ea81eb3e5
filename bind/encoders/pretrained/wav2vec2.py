"""Speech models over waveforms: wav2vec 2.0, HuBERT, WavLM, data2vec-audio and those built like them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bind.encoders.pretrained.encoder import PretrainedEncoder, masked_mean
from bind.encoders.pretrained.loading import load_trunk
from bind.types import Inputs

MODEL_TYPES = (
    "data2vec-audio",
    "hubert",
    "unispeech",
    "unispeech-sat",
    "wav2vec2",
    "wav2vec2-conformer",
    "wavlm",
)


class Wav2Vec2AudioEncoder(PretrainedEncoder):
    """A model of the family of wav2vec 2.0 → the mean (B, F) of its last hidden states over the sound.

    Inputs are those of `Wav2Vec2Transform`: `input_values` (B, T) at 16 kHz and `attention_mask` (B, T), all of one
    length. Models with layer norms in their convolutions see the mask; those with one group norm were trained without,
    and the silence behind a sound changes them a little, so keep windows about as long as the sounds.

    Args:
        pretrained: hub id or local folder; heads for letters, labels or pretraining are left out, and its masking of
            inputs and leaving out of layers in training are off.
        architecture: of the model's config class with its `model_type`, in place of `pretrained`: random weights.

    Source: Baevski et al. 2020 (wav2vec 2.0), Hsu et al. 2021 (HuBERT), Chen et al. 2021 (WavLM), Baevski et al. 2022
    (data2vec).
    """

    layer_list = "encoder.layers"

    def __init__(self, *, pretrained: str | None = None, architecture: Mapping[str, Any] | None = None) -> None:
        trunk: Any = load_trunk(
            pretrained,
            architecture,
            parts=dict.fromkeys(MODEL_TYPES),
            options={"add_adapter": False},  # an adapter for a decoder: fewer tokens than frames
        )
        if trunk.config.model_type == "wav2vec2-conformer" or getattr(trunk.config, "do_stable_layer_norm", False):
            # Their last norm is registered before the layers, and train=last_N takes what is registered behind them.
            norm = trunk.encoder.layer_norm
            del trunk.encoder.layer_norm
            trunk.encoder.layer_norm = norm
        super().__init__(trunk, trunk.config.hidden_size)
        self.num_token_features: int = trunk.config.hidden_size
        self.takes_mask = getattr(trunk.config, "feat_extract_norm", "layer") == "layer"

    def forward(self, inputs: Inputs) -> Tensor:
        return masked_mean(*self.tokens(inputs))

    def tokens(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """See `TokenEncoder.tokens`: about one every 20 ms."""
        named = self.inputs_by_name(inputs, "input_values", "attention_mask")
        mask_BT = named["attention_mask"]
        x_BT = named["input_values"].to(next(self.trunk.parameters()).dtype)
        tokens_BLF: Tensor = self.trunk(x_BT, attention_mask=mask_BT if self.takes_mask else None).last_hidden_state
        num_tokens_B1 = self._num_tokens(mask_BT.sum(dim=1)).clamp_min(1)[:, None]
        return tokens_BLF, torch.arange(tokens_BLF.shape[1], device=tokens_BLF.device) < num_tokens_B1

    def _num_tokens(self, num_samples_B: Tensor) -> Tensor:
        """How many tokens the convolutions make of so many samples."""
        for kernel, stride in zip(self.trunk.config.conv_kernel, self.trunk.config.conv_stride, strict=True):
            num_samples_B = (num_samples_B - kernel) // stride + 1
        return num_samples_B
