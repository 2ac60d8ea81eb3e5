"""Learned fusion: what all heads with weights share, which is presence, modality dropout and unit norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bind.fusion.inputs import check_inputs, fused_name, stack_present, unit
from bind.types import Modality


class LearnedFusion(nn.Module):
    """A head that learns how to make one vector of those that are present: `z[m]` (B, D) → (B, D), unit norm.

    In training each present modality is dropped with probability `modality_dropout`, never the last one of a row.

    Attributes:
        kind: what the head is called beside others.

    Raises:
        ValueError: fewer than two inputs, or a dropout outside [0, 1).
    """

    kind = "learned"

    def __init__(self, inputs: Sequence[Modality], modality_dropout: float) -> None:
        super().__init__()
        self.inputs = check_inputs(inputs)
        self.name = fused_name(self.inputs)
        if not 0.0 <= modality_dropout < 1.0:
            raise ValueError(f"fusion.modality_dropout={modality_dropout}: give a probability from 0 to below 1")
        self.modality_dropout = modality_dropout

    def forward(self, z: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor]) -> Tensor:
        return unit(self.fuse(*self.stack(z, present)))

    def stack(self, z: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings (B, M, D), zero where missing, and the mask (B, M) of those that are there and not dropped."""
        z_BMD, present_BM = stack_present(self.inputs, z, present)
        if self.training and self.modality_dropout > 0.0:
            present_BM = drop_modalities(present_BM, self.modality_dropout)
            z_BMD = torch.where(present_BM[..., None], z_BMD, torch.zeros((), device=z_BMD.device))
        return z_BMD, present_BM

    def fuse(self, z_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """One vector (B, D) of any norm; `z_BMD` is zero where `present_BM` is False."""
        raise NotImplementedError


def drop_modalities(present_BM: Tensor, p: float) -> Tensor:
    """The presence mask (B, M) with each True turned False with probability `p`, keeping at least one per row."""
    drawn_BM = torch.rand(present_BM.shape, device=present_BM.device).masked_fill(~present_BM, -1.0)
    return present_BM & ((drawn_BM >= p) | (drawn_BM == drawn_BM.amax(dim=1, keepdim=True)))


def start_at_zero(layer: nn.Linear) -> nn.Linear:
    """The layer with weights and bias of zero, so that training starts from what it is added to."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
