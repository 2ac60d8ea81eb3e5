"""Attention fusion: learned weights over the modalities that are present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bind.fusion.inputs import check_inputs, fused_name, stack_present, unit
from bind.types import Modality


class AttentionFusion(nn.Module):
    """A softmax over the scores of the present embeddings weighs their sum: `z[m]` (B, D) → (B, D), unit norm.

    Each modality scores its own embedding with a small network whose last layer starts at zero, so that training
    starts from the plain average. In training each present modality is dropped with probability `modality_dropout`,
    never the last one of a row.

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

    def __init__(
        self, *, inputs: Sequence[Modality], dim: int, hidden_width: int = 64, modality_dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.inputs = check_inputs(inputs)
        self.name = fused_name(self.inputs)
        if not 0.0 <= modality_dropout < 1.0:
            raise ValueError(f"fusion.modality_dropout={modality_dropout}: give a probability from 0 to below 1")
        self.modality_dropout = modality_dropout
        self.scorers = nn.ModuleList(_scorer(dim, hidden_width) for _ in self.inputs)

    def forward(self, z: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor]) -> Tensor:
        z_BMD, present_BM = stack_present(self.inputs, z, present)
        if self.training and self.modality_dropout > 0.0:
            present_BM = drop_modalities(present_BM, self.modality_dropout)
        weights_BM = self._weights(z_BMD, present_BM)
        return unit((weights_BM[..., None] * z_BMD).sum(dim=1))

    def attention(self, z: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor]) -> Tensor:
        """The attention (B, M) that each row pays to `inputs`: sums to 1, and is 0 where a modality is missing."""
        return self._weights(*stack_present(self.inputs, z, present))

    def _weights(self, z_BMD: Tensor, present_BM: Tensor) -> Tensor:
        scores = [scorer(z_BD)[:, 0] for scorer, z_BD in zip(self.scorers, z_BMD.unbind(dim=1), strict=True)]
        return torch.stack(scores, dim=1).float().masked_fill(~present_BM, float("-inf")).softmax(dim=1)


def drop_modalities(present_BM: Tensor, p: float) -> Tensor:
    """The presence mask (B, M) with each True turned False with probability `p`, keeping at least one per row."""
    drawn_BM = torch.rand(present_BM.shape, device=present_BM.device).masked_fill(~present_BM, -1.0)
    return present_BM & ((drawn_BM >= p) | (drawn_BM == drawn_BM.amax(dim=1, keepdim=True)))


def _scorer(dim: int, hidden_width: int) -> nn.Module:
    last = nn.Linear(hidden_width, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    # A unit vector's coordinates shrink with D: LayerNorm brings them to 1.
    return nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden_width), nn.GELU(), last)
