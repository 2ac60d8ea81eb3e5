"""Gated fusion: one gate for each modality and dimension."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bind.fusion.learned import LearnedFusion, start_at_zero
from bind.types import Modality


class GatedFusion(LearnedFusion):
    """A sum in which every dimension of every embedding has a gate of its own, read from all that is present.

    The gates (B, M, D) are in (0, 1); their last layer starts at zero, so that training starts from the plain sum.
    Source: gated multimodal units, Arevalo et al. 2017, with one gate for each modality instead of two that add to 1.

    Raises:
        ValueError: fewer than two inputs, or a dropout outside [0, 1).

    Examples:
        >>> fusion = GatedFusion(inputs=["audio", "imu"], dim=3).eval()
        >>> z = {"audio": torch.eye(3)[[0, 0]], "imu": torch.eye(3)[[1, 1]]}
        >>> present = {"audio": torch.tensor([True, True]), "imu": torch.tensor([True, False])}
        >>> fusion(z, present)  # doctest: +ELLIPSIS
        tensor([[0.7071, 0.7071, 0.0000],
                [1.0000, 0.0000, 0.0000]], grad_fn=...)
    """

    kind = "gated"

    def __init__(
        self, *, inputs: Sequence[Modality], dim: int, hidden_width: int = 64, modality_dropout: float = 0.3
    ) -> None:
        super().__init__(inputs, modality_dropout)
        num_inputs = len(self.inputs)
        self.norm = nn.LayerNorm(num_inputs * dim)
        self.hidden = nn.Linear(num_inputs * (dim + 1), hidden_width)
        self.gates = start_at_zero(nn.Linear(hidden_width, num_inputs * dim))

    def fuse(self, z_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """The gated sum (B, D)."""
        known = torch.cat([self.norm(z_BMD.flatten(1)), present_BM.to(z_BMD.dtype)], dim=1)
        gates_BMD: Tensor = self.gates(nn.functional.gelu(self.hidden(known))).sigmoid().reshape(z_BMD.shape)
        return (gates_BMD * z_BMD).sum(dim=1)
