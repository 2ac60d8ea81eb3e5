"""A transformer encoder of motion, over pieces of an IMU window; by default of ImageBind's size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bind.layers import TransformerTrunk, hide_tokens


class ImuTransformer(nn.Module):
    """Pieces of `kernel` steps become tokens: (B, num_channels, T) sensor windows → (B, width).

    The defaults are ImageBind's: 6 channels (accelerometer, gyroscope), 5 s at 400 Hz (2000 steps), kernel 8, so
    48 values → 512, 6 layers × 8 heads, drop path 0.7, dropout 0.5 on the features. A shorter window (T a multiple
    of `kernel`) uses the first positions. Source: Girdhar et al. 2023 (ImageBind).

    Args:
        window_seconds: longest window, at `sample_rate_hz`.
        num_steps: the same in steps, in place of both.
        kv_bias: one more key and value per layer; ImageBind's published weights have it.
        stem_norm_eps: of the LayerNorm on the pieces; 1e-5 in ImageBind.

    Raises:
        ValueError: a window that is no multiple of `kernel`; a wrong number of channels, or T beyond the window or not
            a multiple of `kernel`.
    """

    def __init__(
        self,
        *,
        num_channels: int = 6,
        sample_rate_hz: float = 400.0,
        window_seconds: float = 5.0,
        num_steps: int | None = None,
        kernel: int = 8,
        width: int = 512,
        num_layers: int = 6,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.7,
        feature_dropout: float = 0.5,
        kv_bias: bool = False,
        stem_norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if num_steps is None:
            num_steps = round(sample_rate_hz * window_seconds)
            if num_steps % kernel or num_steps < kernel:
                fitting = max(kernel, num_steps // kernel * kernel) / sample_rate_hz
                raise ValueError(
                    f"a window of {window_seconds:g} s at {sample_rate_hz:g} Hz has {num_steps} steps, which kernel="
                    f"{kernel} does not divide: set window_seconds={fitting:g}, or another kernel"
                )
        self.num_channels = num_channels
        self.num_steps = num_steps
        self.kernel = kernel
        self.num_features = self.num_token_features = width
        self.num_patch_values = num_channels * kernel
        self.stem = ImuPieces(num_channels, num_steps, kernel, width, stem_norm_eps)
        self.trunk = TransformerTrunk(
            width,
            num_layers=num_layers,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            drop_path=drop_path,
            kv_bias=kv_bias,
        )
        self.dropout = nn.Dropout(feature_dropout)

    def forward(self, x_BCT: Tensor) -> Tensor:
        features_BW: Tensor = self.dropout(self.trunk(self._pieces(x_BCT)))
        return features_BW

    def tokens(self, x_BCT: Tensor) -> tuple[Tensor, Tensor]:
        """See `TokenEncoder.tokens`: one token per piece of `kernel` steps, in order of time."""
        return self.trunk.tokens(self._pieces(x_BCT))

    def patches(self, x_BCT: Tensor) -> tuple[Tensor, Tensor]:
        """See `MaskedEncoder.patches`: of a piece, `kernel` steps of all channels; all are there."""
        pieces_BLP = self.stem.cut(self._checked(x_BCT))
        return pieces_BLP, pieces_BLP.new_ones(pieces_BLP.shape[:2], dtype=torch.bool)

    def masked_tokens(self, x_BCT: Tensor, is_masked_BL: Tensor, mask_token_W: Tensor) -> tuple[Tensor, Tensor]:
        """See `MaskedEncoder.masked_tokens`."""
        return self.trunk.tokens(self.stem(self._checked(x_BCT), is_masked_BL, mask_token_W))

    def layers(self) -> Sequence[nn.Module]:
        """See `LayeredEncoder.layers`: the transformer's."""
        return list(self.trunk.layers)

    def _pieces(self, x_BCT: Tensor) -> Tensor:
        pieces_BLW: Tensor = self.stem(self._checked(x_BCT))
        return pieces_BLW

    def _checked(self, x_BCT: Tensor) -> Tensor:
        num_channels, num_steps = x_BCT.shape[1:]
        if num_channels != self.num_channels or num_steps % self.kernel or not 0 < num_steps <= self.num_steps:
            raise ValueError(
                f"expected sensor windows (B, {self.num_channels}, T) with T a multiple of {self.kernel} up to "
                f"{self.num_steps}, got {tuple(x_BCT.shape)}: cut other windows, or give it another window_seconds"
            )
        return x_BCT


class ImuPieces(nn.Module):
    """(B, num_channels, T) → one token per piece of `kernel` steps, with its learned position: (B, L, width)."""

    def __init__(self, num_channels: int, num_steps: int, kernel: int, width: int, norm_eps: float) -> None:
        super().__init__()
        self.kernel = kernel
        self.embed = nn.Linear(num_channels * kernel, width, bias=False)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.positions_LW = nn.Parameter(torch.zeros(num_steps // kernel, width))
        nn.init.trunc_normal_(self.positions_LW, std=0.02)

    def forward(self, x_BCT: Tensor, is_masked_BL: Tensor | None = None, mask_token_W: Tensor | None = None) -> Tensor:
        tokens_BLW: Tensor = self.norm(self.embed(self.cut(x_BCT).to(self.embed.weight.dtype)))
        return hide_tokens(tokens_BLW, is_masked_BL, mask_token_W) + self.positions_LW[: tokens_BLW.shape[1]]

    def cut(self, x_BCT: Tensor) -> Tensor:
        """The values of each piece (B, L, num_channels · kernel)."""
        pieces_BLF: Tensor = x_BCT.unflatten(2, (-1, self.kernel)).transpose(1, 2).flatten(2)
        return pieces_BLF
