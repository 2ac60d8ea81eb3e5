"""CLAP's audio tower: sounds of any kind, in a space that it shares with text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from transformers import ClapAudioModelWithProjection

from bind.encoders.pretrained.encoder import PretrainedEncoder
from bind.encoders.pretrained.loading import load_trunk
from bind.types import Inputs


class ClapAudioEncoder(PretrainedEncoder):
    """Audio tower (HTS-AT, a Swin transformer) of a CLAP model → what it compares with text (B, F), not normalised.

    Inputs are those of `ClapTransform`: `input_features` (B, 1 or 4, frames, M) and `is_longer` (B, 1). The text tower
    is left out.

    Args:
        pretrained: hub id or local folder of a CLAP model.
        architecture: of `ClapAudioConfig`, in place of `pretrained`: random weights.
        projection: False: the features before the projection into the space of CLAP, which are more of them.

    Source: Wu et al. 2023 (LAION-CLAP), Chen et al. 2022 (HTS-AT).
    """

    def __init__(
        self,
        *,
        pretrained: str | None = None,
        architecture: Mapping[str, Any] | None = None,
        projection: bool = True,
    ) -> None:
        trunk: Any = load_trunk(
            pretrained,
            architecture,
            parts={"clap": "audio_config", "clap_audio_model": None},
            trunk_class=ClapAudioModelWithProjection,
        )
        super().__init__(trunk, trunk.config.projection_dim if projection else trunk.config.hidden_size)
        self.projection = projection

    def forward(self, inputs: Inputs) -> Tensor:
        named = self.inputs_by_name(inputs, "input_features", "is_longer")
        x_BCTM = named["input_features"].to(next(self.trunk.parameters()).dtype)
        if self.projection:
            features_BF: Tensor = self.trunk(x_BCTM, is_longer=named["is_longer"]).audio_embeds
        else:
            features_BF = self.trunk.audio_model(x_BCTM, is_longer=named["is_longer"]).pooler_output
        return features_BF

    def layers(self) -> Sequence[nn.Module]:
        """See `LayeredEncoder.layers`: the blocks of all stages."""
        return [block for stage in self.trunk.audio_model.audio_encoder.layers for block in stage.blocks]
