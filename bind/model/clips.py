"""Clips of one recording, averaged into one embedding."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def average_clips(z_ND: Tensor, num_clips_B: Tensor | None) -> Tensor:
    """Unit embeddings (N, D) of clips, those of a value in a row → unit embeddings (B, D) of the values.

    Every clip counts the same: their unit vectors are averaged, and the mean is normalised once. The cosine with the
    result is the mean of the clips' cosines divided by the norm of the mean vector. ImageBind does not divide.

    Examples:
        >>> z_clips = torch.eye(3)[[0, 1, 2]]
        >>> average_clips(z_clips, torch.tensor([2, 1]))  # two clips of the first recording, one of the second
        tensor([[0.7071, 0.7071, 0.0000],
                [0.0000, 0.0000, 1.0000]])
    """
    if num_clips_B is None:
        return z_ND
    return normalize(torch.segment_reduce(z_ND, "mean", lengths=num_clips_B, axis=0), dim=-1)
