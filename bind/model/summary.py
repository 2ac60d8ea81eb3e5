"""Summary of a binder: what embeds each modality, how many parameters that has, and which of them train."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from bind.model.binder import Binder

HEADERS = ("modality", "embedded by", "parameters", "trained")


def summarise(binder: Binder) -> str:
    """A line for the space, and a table with a row for the anchor, for each encoder with its head, and for the fusion.

    A trunk that several modalities share is counted with each of them.
    """
    anchor = binder.anchor
    rows = [HEADERS]
    if anchor.modalities:
        rows.append(_row(", ".join(anchor.modalities), f"the anchor {anchor.name}", [anchor]))
    for modality, encoder in binder.encoders.items():
        head = binder.heads[modality]
        classes = f"{type(encoder).__name__}, {type(head).__name__}"
        owner = f", trunk of {binder.share[modality]}" if modality in binder.share else ""
        rows.append(_row(modality, classes + owner, [encoder, head], binder.trained_parts[modality]))
    if binder.fused_modality:
        inputs = " and ".join(binder.fusion_inputs)
        rows.append(_row(binder.fused_modality, f"{type(binder.fusion).__name__} of {inputs}", [binder.fusion]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADERS))]
    lines = [
        f"{name:<{widths[0]}}  {by:<{widths[1]}}  {size:>{widths[2]}}  {trained}" for name, by, size, trained in rows
    ]
    return "\n".join([f"Binder, {binder.dim} dimensions", *(f"  {line}" for line in lines)])


def _row(modality: str, embedded_by: str, parts: Iterable[Any], trained_part: str = "") -> tuple[str, str, str, str]:
    parameters = {p for part in parts if isinstance(part, nn.Module) for p in part.parameters()}
    num_trained = sum(p.numel() for p in parameters if p.requires_grad)
    num_parameters = sum(p.numel() for p in parameters)
    if not num_trained:
        trained = "frozen" if num_parameters else "nothing to train"
    elif num_trained == num_parameters:
        trained = "all"
    else:
        trained = f"{num_trained:,}" + (f" ({trained_part})" if trained_part else "")
    return modality, embedded_by, f"{num_parameters:,}", trained
