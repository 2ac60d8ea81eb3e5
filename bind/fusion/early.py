"""Early fusion: one vector per sample before retrieval, without parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bind.fusion.inputs import check_inputs, check_weights, fused_name, stack_present, unit
from bind.types import Modality


class EarlyFusion(nn.Module):
    """The normalised weighted sum of the embeddings that are present: `z[m]` (B, D) → (B, D), unit norm.

    Missing rows (`present[m]` False) have no influence, whatever they hold. Source: embedding arithmetic as in
    ImageBind (Girdhar et al. 2023).

    Raises:
        ValueError: fewer than two inputs, or weights for other modalities or not positive.

    Examples:
        >>> fusion = EarlyFusion(inputs=["audio", "imu"], weights={"audio": 0.75, "imu": 1.0})
        >>> z = {"audio": torch.eye(2)[[0, 0]], "imu": torch.eye(2)[[1, 1]]}
        >>> present = {"audio": torch.tensor([True, False]), "imu": torch.tensor([True, True])}
        >>> fusion(z, present)
        tensor([[0.6000, 0.8000],
                [0.0000, 1.0000]])
    """

    def __init__(self, *, inputs: Sequence[Modality], weights: Mapping[Modality, float] | None = None) -> None:
        super().__init__()
        self.inputs = check_inputs(inputs)
        self.name = fused_name(self.inputs)
        self.weights = check_weights(self.inputs, weights)

    def forward(self, z: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor]) -> Tensor:
        z_BMD, _ = stack_present(self.inputs, z, present)
        weights_M = torch.tensor([self.weights[m] for m in self.inputs], device=z_BMD.device)
        return unit((weights_M[:, None] * z_BMD).sum(dim=1))
