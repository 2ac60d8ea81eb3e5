"""CLIP's image tower with attention in time between its layers: LanguageBind's encoder of videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer

from bind.encoders.pretrained.anchor_tower import AnchorTower, Tower


class VideoTower(AnchorTower):
    """A copy of the anchor's image tower over the frames of a video: (B, T, 3, S, S) → its pooled output (B, F).

    Before each layer looks at the patches of a frame, every patch looks at its place in all frames (`TimedLayer`);
    the features are the mean of the frames' pooled outputs. Where it starts as a copy of the anchor's tower, attention
    in time adds nothing yet: the encoder begins as the image tower over single frames, and nothing of it is random.

    Args:
        num_frames: T.
        size_px: S.
        class_token_per_frame: whether each frame has a class token of its own, as LanguageBind's V1.5 has.
        tower: of the anchor; a Binder hands it over when its parts are put together.
        architecture: of the tower in place of it: random weights, for a saved binder to fill.

    Raises:
        ValueError: for a tower other than CLIP's.

    Source: LanguageBind (Zhu et al. 2023).
    """

    def __init__(
        self,
        *,
        num_frames: int = 8,
        size_px: int = 224,
        class_token_per_frame: bool = False,
        tower: Tower | None = None,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(num_channels=3, sides=(size_px, size_px), tower=tower, architecture=architecture)
        layers: list[Any] = list(self.layers())
        if not all(isinstance(layer, CLIPEncoderLayer) for layer in layers):
            raise ValueError(
                f"attention in time goes between layers of CLIP's tower, and this is a {type(self.trunk).__name__}: "
                "choose anchor=clip, or encoder/video=video"
            )
        if num_frames < 1:
            raise ValueError(f"num_frames={num_frames}: give at least 1")
        self.num_frames = num_frames
        self.trunk.encoder.layers = nn.ModuleList(TimedLayer(layer, self.trunk.config, num_frames) for layer in layers)
        if class_token_per_frame:
            stem: Any = self.stem
            stem.class_token_W = nn.Parameter(stem.class_token_W.detach().repeat(num_frames, 1))

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        sides = (self.num_frames, self.num_channels, *self.sides)
        if x_BTCHW.ndim != 5 or x_BTCHW.shape[1:] != sides:
            raise ValueError(
                f"expected clips (B, {', '.join(map(str, sides))}), got {tuple(x_BTCHW.shape)}: give transform and "
                "encoder the same num_frames and size_px"
            )
        features_NF: Tensor = self.trunk(self.stem(x_BTCHW.flatten(0, 1))).pooler_output
        return features_NF.view(len(x_BTCHW), self.num_frames, -1).mean(dim=1)


class TimedLayer(CLIPEncoderLayer):
    """A layer of CLIP's, before which every patch attends to itself in all frames; names are LanguageBind's.

    Args:
        layer: whose weights these are. Attention in time starts with its queries, keys and values, and an output of 0.
    """

    def __init__(self, layer: CLIPEncoderLayer, config: Any, num_frames: int) -> None:
        super().__init__(config)
        self.load_state_dict(layer.state_dict())
        self.temporal_embedding = nn.Parameter(torch.zeros(1, num_frames, config.hidden_size))
        self.temporal_attn = CLIPAttention(config)
        self.temporal_layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.temporal_attn.load_state_dict(layer.self_attn.state_dict())
        nn.init.zeros_(self.temporal_attn.out_proj.weight)
        nn.init.zeros_(self.temporal_attn.out_proj.bias)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        attended: Tensor = super().forward(self._attend_in_time(hidden_states), *args, **kwargs)
        return attended

    def _attend_in_time(self, x_NLW: Tensor) -> Tensor:
        """x (B·T, L, W), in which frames of one video follow one another."""
        num_rows, num_tokens, width = x_NLW.shape
        num_frames = self.temporal_embedding.shape[1]
        x_BTLW = x_NLW.view(num_rows // num_frames, num_frames, num_tokens, width)
        if num_frames > 1:  # as in LanguageBind
            x_BTLW = x_BTLW + self.temporal_embedding[:, :, None]
        x_MTW = x_BTLW.transpose(1, 2).flatten(0, 1)
        attended_MTW: Tensor = self.temporal_attn(self.temporal_layer_norm1(x_MTW), attention_mask=None)[0]
        x_MTW = x_MTW + attended_MTW
        return x_MTW.view(-1, num_tokens, num_frames, width).transpose(1, 2).reshape(num_rows, num_tokens, width)
