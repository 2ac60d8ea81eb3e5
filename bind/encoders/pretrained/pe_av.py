"""Audio tower of Perception Encoder Audiovisual: sounds of any kind, in a space that it shares with text and video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PeAudioConfig, PeAudioEncoder
from transformers.models.pe_audio.modeling_pe_audio import PeAudioContrastiveHead, PeAudioPreTrainedModel

from bind.encoders.pretrained.encoder import PretrainedEncoder
from bind.encoders.pretrained.loading import load_trunk
from bind.types import Inputs


class PeAudioTower(PeAudioPreTrainedModel):
    """The audio encoder of a PE-AV model with the head that projects it into the space of its text."""

    base_model_prefix = "audio_model"

    def __init__(self, config: PeAudioConfig) -> None:
        super().__init__(config)
        audio: Any = config.audio_config
        text: Any = config.text_config
        self.audio_encoder = PeAudioEncoder(audio)
        self.audio_head = PeAudioContrastiveHead(audio.hidden_size, text.hidden_size)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, input_values: Tensor, padding_mask: Tensor) -> Any:
        return self.audio_encoder(input_values, padding_mask=padding_mask)


class PeAvAudioEncoder(PretrainedEncoder):
    """Audio tower of a PE-AV or PE-Audio model → what it compares with text and video (B, F), not normalised.

    Inputs are those of `PeAvTransform`: `input_values` (B, 1, T) at 48 kHz and `padding_mask` (B, T), all of one
    length: its first convolutions see the silence behind a sound. They never train, also with `train=full`:
    transformers has no gradient there.

    Args:
        pretrained: hub id or local folder of a PE-AV or PE-Audio model; text and video towers are left out.
        architecture: of `PeAudioConfig`, in place of `pretrained`: random weights.
        projection: False: the features before the projection into the space of its text.

    Source: `facebook/pe-av-base` and its siblings; code of transformers.
    """

    layer_list = "audio_encoder.layers"

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
            parts={"pe_audio_video": "audio_config", "pe_audio": None},
            trunk_class=PeAudioTower,
        )
        config = trunk.config
        super().__init__(trunk, config.text_config.hidden_size if projection else config.audio_config.hidden_size)
        self.projection = projection
        if not projection:
            del trunk.audio_head

    def forward(self, inputs: Inputs) -> Tensor:
        features_BF: Tensor = self._outputs(inputs).pooler_output
        if self.projection:
            features_BF = self.trunk.audio_head(features_BF)
        return features_BF

    def _outputs(self, inputs: Inputs) -> Any:
        named = self.inputs_by_name(inputs, "input_values", "padding_mask")
        x_B1T = named["input_values"].to(next(self.trunk.parameters()).dtype)
        return self.trunk(x_B1T, padding_mask=named["padding_mask"])
