"""Chunks of a large batch: the activations of one at a time in memory, the loss over all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from bind.types import Inputs, TokenFusion


def encode_in_chunks(encode: Callable[[Inputs], Tensor], inputs: Inputs, chunk_size: int | None) -> Tensor:
    """Compute `encode(inputs)`, (B_m, D), with the activations of at most `chunk_size` rows in memory.

    Every chunk is embedded once without keeping its activations and, when the gradient of its embeddings is known,
    once more with the same random numbers. Exact for encoders that treat rows one by one, `refuse_batch_statistics`
    names the others. Parameters still receive their gradient once per step, so it works under DDP.

    Source: GradCache (Gao et al., 2021, section 3), written as activation checkpointing (Chen et al., 2016).
    """
    num_rows = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
    if chunk_size is None or num_rows <= chunk_size:
        return encode(inputs)
    chunks: list[Inputs]
    if isinstance(inputs, dict):
        split = {name: tensor.split(chunk_size) for name, tensor in inputs.items()}
        chunks = [dict(zip(split, parts, strict=True)) for parts in zip(*split.values(), strict=True)]
    else:
        chunks = list(inputs.split(chunk_size))
    return torch.cat([checkpoint(encode, chunk, use_reentrant=False) for chunk in chunks])


def refuse_chunks(encoders: torch.nn.Module, heads: torch.nn.Module, fusion: Any) -> None:
    """Raise ValueError where a batch can't be embedded in chunks: see `refuse_batch_statistics`, or for its tokens."""
    if isinstance(fusion, TokenFusion):
        raise ValueError("data.chunk_size: fusion=qformer reads the tokens of a whole batch; leave it null")
    refuse_batch_statistics(torch.nn.ModuleDict({"encoder": encoders, "head": heads}))


def refuse_batch_statistics(module: torch.nn.Module) -> None:
    """Raise ValueError, naming the layers, where training normalises rows of a batch by one another.

    BatchNorm that stays in eval mode, as in a pretrained encoder, treats rows one by one.
    """
    modes = [(m, m.training) for m in module.modules()]
    module.train()
    names = [
        name
        for name, m in module.named_modules()
        if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and m.training
    ]
    for m, is_training in modes:
        m.training = is_training
    if names:
        raise ValueError(
            f"data.chunk_size: {', '.join(names)} would see statistics of a chunk instead of the batch; use GroupNorm "
            "or LayerNorm there, or leave data.chunk_size=null"
        )
