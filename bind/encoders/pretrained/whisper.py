"""Whisper's encoder: speech."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from bind.encoders.pretrained.encoder import PretrainedEncoder, masked_mean
from bind.encoders.pretrained.loading import load_trunk
from bind.types import Inputs

POSITIONS_PER_SECOND = 50
MEL_FRAMES_PER_POSITION = 2


class WhisperAudioEncoder(PretrainedEncoder):
    """Encoder of a Whisper model: log-mel and the mask of its sound → the mean of its last hidden states (B, F).

    Inputs are those of `WhisperTransform`: `input_features` (B, M, frames) and `attention_mask` (B, frames), 100 frames
    a second. The decoder is left out.

    Args:
        pretrained: hub id or local folder of a Whisper model.
        architecture: of `WhisperConfig`, in place of `pretrained`: random weights.
        max_seconds: length of the input, to which the positions are cut; None: all of them, 30 s, as it was trained.
        pool: `sound`: the mean over the positions at which there is sound; `all`: over silence behind it too, as
            `WhisperForAudioClassification` does.

    Raises:
        ValueError: where it can't be loaded, or `max_seconds` is more than it was trained with.

    Source: Radford et al. 2022 (Whisper).
    """

    layer_list = "layers"

    def __init__(
        self,
        *,
        pretrained: str | None = None,
        architecture: Mapping[str, Any] | None = None,
        max_seconds: float | None = None,
        pool: Literal["sound", "all"] = "sound",
    ) -> None:
        if pool not in ("sound", "all"):
            raise ValueError(f"whisper's pool is sound or all, not {pool!r}")
        trunk: Any = load_trunk(
            pretrained,
            architecture,
            parts={"whisper": None},
            trunk_class=WhisperEncoder,
            key_mapping={r"^(model\.)?encoder\.": ""},
        )
        super().__init__(trunk, trunk.config.d_model)
        self.num_token_features: int = trunk.config.d_model
        self.pool = pool
        if max_seconds is not None:
            self._cut_positions(max_seconds)

    def forward(self, inputs: Inputs) -> Tensor:
        tokens_BLF, mask_BL = self.tokens(inputs)
        return masked_mean(tokens_BLF, mask_BL) if self.pool == "sound" else tokens_BLF.mean(dim=1)

    def tokens(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """See `TokenEncoder.tokens`: one every 20 ms."""
        named = self.inputs_by_name(inputs, "input_features", "attention_mask")
        x_BMT = named["input_features"]
        num_frames = self.trunk.config.max_source_positions * MEL_FRAMES_PER_POSITION
        if x_BMT.shape[1:] != (self.trunk.config.num_mel_bins, num_frames):
            raise ValueError(
                f"expected log-mel (B, {self.trunk.config.num_mel_bins}, {num_frames}), got {tuple(x_BMT.shape)}: set "
                "the transform's pretrained to that of the encoder, and its window_seconds to the encoder's max_seconds"
            )
        tokens_BLF: Tensor = self.trunk(x_BMT.to(self.trunk.conv1.weight.dtype)).last_hidden_state
        return tokens_BLF, named["attention_mask"][:, ::MEL_FRAMES_PER_POSITION].bool()

    def _cut_positions(self, max_seconds: float) -> None:
        positions = self.trunk.embed_positions
        num_positions = round(max_seconds * POSITIONS_PER_SECOND)
        if not 1 <= num_positions <= positions.num_embeddings:
            longest = positions.num_embeddings / POSITIONS_PER_SECOND
            raise ValueError(f"max_seconds={max_seconds:g}: this Whisper has positions for {longest:g} s")
        cut = nn.Embedding(num_positions, positions.embedding_dim, dtype=positions.weight.dtype)
        with torch.no_grad():
            cut.weight.copy_(positions.weight[:num_positions])
        self.trunk.embed_positions = cut.requires_grad_(False)  # sines, which Whisper does not train
        self.trunk.config.max_source_positions = num_positions
