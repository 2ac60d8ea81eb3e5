"""Attention fusion: learned weights over the modalities that are present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bind.fusion.inputs import stack_present
from bind.fusion.learned import LearnedFusion, start_at_zero
from bind.types import Modality


class AttentionFusion(LearnedFusion):
    """A softmax over the scores of the present embeddings weighs their sum: `z[m]` (B, D) → (B, D), unit norm.

    Each modality scores its own embedding with a small network whose last layer starts at zero, so that training
    starts from the plain average.

    Raises:
        ValueError: fewer than two inputs, or a dropout outside [0, 1).

    Examples:
        >>> fusion = AttentionFusion(inputs=["audio", "imu"], dim=3).eval()
        >>> z = {"audio": torch.eye(3)[[0, 0]], "imu": torch.eye(3)[[1, 1]]}
        >>> present = {"audio": torch.tensor([True, True]), "imu": torch.tensor([True, False])}
        >>> fusion.attention(z, present).tolist()  # the second row lacks its imu
        [[0.5, 0.5], [1.0, 0.0]]
        >>> fusion(z, present)  # doctest: +ELLIPSIS
        tensor([[0.7071, 0.7071, 0.0000],
                [1.0000, 0.0000, 0.0000]], grad_fn=...)
    """

    kind = "attention"

    def __init__(
        self, *, inputs: Sequence[Modality], dim: int, hidden_width: int = 64, modality_dropout: float = 0.3
    ) -> None:
        super().__init__(inputs, modality_dropout)
        self.scorers = nn.ModuleList(_scorer(dim, hidden_width) for _ in self.inputs)

    def fuse(self, z_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """The weighted sum (B, D)."""
        return (self._weights(z_BMD, present_BM)[..., None] * z_BMD).sum(dim=1)

    def attention(self, z: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor]) -> Tensor:
        """The attention (B, M) that each row pays to `inputs`: sums to 1, and is 0 where a modality is missing."""
        return self._weights(*stack_present(self.inputs, z, present))

    def _weights(self, z_BMD: Tensor, present_BM: Tensor) -> Tensor:
        scores = [scorer(z_BD)[:, 0] for scorer, z_BD in zip(self.scorers, z_BMD.unbind(dim=1), strict=True)]
        return torch.stack(scores, dim=1).float().masked_fill(~present_BM, float("-inf")).softmax(dim=1)


def _scorer(dim: int, hidden_width: int) -> nn.Module:
    last = start_at_zero(nn.Linear(hidden_width, 1))
    # A unit vector's coordinates shrink with D: LayerNorm brings them to 1.
    return nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden_width), nn.GELU(), last)
