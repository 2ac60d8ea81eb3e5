"""Projection heads: features → unit embeddings in the anchor's space."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import normalize

SMALLEST_NORM = 1e-6
"""Vectors shorter than this stay shorter than 1, so that the gradient at zero is finite."""


class ProjectionHead(nn.Module):
    """Features (B, F) → unit embeddings (B, D) in fp32; all-zero vectors stay zero.

    LayerNorm (unless `norm` is false), dropout, then one linear layer, or with `hidden_width` two around a GELU.

    Examples:
        >>> import torch
        >>> head = ProjectionHead(num_features=256, dim=128)
        >>> z_BD = head(torch.randn(2, 256))
        >>> z_BD.shape, torch.allclose(z_BD.norm(dim=-1), torch.ones(2))
        (torch.Size([2, 128]), True)
    """

    def __init__(
        self, *, num_features: int, dim: int, norm: bool = True, dropout: float = 0.0, hidden_width: int | None = None
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(num_features) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.project: nn.Module = (
            nn.Linear(num_features, dim, bias=False)
            if hidden_width is None
            else nn.Sequential(
                nn.Linear(num_features, hidden_width), nn.GELU(), nn.Linear(hidden_width, dim, bias=False)
            )
        )

    def forward(self, features_BF: Tensor) -> Tensor:
        x_BD = self.project(self.dropout(self.norm(features_BF)))
        return normalize(x_BD.float(), dim=-1, eps=SMALLEST_NORM)
