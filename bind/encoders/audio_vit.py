"""A vision transformer encoder of sound, over log-mel patches; by default of ImageBind's size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bind.encoders.mel import KaldiFbank, SpecAugment
from bind.layers import TransformerTrunk


class AudioViT(nn.Module):
    """Kaldi filter bank in overlapping patches: (B, T) mono samples in [-1, 1] at `sample_rate_hz` → (B, width).

    Standardised filter banks that a transform has made, (B, 1, num_mels, frames), are taken as they are.

    The defaults are ImageBind's: 16 kHz, 2 s clips, 128 bands, patch 16 with stride 10, 12 layers × 768 × 12 heads.
    `window_seconds` sizes the grid of positions: 2 s are 198 frames of 10 ms, 12 × 19 patches, as many as ImageBind's
    204 padded frames. A shorter clip uses the first positions in time. Source: Gong et al. 2021 (AST),
    Girdhar et al. 2023 (ImageBind).

    Args:
        window_seconds: longest clip.
        num_frames: the same in frames, in place of `window_seconds`.
        kv_bias: one more key and value per layer; ImageBind's published weights have it.
        stem_norm_eps: of the LayerNorm on the patches; 1e-5 in ImageBind.

    Raises:
        ValueError: the clip is longer than the window, or shorter than one patch; filter banks of another shape.
    """

    def __init__(
        self,
        *,
        sample_rate_hz: int = 16000,
        num_mels: int = 128,
        window_seconds: float = 2.0,
        num_frames: int | None = None,
        patch: int = 16,
        stride: int = 10,
        width: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        drop_path: float = 0.1,
        mean: float = -4.268,
        std: float = 9.138,
        num_time_masks: int = 1,
        max_time_share: float = 0.1,
        num_mel_masks: int = 1,
        max_mel_share: float = 0.1,
        kv_bias: bool = False,
        stem_norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.num_features = self.num_token_features = width
        self.fbank = KaldiFbank(sample_rate_hz, num_mels=num_mels, mean=mean, std=std)
        if num_frames is None:
            num_frames = self.fbank.num_frames(round(sample_rate_hz * window_seconds))
        if min(num_mels, num_frames) < patch:
            raise ValueError(
                f"patch={patch} does not fit into num_mels={num_mels} × {num_frames} frames of 10 ms; lower it, or "
                "widen the window"
            )
        self.augment = SpecAugment(
            num_time_masks=num_time_masks,
            max_time_share=max_time_share,
            num_mel_masks=num_mel_masks,
            max_mel_share=max_mel_share,
        )
        self.num_frames, self.patch = num_frames, patch
        self.stem = MelPatches(num_mels, num_frames, patch=patch, stride=stride, width=width, norm_eps=stem_norm_eps)
        self.trunk = TransformerTrunk(
            width,
            num_layers=num_layers,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            dropout=dropout,
            drop_path=drop_path,
            kv_bias=kv_bias,
        )

    def forward(self, x: Tensor) -> Tensor:
        features_BW: Tensor = self.trunk(self._patches(x))
        return features_BW

    def tokens(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `TokenEncoder.tokens`: one token per patch, those of a band of all bands after the other."""
        return self.trunk.tokens(self._patches(x))

    def layers(self) -> Sequence[nn.Module]:
        """See `LayeredEncoder.layers`: the transformer's."""
        return list(self.trunk.layers)

    def _patches(self, x: Tensor) -> Tensor:
        mel_BMT = self.augment(self.fbank(x) if x.ndim == 2 else self._ready_made(x))
        num_frames = mel_BMT.shape[-1]
        if not self.patch <= num_frames <= self.num_frames:
            raise ValueError(
                f"an input of shape {tuple(x.shape)} has {num_frames} frames, this encoder takes {self.patch} to "
                f"{self.num_frames}: cut other windows, or give it another window_seconds"
            )
        patches_BLW: Tensor = self.stem(mel_BMT)
        return patches_BLW

    def _ready_made(self, x_B1MT: Tensor) -> Tensor:
        num_mels = self.fbank.num_mels
        if x_B1MT.ndim != 4 or x_B1MT.shape[1:3] != (1, num_mels):
            raise ValueError(
                f"expected waveforms (B, T) or filter banks (B, 1, {num_mels}, frames), got {tuple(x_B1MT.shape)}: "
                "choose another transform, or give it the encoder's num_mels"
            )
        return x_B1MT[:, 0]


class MelPatches(nn.Module):
    """(B, num_mels, frames) → one token per patch, with its learned position: (B, L, width)."""

    def __init__(self, num_mels: int, num_frames: int, *, patch: int, stride: int, width: int, norm_eps: float) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, patch, stride=stride, bias=False)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        grid = [(size - patch) // stride + 1 for size in (num_mels, num_frames)]
        self.positions_WMT = nn.Parameter(torch.zeros(width, *grid))
        nn.init.trunc_normal_(self.positions_WMT, std=0.02)

    def forward(self, mel_BMT: Tensor) -> Tensor:
        x_BWMT = self.patches(mel_BMT[:, None].to(self.patches.weight.dtype))
        x_BLW: Tensor = self.norm(x_BWMT.flatten(2).transpose(1, 2))
        positions_WL = self.positions_WMT[..., : x_BWMT.shape[-1]].flatten(1)
        return x_BLW + positions_WL.T
