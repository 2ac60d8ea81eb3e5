"""Several clips of one recording become one embedding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bind.types import Inputs, Transform


def collate_clips(transform: Transform, items: list[Any]) -> tuple[Inputs, Tensor | None]:
    """Collate what `transform` made of B_m values: inputs of all clips, and int64 (B_m,) clips per value.

    A list is the clips of one value, anything else its only one; None instead of counts where all have only one.
    """
    if not any(isinstance(item, list) for item in items):
        return transform.collate(items), None
    clips = [item if isinstance(item, list) else [item] for item in items]
    return transform.collate([clip for own in clips for clip in own]), torch.tensor([len(own) for own in clips])


def average_clips(z_ND: Tensor, num_clips_B: Tensor | None) -> Tensor:
    """Unit embeddings (N, D) of clips, those of a value in a row → unit embeddings (B, D) of the values.

    Every clip counts the same: their unit vectors are averaged, and the mean is normalised once. The cosine with the
    result is the mean of the clips' cosines, up to a factor of the value's own. ImageBind leaves that factor in.
    """
    if num_clips_B is None:
        return z_ND
    return normalize(torch.segment_reduce(z_ND, "mean", lengths=num_clips_B, axis=0), dim=-1)
