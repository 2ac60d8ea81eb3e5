"""Modalities made from several: what they were made from, and the plain sum that a learned fusion is measured by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bind.evaluation.embedded import EmbeddedSplit
from bind.fusion.early import EarlyFusion
from bind.model.binder import Binder
from bind.types import Modality


def fusion_inputs(modality: Modality, binder: Binder) -> tuple[Modality, ...]:
    """The modalities an embedding was made from: itself, or the inputs of a fusion."""
    inputs = tuple(binder.fusion.inputs) if binder.fusion is not None else ()
    return inputs if modality in ("_and_".join(inputs), plain_sum(inputs)) and inputs else (modality,)


def plain_sum(inputs: Sequence[Modality]) -> Modality:
    return "_plus_".join(inputs)


def is_fused_key(name: str, binder: Binder) -> bool:
    """Whether a retrieval key names a modality that was made from several."""
    return any(len(fusion_inputs(side, binder)) > 1 for side in name.split("_to_"))


def add_plain_sum(split: EmbeddedSplit, binder: Binder) -> None:
    """Beside a fusion that learns or combines scores stands the plain sum of the same inputs, `audio_plus_imu`."""
    if binder.fusion is None or isinstance(binder.fusion, EarlyFusion):
        return
    inputs = [m for m in binder.fusion.inputs if m in split.z]
    if len(inputs) == len(binder.fusion.inputs):
        z, present, rows = stacked(split, inputs)
        split.z[plain_sum(inputs)] = EarlyFusion(inputs=inputs)(z, present)
        split.rows[plain_sum(inputs)] = rows


def stacked(
    split: EmbeddedSplit, inputs: Sequence[Modality], keep_N: Tensor | None = None
) -> tuple[dict[Modality, Tensor], dict[Modality, Tensor], Tensor]:
    """Vectors (R, D) and presence (R,) of `inputs` on the rows that have any of them, and those rows.

    A sample with several values of a modality counts with its first.
    """
    num_samples = len(split.keys)
    z_full, present_full = {}, {}
    for m in inputs:
        first = torch.full((num_samples,), len(split.rows[m])).scatter_reduce(
            0, split.rows[m], torch.arange(len(split.rows[m])), "amin"
        )
        present_full[m] = first < len(split.rows[m])
        z_full[m] = split.z[m].new_zeros(num_samples, split.z[m].shape[1])
        z_full[m][present_full[m]] = split.z[m][first[present_full[m]]]
    any_N = torch.stack(list(present_full.values())).any(dim=0)
    rows = (any_N if keep_N is None else any_N & keep_N).nonzero().flatten()
    return {m: z[rows] for m, z in z_full.items()}, {m: p[rows] for m, p in present_full.items()}, rows
