"""The comparison of two vectors in what is asked, as soft tokens; a small language model can't make it itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ComparisonMapper(nn.Module):
    """What two vectors have in common in what is asked: a product, and two layers: 2 × (B, D), (B, H) → (B, C, H).

    Soft tokens of two vectors, one after the other, leave it to the language model to find where both agree, which a
    small one that stays frozen does not learn; nor does it find the answer to its question among comparisons in every
    aspect. Both vectors go through one projection, so their order has no influence.

    Args:
        dim: D, the size of the space.
        hidden_size: H, that of the language model.
        num_tokens: C, soft tokens.
        width: of the projections; the layer between has two times as much.
        scale: root mean square of the language model's own embeddings, which those here begin with.

    Source: the low-rank bilinear product of Kim et al. 2017 (MLB, equation 8), of three and with a norm.

    Examples:
        >>> comparison = ComparisonMapper(dim=64, hidden_size=128, num_tokens=4)
        >>> a_BD, b_BD, question_BH = torch.randn(3, 64), torch.randn(3, 64), torch.randn(3, 128)
        >>> comparison(a_BD, b_BD, question_BH).shape
        torch.Size([3, 4, 128])
        >>> torch.equal(comparison(a_BD, b_BD, question_BH), comparison(b_BD, a_BD, question_BH))
        True
    """

    def __init__(self, *, dim: int, hidden_size: int, num_tokens: int, width: int = 128, scale: float = 1.0) -> None:
        super().__init__()
        self.num_tokens, self.hidden_size, self.scale = num_tokens, hidden_size, scale
        self.project, self.norm = nn.Linear(dim, width), nn.LayerNorm(width)
        self.project_question = nn.Sequential(nn.LayerNorm(hidden_size), nn.Linear(hidden_size, width))
        self.mean_question_H: Tensor
        self.register_buffer("mean_question_H", torch.zeros(hidden_size))
        self.layers = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.GELU(),  # of products it learns in far fewer steps than tanh
            nn.Linear(2 * width, num_tokens * hidden_size),
        )

    def centre(self, question_QH: Tensor) -> None:
        """Keep the mean of the questions that are to be learned, without which what tells them apart is small."""
        self.mean_question_H.copy_(question_QH.mean(dim=0))

    def forward(self, a_BD: Tensor, b_BD: Tensor, question_BH: Tensor) -> Tensor:
        """Soft tokens of pairs of unit vectors and the means of their questions' embeddings."""
        size = a_BD.shape[1] ** 0.5  # entries of a size that does not depend on D
        common_BW = self.norm(self.project(a_BD * size) * self.project(b_BD * size))
        asked_BW = common_BW * self.project_question(question_BH - self.mean_question_H)
        tokens_BCH: Tensor = self.layers(asked_BW).unflatten(1, (self.num_tokens, self.hidden_size))
        return tokens_BCH * self.scale


def make_comparison(num_tokens: int, *, dim: int, hidden_size: int, scale: float) -> ComparisonMapper | None:
    """A mapper's comparison; None for `num_comparison_tokens=0`.

    Raises:
        ValueError: for no number of tokens.
    """
    if not isinstance(num_tokens, int) or isinstance(num_tokens, bool) or num_tokens < 0:
        raise ValueError(f"mapper.num_comparison_tokens={num_tokens}: give a whole number of at least 0")
    if not num_tokens:
        return None
    return ComparisonMapper(dim=dim, hidden_size=hidden_size, num_tokens=num_tokens, scale=scale)


def comparison_of(mapper: nn.Module) -> ComparisonMapper | None:
    """The one that a mapper has; those that read tokens have none."""
    comparison = getattr(mapper, "comparison", None)
    return comparison if isinstance(comparison, ComparisonMapper) else None
