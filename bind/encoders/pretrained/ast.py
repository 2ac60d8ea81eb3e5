"""Audio Spectrogram Transformer: sounds of any kind, trained on AudioSet's labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import ASTModel

from bind.encoders.pretrained.encoder import PretrainedEncoder
from bind.encoders.pretrained.loading import load_trunk
from bind.types import Inputs


class AstAudioEncoder(PretrainedEncoder):
    """An AST without its classifier → the mean of its class and distillation token (B, F), as it pools itself.

    Inputs are those of `AstTransform`: `input_values` (B, frames, M), always as long as it was trained with.

    Args:
        pretrained: hub id or local folder of an AST model.
        architecture: of `ASTConfig`, in place of `pretrained`: random weights.

    Source: Gong et al. 2021 (AST).
    """

    layer_list = "layers"

    def __init__(self, *, pretrained: str | None = None, architecture: Mapping[str, Any] | None = None) -> None:
        trunk: Any = load_trunk(
            pretrained, architecture, parts={"audio-spectrogram-transformer": None}, trunk_class=ASTModel
        )
        super().__init__(trunk, trunk.config.hidden_size)
        self.num_token_features: int = trunk.config.hidden_size

    def forward(self, inputs: Inputs) -> Tensor:
        features_BF: Tensor = self._outputs(inputs).pooler_output
        return features_BF

    def tokens(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """See `TokenEncoder.tokens`: class token, distillation token, then one per patch."""
        tokens_BLF: Tensor = self._outputs(inputs).last_hidden_state
        return tokens_BLF, tokens_BLF.new_ones(tokens_BLF.shape[:2]).bool()

    def _outputs(self, inputs: Inputs) -> Any:
        x_BTM = self.inputs_by_name(inputs, "input_values")["input_values"]
        expected = (self.trunk.config.max_length, self.trunk.config.num_mel_bins)
        if x_BTM.shape[1:] != expected:
            raise ValueError(
                f"expected spectrograms (B, {expected[0]}, {expected[1]}), got {tuple(x_BTM.shape)}: set the "
                "transform's pretrained to that of the encoder"
            )
        return self.trunk(x_BTM.to(self.trunk.layernorm.weight.dtype))
