"""Inputs of a fusion: their names and weights, the name of the result, and the mask of what is present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bind.types import Modality


def fused_name(inputs: Sequence[Modality]) -> Modality:
    """The modality that a fusion of `inputs` makes: `audio_and_imu`."""
    return "_and_".join(inputs)


def check_inputs(inputs: Sequence[Modality]) -> tuple[Modality, ...]:
    """`inputs` as a tuple; ValueError unless they are at least two different modalities."""
    if len(inputs) < 2 or len(set(inputs)) < len(inputs):
        raise ValueError(
            f"fusion.inputs={list(inputs)}: name at least two different modalities, such as fusion.inputs=[audio,imu]"
        )
    return tuple(inputs)


def check_weights(inputs: Sequence[Modality], weights: Mapping[Modality, float] | None) -> dict[Modality, float]:
    """One positive weight per input, 1 where `weights` names none; a ValueError for any other name or number."""
    weights = dict(weights or {})
    if unknown := sorted(set(weights) - set(inputs)):
        raise ValueError(f"fusion.weights names {', '.join(unknown)}, but fusion.inputs is {list(inputs)}")
    if any(weight <= 0 for weight in weights.values()):
        raise ValueError(
            f"fusion.weights must be positive, got {weights}: leave a modality out of fusion.inputs instead"
        )
    return {modality: float(weights.get(modality, 1.0)) for modality in inputs}


def stack_present(
    inputs: Sequence[Modality], z: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor]
) -> tuple[Tensor, Tensor]:
    """(B, M, D) fp32 embeddings with zeros in missing rows, whatever those held, and the (B, M) presence mask."""
    present_BM = torch.stack([present[m] for m in inputs], dim=1)
    assert present_BM.dtype == torch.bool
    assert bool(present_BM.any(dim=1).all()), f"a row without any of {list(inputs)} cannot be fused"
    z_BMD = torch.stack([z[m].float() for m in inputs], dim=1)
    # Not a product: 0 · NaN is NaN, in the value and in the gradient.
    return torch.where(present_BM[..., None], z_BMD, torch.zeros((), device=z_BMD.device)), present_BM


def unit(x_BD: Tensor) -> Tensor:
    """`x_BD` with unit norm; embeddings that cancel each other stay near zero, with a finite gradient."""
    return normalize(x_BD, dim=-1, eps=1e-6)
