"""Low-rank tensor fusion: products of the embeddings' dimensions, without their outer product."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bind.fusion.learned import LearnedFusion, start_at_zero
from bind.types import Modality


class LowRankTensorFusion(LearnedFusion):
    """The plain sum and a multilinear function of all embeddings, each with a 1 behind it (Liu et al. 2018, eq. 8).

    The tensor over the outer product of all inputs is a sum of `rank` products, one factor for each modality: its cost
    grows with the number of modalities, not with their product. A missing modality is its 1 alone. The layer over the
    products starts at zero, so that training starts from the plain sum.

    Raises:
        ValueError: fewer than two inputs, a rank below 1, or a dropout outside [0, 1).

    Examples:
        >>> fusion = LowRankTensorFusion(inputs=["audio", "imu"], dim=3).eval()
        >>> z = {"audio": torch.eye(3)[[0]], "imu": torch.eye(3)[[1]]}
        >>> fusion(z, dict.fromkeys(z, torch.tensor([True])))  # doctest: +ELLIPSIS
        tensor([[0.7071, 0.7071, 0.0000]], grad_fn=...)
    """

    kind = "low_rank_tensor"

    def __init__(
        self, *, inputs: Sequence[Modality], dim: int, rank: int = 4, width: int = 64, modality_dropout: float = 0.3
    ) -> None:
        super().__init__(inputs, modality_dropout)
        if rank < 1:
            raise ValueError(f"fusion.rank={rank}: give a whole number of 1 or more")
        self.rank = rank
        self.scale = dim**0.5
        """Brings the coordinates of a unit vector to about 1."""
        factors = [nn.Linear(dim, rank * width) for _ in self.inputs]
        for factor in factors:
            nn.init.ones_(factor.bias)
        self.factors = nn.ModuleList(factors)
        self.out = start_at_zero(nn.Linear(width, dim))

    def fuse(self, z_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """The sum and the tensor's part (B, D)."""
        factors = [factor(self.scale * z_BD) for factor, z_BD in zip(self.factors, z_BMD.unbind(dim=1), strict=True)]
        products = torch.stack(factors).prod(dim=0)
        summed_BW = products.unflatten(1, (self.rank, -1)).mean(dim=1)
        added_BD: Tensor = self.out(summed_BW)
        return z_BMD.sum(dim=1) + added_BD
