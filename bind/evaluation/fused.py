"""Fused modalities: what they are made of, what tables call them, and the plain sum beside a fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from bind.evaluation.embedded import EmbeddedSplit
from bind.fusion.early import EarlyFusion
from bind.model.binder import Binder
from bind.types import Modality

FusedModalities = Mapping[Modality, Sequence[Modality]]
"""Fused modality → the modalities that it is made of, `audio_and_imu` → audio, imu; names are never taken apart."""

NO_FUSION: FusedModalities = MappingProxyType({})


def fused_modalities(binder: Binder) -> dict[Modality, tuple[Modality, ...]]:
    """The output of the Binder's fusion, and the plain sum that it is measured by, with their inputs."""
    if binder.fusion is None:
        return {}
    assert binder.fused_modality is not None
    inputs = binder.fusion_inputs
    return {binder.fused_modality: inputs, plain_sum(inputs): inputs}


def fusion_inputs(modality: Modality, binder: Binder) -> tuple[Modality, ...]:
    """The modalities that an embedding is made of: itself, or the inputs of a fusion."""
    return fused_modalities(binder).get(modality, (modality,))


def plain_sum(inputs: Sequence[Modality]) -> Modality:
    """The name of the normalised sum of these inputs: `audio_plus_imu`."""
    return "_plus_".join(inputs)


def modality_title(modality: Modality, fused: FusedModalities) -> str:
    """What tables and pictures call a modality: a fusion by its inputs and a sign.

    Examples:
        >>> fused = {"audio_and_imu": ["audio", "imu"], "audio_plus_imu": ["audio", "imu"]}
        >>> [modality_title(m, fused) for m in ("audio_and_imu", "audio_plus_imu", "a_and_b")]
        ['audio ⊕ imu', 'audio + imu', 'a_and_b']
    """
    if modality not in fused:
        return modality
    return (" + " if modality == plain_sum(fused[modality]) else " ⊕ ").join(fused[modality])


def pair_title(query: Modality, pool: Modality, fused: FusedModalities) -> str:
    """What tables and pictures call a retrieval: `audio → image`."""
    return f"{modality_title(query, fused)} → {modality_title(pool, fused)}"


def add_plain_sum(split: EmbeddedSplit, binder: Binder) -> None:
    """Beside a fusion that learns or combines scores stands the plain sum of the same inputs, `audio_plus_imu`."""
    if binder.fusion is None or isinstance(binder.fusion, EarlyFusion):
        return
    inputs = [m for m in binder.fusion.inputs if m in split.z]
    if len(inputs) == len(binder.fusion.inputs):
        z, present, rows = stack_inputs(split, inputs)
        split.z[plain_sum(inputs)] = EarlyFusion(inputs=inputs)(z, present)
        split.rows[plain_sum(inputs)] = rows


def stack_inputs(
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
