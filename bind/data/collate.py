"""Collation of a batch's values, each one or several clips, into the inputs of an encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bind.types import Inputs, Transform


def collate_clips(transform: Transform, items: list[Any]) -> tuple[Inputs, Tensor | None]:
    """Collate what `transform` made of B_m values: inputs of all clips, and int64 (B_m,) clips per value.

    A list is the clips of one value, anything else its only one; None instead of counts where all have only one.
    """
    if not any(isinstance(item, list) for item in items):
        return transform.collate(items), None
    clips_of_values = [item if isinstance(item, list) else [item] for item in items]
    inputs = transform.collate([clip for clips in clips_of_values for clip in clips])
    return inputs, torch.tensor([len(clips) for clips in clips_of_values])
