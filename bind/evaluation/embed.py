"""The vectors of a whole split, made by a Binder in this process."""

from __future__ import annotations

import sys

import torch
from rich.progress import track

from bind.data.datamodule import BindDataModule
from bind.evaluation.embedded import EmbeddedSplit
from bind.model.binder import Binder
from bind.types import Embeddings


def embed_split(datamodule: BindDataModule, binder: Binder, split_name: str) -> EmbeddedSplit:
    """Embed every sample of a split, with a progress bar in a terminal."""
    device = next(binder.parameters()).device
    binder.eval()
    loader = datamodule.evaluation_dataloader(split_name)
    parts = []
    with torch.inference_mode():
        for batch in track(loader, f"embed {split_name}", len(loader), transient=True, disable=not sys.stdout.isatty()):
            embeddings = binder(batch.to(device, non_blocking=True))
            parts.append(
                (batch, Embeddings({m: z.cpu() for m, z in embeddings.z.items()}, embeddings.rows, len(batch)))
            )
    return EmbeddedSplit.collect(parts, device)
