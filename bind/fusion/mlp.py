"""MLP fusion: a network over all embeddings at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bind.fusion.learned import LearnedFusion, start_at_zero
from bind.types import Modality


class MLPFusion(LearnedFusion):
    """The plain sum and what a network with one hidden layer adds, which sees all embeddings and which are missing.

    Its last layer starts at zero, so that training starts from the plain sum.

    Raises:
        ValueError: fewer than two inputs, or a dropout outside [0, 1).

    Examples:
        >>> fusion = MLPFusion(inputs=["audio", "imu"], dim=3).eval()
        >>> z = {"audio": torch.eye(3)[[0]], "imu": torch.eye(3)[[1]]}
        >>> fusion(z, dict.fromkeys(z, torch.tensor([True])))  # doctest: +ELLIPSIS
        tensor([[0.7071, 0.7071, 0.0000]], grad_fn=...)
    """

    kind = "mlp"

    def __init__(
        self, *, inputs: Sequence[Modality], dim: int, hidden_width: int = 256, modality_dropout: float = 0.3
    ) -> None:
        super().__init__(inputs, modality_dropout)
        num_inputs = len(self.inputs)
        self.norm = nn.LayerNorm(num_inputs * dim)
        self.hidden = nn.Linear(num_inputs * (dim + 1), hidden_width)
        self.out = start_at_zero(nn.Linear(hidden_width, dim))

    def fuse(self, z_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """The sum and the network's part (B, D)."""
        known = torch.cat([self.norm(z_BMD.flatten(1)), present_BM.to(z_BMD.dtype)], dim=1)
        added_BD: Tensor = self.out(nn.functional.gelu(self.hidden(known)))
        return z_BMD.sum(dim=1) + added_BD
