"""Learned queries that attend to each other and to tokens: what Q-Formers, in fusions and bridges, are built of."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def make_query_layers(width: int, num_layers: int, num_heads: int) -> nn.ModuleList:
    """Pre-norm layers, in each of which queries attend to each other, and then to tokens; for `attend_with_queries`."""
    return nn.ModuleList(
        nn.TransformerDecoderLayer(
            width, num_heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        for _ in range(num_layers)
    )


def make_projection(num_features: int, width: int) -> nn.Module:
    """From tokens of any size to those that queries of `width` attend to."""
    return nn.Sequential(nn.LayerNorm(num_features), nn.Linear(num_features, width))


def attend_with_queries(
    layers: Iterable[nn.Module], queries_QW: Tensor, tokens_BLW: Tensor, is_token_BL: Tensor
) -> Tensor:
    """What the queries have become behind all layers (B, Q, W).

    Args:
        tokens_BLW: of any value where `is_token_BL` is False, but finite; every row has one at least.

    Source: Li et al. 2023 (BLIP-2).

    Examples:
        >>> layers, tokens_BLW = make_query_layers(8, num_layers=1, num_heads=2), torch.randn(3, 5, 8)
        >>> attend_with_queries(layers, torch.randn(4, 8), tokens_BLW, torch.ones(3, 5, dtype=torch.bool)).shape
        torch.Size([3, 4, 8])
    """
    x_BQW = queries_QW.expand(len(tokens_BLW), -1, -1)
    for layer in layers:
        x_BQW = layer(x_BQW, tokens_BLW, memory_key_padding_mask=~is_token_BL)
    return x_BQW


def hide_absent(x_BLF: Tensor, is_token_BL: Tensor) -> Tensor:
    """Tokens in fp32, those that are not there zero, also where they hold NaN."""
    return torch.where(is_token_BL[..., None], x_BLF.float(), torch.zeros((), device=x_BLF.device))
