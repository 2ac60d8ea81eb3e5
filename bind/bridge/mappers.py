"""Mappers: a vector, or an encoder's tokens → soft tokens, embeddings that a language model reads as words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bind.bridge.comparison import make_comparison
from bind.fusion.query_attention import attend_with_queries, hide_absent, make_projection, make_query_layers
from bind.model.tokens import TokenBatch
from bind.types import Modality


class MLPMapper(nn.Module):
    """Two layers: (B, D) → (B, K, H).

    Source: ClipCap's MLP (Mokady et al. 2021, section 3).

    Args:
        dim: D, the size of the space.
        hidden_size: H, that of the language model.
        num_tokens: K, soft tokens.
        width: of the layer between; None: half of K·H.
        scale: root mean square of the language model's own embeddings, which those here begin with.
        num_comparison_tokens: behind each question about two inputs, see `bind.bridge.comparison`.

    Examples:
        >>> mapper = MLPMapper(dim=64, hidden_size=128, num_tokens=6)
        >>> mapper(torch.randn(2, 64)).shape
        torch.Size([2, 6, 128])
    """

    def __init__(
        self,
        *,
        dim: int,
        hidden_size: int,
        num_tokens: int = 10,
        width: int | None = None,
        scale: float = 1.0,
        num_comparison_tokens: int = 0,
    ) -> None:
        super().__init__()
        self.num_tokens, self.hidden_size, self.scale = num_tokens, hidden_size, scale
        width = width or max(1, num_tokens * hidden_size // 2)
        self.layers = nn.Sequential(nn.Linear(dim, width), nn.Tanh(), nn.Linear(width, num_tokens * hidden_size))
        self.comparison = make_comparison(num_comparison_tokens, dim=dim, hidden_size=hidden_size, scale=scale)

    def forward(self, z_BD: Tensor) -> Tensor:
        """Soft tokens of unit vectors, whose entries are made of a size that does not depend on D."""
        tokens_BKH: Tensor = self.layers(z_BD * z_BD.shape[1] ** 0.5).unflatten(1, (self.num_tokens, self.hidden_size))
        return tokens_BKH * self.scale


class TransformerMapper(nn.Module):
    """A transformer over the vector, spread over K tokens, and K learned ones, which become the soft tokens.

    Source: ClipCap's transformer (Mokady et al. 2021, section 3), for a language model that stays frozen.

    Args:
        dim: D, the size of the space.
        hidden_size: H, that of the language model.
        num_tokens: K, soft tokens.
        width: of the transformer; None: H.
        num_layers: of the transformer.
        num_heads: `width` is divided by it.
        scale: root mean square of the language model's own embeddings, which those here begin with.
        num_comparison_tokens: behind each question about two inputs, see `bind.bridge.comparison`.

    Raises:
        ValueError: where `num_heads` does not divide `width`.

    Examples:
        >>> mapper = TransformerMapper(dim=64, hidden_size=128, num_tokens=6, num_layers=2, num_heads=4)
        >>> mapper(torch.randn(2, 64)).shape
        torch.Size([2, 6, 128])
    """

    def __init__(
        self,
        *,
        dim: int,
        hidden_size: int,
        num_tokens: int = 10,
        width: int | None = None,
        num_layers: int = 4,
        num_heads: int = 4,
        scale: float = 1.0,
        num_comparison_tokens: int = 0,
    ) -> None:
        super().__init__()
        width = width or hidden_size
        if width % num_heads:
            raise ValueError(f"mapper.num_heads={num_heads} does not divide its width, {width}")
        self.num_tokens, self.hidden_size, self.scale = num_tokens, hidden_size, scale
        self.spread = nn.Linear(dim, num_tokens * width)
        self.learned_KW = nn.Parameter(torch.randn(num_tokens, width) * 0.02)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, num_heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, hidden_size)
        self.comparison = make_comparison(num_comparison_tokens, dim=dim, hidden_size=hidden_size, scale=scale)

    def forward(self, z_BD: Tensor) -> Tensor:
        """Soft tokens (B, K, H) of unit vectors."""
        spread_BKW = self.spread(z_BD * z_BD.shape[1] ** 0.5).unflatten(1, (self.num_tokens, -1))
        x = torch.cat([spread_BKW, self.learned_KW.expand(len(z_BD), -1, -1)], dim=1)
        for block in self.blocks:
            x = block(x)
        tokens_BKH: Tensor = self.out(self.norm(x[:, self.num_tokens :]))
        return tokens_BKH * self.scale


class QFormerMapper(nn.Module):
    """Learned queries, which attend to the tokens of one modality's encoder and become the soft tokens.

    Tokens say when and where, of which the vector has only what the space asks for. They mean something to whoever
    learned of these tokens alone: so it reads one modality, and learns of pairs with captions.

    Source: Li et al. 2023 (BLIP-2, section 3).

    Args:
        modality: whose encoder's tokens are read.
        num_token_features: F of these.
        hidden_size: H, that of the language model.
        num_tokens: K, queries and soft tokens.
        width: of queries and projected tokens.
        num_layers: of attention to each other and to the tokens.
        num_heads: `width` is divided by it.
        scale: root mean square of the language model's own embeddings, which those here begin with.

    Raises:
        ValueError: where `num_heads` does not divide `width`.

    Examples:
        >>> mapper = QFormerMapper(modality="audio", num_token_features=5, hidden_size=128, num_tokens=6)
        >>> mapper(TokenBatch.of([torch.randn(9, 5), torch.randn(4, 5)])).shape
        torch.Size([2, 6, 128])
    """

    def __init__(
        self,
        *,
        modality: Modality,
        num_token_features: int,
        hidden_size: int,
        num_tokens: int = 6,
        width: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"mapper.num_heads={num_heads} does not divide its width, {width}")
        self.modality, self.num_tokens, self.hidden_size, self.scale = modality, num_tokens, hidden_size, scale
        self.project_tokens = make_projection(num_token_features, width)
        self.queries_KW = nn.Parameter(torch.randn(num_tokens, width) * 0.02)
        self.layers = make_query_layers(width, num_layers, num_heads)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, hidden_size)

    def forward(self, tokens: TokenBatch) -> Tensor:
        """Soft tokens (B, K, H); what stands where there is no token has no influence."""
        tokens_BLW = self.project_tokens(hide_absent(tokens.x_BLF, tokens.is_token_BL))
        x_BKW = attend_with_queries(self.layers, self.queries_KW, tokens_BLW, tokens.is_token_BL)
        soft_BKH: Tensor = self.out(self.norm(x_BKW))
        return soft_BKH * self.scale
