"""Layers that encoders are built of: normalised convolutions, transformer layers, pooling."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, scaled_dot_product_attention

CHANNELS_PER_GROUP = 8


def make_group_norm(width: int) -> nn.GroupNorm:
    """Make a GroupNorm over groups of 8 channels, or over all of them where 8 does not divide `width`."""
    return nn.GroupNorm(width // CHANNELS_PER_GROUP if width % CHANNELS_PER_GROUP == 0 else 1, width)


class ChannelsLastConv2d(nn.Conv2d):
    """A 2-D convolution whose input and weights are laid out with a place's channels side by side: faster on a CPU.

    Its weights are kept in the usual layout; what it gives equals `nn.Conv2d`'s up to rounding. Exported, it is a plain
    one: layouts are the choice of whatever runs the file.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            return super().forward(x_BCHW)
        if x_BCHW.shape[1] == 1:  # in both layouts at once: torch would take the usual one
            x_BCHW = x_BCHW.clone(memory_format=torch.channels_last)
        x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        weight = self.weight.contiguous(memory_format=torch.channels_last)
        return conv2d(x_BCHW, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ConvBlock2d(nn.Sequential):
    """3×3 convolution, GroupNorm, SiLU: (B, C, H, W) → (B, out_width, ⌈H/stride⌉, ⌈W/stride⌉)."""

    def __init__(self, in_width: int, out_width: int, stride: int | tuple[int, int] = 1) -> None:
        super().__init__(
            ChannelsLastConv2d(in_width, out_width, 3, stride=stride, padding=1, bias=False),
            make_group_norm(out_width),
            nn.SiLU(),
        )


class ConvBlock1d(nn.Sequential):
    """Convolution along time, GroupNorm, SiLU: (B, C, T) → (B, out_width, ⌈T/stride⌉) for an odd kernel."""

    def __init__(self, in_width: int, out_width: int, kernel: int = 5, stride: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(
            nn.Conv1d(in_width, out_width, kernel, stride, padding, dilation, bias=False),
            make_group_norm(out_width),
            nn.SiLU(),
        )


class MeanMaxPool(nn.Module):
    """(B, C, …) → (B, 2C): mean and maximum over every axis after the channels."""

    def forward(self, x: Tensor) -> Tensor:
        x_BCT = x.flatten(2)
        # Not amax, whose gradient looks for equal values: compiled in bf16 it finds none and becomes NaN.
        return torch.cat([x_BCT.mean(dim=-1), x_BCT.max(dim=-1).values], dim=-1)


class AttentionPool(nn.Module):
    """(B, C, …) → (B, C): a learned softmax-weighted mean over every axis after the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x_BTC = x.flatten(2).transpose(1, 2)
        weights_BT1: Tensor = self.score(x_BTC).softmax(dim=1)
        return (weights_BT1 * x_BTC).sum(dim=1)


def hide_tokens(tokens_BLW: Tensor, is_masked_BL: Tensor | None, mask_token_W: Tensor | None) -> Tensor:
    """`tokens_BLW` with `mask_token_W` where `is_masked_BL` says so; None: as they are."""
    if is_masked_BL is None or mask_token_W is None:
        return tokens_BLW
    return torch.where(is_masked_BL[..., None], mask_token_W.to(tokens_BLW.dtype), tokens_BLW)


Pooling = Literal["mean_max", "attention"]


def make_pooling(kind: Pooling, width: int) -> tuple[nn.Module, int]:
    """Make the pooling named `kind` over `width` channels; also returns the number of features that it gives.

    Raises:
        ValueError: for another name.
    """
    if kind == "mean_max":
        return MeanMaxPool(), 2 * width
    if kind == "attention":
        return AttentionPool(width), width
    raise ValueError(f"unknown pooling {kind!r}: use mean_max or attention")


class DropPath(nn.Module):
    """Drops a residual branch for whole rows with probability `p` while training. Source: Huang et al. 2016."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def extra_repr(self) -> str:
        return f"p={self.p}"

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        keep = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= self.p
        return x * keep.to(x.dtype) / (1.0 - self.p)


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and MLP with drop path: (B, L, width) → (B, L, width).

    Args:
        kv_bias: one more key and value, learned and the same for every row, that all tokens attend to; as `add_bias_kv`
            of `nn.MultiheadAttention`, which ImageBind uses.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        *,
        kv_bias: bool = False,
    ) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} is not a multiple of num_heads {num_heads}: change one of them")
        self.num_heads = num_heads
        self.norm_attention = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width, eps=1e-6)
        hidden = int(width * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)
        self.kv_bias = nn.Parameter(nn.init.trunc_normal_(torch.empty(2, width), std=0.02)) if kv_bias else None

    def forward(self, x_BLW: Tensor, is_present_BL: Tensor | None = None) -> Tensor:
        """`is_present_BL` are the tokens that are attended to; None: all."""
        x_BLW = x_BLW + self.drop_path(self.dropout(self._attend(self.norm_attention(x_BLW), is_present_BL)))
        out_BLW: Tensor = x_BLW + self.drop_path(self.dropout(self.mlp(self.norm_mlp(x_BLW))))
        return out_BLW

    def _attend(self, x_BLW: Tensor, is_present_BL: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(x_BLW).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        if self.kv_bias is not None:
            bias_21H1E = self.kv_bias.to(k.dtype).unflatten(1, (self.num_heads, 1, -1))[:, None]
            k, v = (torch.cat([x, b.expand(len(x), -1, -1, -1)], 2) for x, b in zip((k, v), bias_21H1E, strict=True))
            if is_present_BL is not None:
                is_present_BL = torch.cat([is_present_BL, is_present_BL.new_ones(len(is_present_BL), 1)], dim=1)
        mask = None if is_present_BL is None else is_present_BL[:, None, None, :]
        out_BLW: Tensor = self.out(scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))
        return out_BLW


