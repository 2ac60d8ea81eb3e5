"""Encoder of vectors that someone else's model made: they are the features already."""

from __future__ import annotations

from torch import Tensor, nn


class VectorEncoder(nn.Module):
    """Vectors (B, `width`) → the same as features; only the head that follows has weights.

    Examples:
        >>> import torch
        >>> VectorEncoder(width=3)(torch.ones(2, 3)).shape
        torch.Size([2, 3])

    Raises:
        ValueError: for a batch of vectors of another width.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, x_BV: Tensor) -> Tensor:
        if x_BV.shape[1:] != (self.num_features,):
            raise ValueError(f"vectors of shape {tuple(x_BV.shape[1:])} for an encoder of width={self.num_features}")
        return x_BV
