"""The fusion's own modality: one vector for every row of a batch that has any of its inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bind.fusion.inputs import fused_name
from bind.types import Batch, Embeddings, Modality, TokenEncoder, TokenFusion


def add_fused(fusion: Any, encoders: nn.ModuleDict, embeddings: Embeddings, batch: Batch) -> None:
    """Add what the fusion makes of `embeddings` to them; nothing where the batch's source lacks an input altogether.

    Args:
        encoders: modality → encoder, asked for tokens by a fusion that reads them.

    Raises:
        ValueError: where a fusion reads the tokens of samples with several clips.
    """
    inputs: tuple[Modality, ...] = tuple(fusion.inputs)
    if any(modality not in embeddings.z for modality in inputs):
        return
    z_full, present = {}, {}
    for modality in inputs:
        (z_RD,), rows_R = embeddings.aligned([modality])
        z_full[modality] = _at_their_rows(z_RD, rows_R, embeddings.num_rows)
        present[modality] = torch.zeros(embeddings.num_rows, dtype=torch.bool)
        present[modality][rows_R] = True
    rows = torch.stack(list(present.values())).any(dim=0).nonzero().flatten()
    any_R = rows.to(z_RD.device, non_blocking=True)
    z_R = {m: z[any_R] for m, z in z_full.items()}
    present_R = {m: p[rows].to(z_RD.device, non_blocking=True) for m, p in present.items()}
    fused = fused_name(inputs)
    if isinstance(fusion, TokenFusion):
        widths = fusion.token_widths
        tokens = {m: _tokens(m, widths[m], encoders[m], embeddings, batch) for m in widths}
        tokens_R = {m: (x_BLF[any_R], mask_BL[any_R]) for m, (x_BLF, mask_BL) in tokens.items()}
        embeddings.z[fused] = fusion(z_R, present_R, tokens_R)
    else:
        embeddings.z[fused] = fusion(z_R, present_R)
    embeddings.rows[fused] = rows


def _at_their_rows(x_R: Tensor, rows_R: Tensor, num_rows: int) -> Tensor:
    """(num_rows, …), zero where a row has no value."""
    return x_R.new_zeros(num_rows, *x_R.shape[1:]).index_copy(0, rows_R.to(x_R.device, non_blocking=True), x_R)


def _tokens(
    modality: Modality, width: int, encoder: nn.Module, embeddings: Embeddings, batch: Batch
) -> tuple[Tensor, Tensor]:
    """Tokens (B, L, F) of a modality for every row of the batch, and which are there; of a row without it none."""
    if modality in batch.num_clips:
        raise ValueError(f"fusion=qformer takes one window of a sample: set transform.{modality}.num_clips=1")
    num_rows = embeddings.num_rows
    if modality not in batch.inputs:  # other ranks may have rows: its weights are met here too
        x_B1F = torch.zeros(num_rows, 1, width, device=batch.group_ids_B.device)
        return x_B1F, torch.zeros(num_rows, 1, dtype=torch.bool, device=x_B1F.device)
    assert isinstance(encoder, TokenEncoder)
    x_RLF, mask_RL = encoder.tokens(batch.inputs[modality])
    num_values = len(batch.rows.get(modality, ()))  # without a row that was borrowed
    rows = {modality: embeddings.rows[modality]}
    (x_RLF,), rows_R = Embeddings({modality: x_RLF[:num_values]}, rows, num_rows).aligned([modality])
    (mask_RL,), _ = Embeddings({modality: mask_RL[:num_values]}, rows, num_rows).aligned([modality])
    return _at_their_rows(x_RLF, rows_R, num_rows), _at_their_rows(mask_RL, rows_R, num_rows)