class TransformerTrunk(nn.Module):
    """Class token and pre-norm layers over embedded tokens: (B, L, width) → the class token's (B, width), normalised.

    Drop path grows linearly from 0 in the first layer to `drop_path` in the last. For `kv_bias` see `TransformerLayer`.
    Of tokens with a mask `is_present_BL`, bool (B, L), those that are not there play no part.
    """

    def __init__(
        self,
        width: int,
        *,
        num_layers: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        kv_bias: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.num_layers, self.num_heads = width, num_layers, num_heads
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        nn.init.trunc_normal_(self.class_token, std=0.02)
        rates = [drop_path * i / max(num_layers - 1, 1) for i in range(num_layers)]
        self.layers = nn.ModuleList(
            TransformerLayer(width, num_heads, mlp_ratio, dropout, p, kv_bias=kv_bias) for p in rates
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def extra_repr(self) -> str:
        return f"width={self.width}, num_layers={self.num_layers}, num_heads={self.num_heads}"

    def forward(self, tokens_BLW: Tensor, is_present_BL: Tensor | None = None) -> Tensor:
        class_BW: Tensor = self.norm(self._run_layers(tokens_BLW, is_present_BL)[:, 0])
        return class_BW

    def tokens(self, tokens_BLW: Tensor, is_present_BL: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The tokens after all layers (B, L, width), normalised, and which are there (B, L); no class token."""
        out_BLW: Tensor = self.norm(self._run_layers(tokens_BLW, is_present_BL)[:, 1:])
        if is_present_BL is None:
            is_present_BL = out_BLW.new_ones(out_BLW.shape[:2], dtype=torch.bool)
        return out_BLW, is_present_BL

    def class_and_tokens(self, tokens_BLW: Tensor, is_present_BL: Tensor | None = None) -> Tensor:
        """All after all layers (B, 1 + L, width), normalised, the class token first."""
        out_BLW: Tensor = self.norm(self._run_layers(tokens_BLW, is_present_BL))
        return out_BLW

    def _run_layers(self, tokens_BLW: Tensor, is_present_BL: Tensor | None) -> Tensor:
        """(B, 1 + L, width), the class token first."""
        x_BLW = torch.cat([self.class_token.expand(tokens_BLW.shape[0], -1, -1), tokens_BLW], dim=1)
        if is_present_BL is not None:
            is_present_BL = torch.cat([is_present_BL.new_ones(len(is_present_BL), 1), is_present_BL], dim=1)
        for layer in self.layers:
            x_BLW = layer(x_BLW, is_present_BL)
        return x_BLW
