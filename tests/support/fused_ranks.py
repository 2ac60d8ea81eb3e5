"""Gradients of every learned fusion on two processes under DDP, of which one has rows of a single input only."""

import torch
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from bind.fusion.attention import AttentionFusion
from bind.fusion.gated import GatedFusion
from bind.fusion.low_rank_tensor import LowRankTensorFusion
from bind.fusion.mlp import MLPFusion
from bind.fusion.qformer import QFormerFusion

HEADS = (AttentionFusion, GatedFusion, MLPFusion, LowRankTensorFusion, QFormerFusion)
INPUTS, DIM, NUM_ROWS = ("audio", "imu"), 6, 8


def gradients(head, rows, *, as_ddp):
    """Name → gradient of the mean over these rows."""
    torch.manual_seed(0)
    options = {"token_widths": {"imu": 3}, "width": 8} if head is QFormerFusion else {}
    fusion = head(inputs=INPUTS, dim=DIM, modality_dropout=0.0, **options)
    with torch.no_grad():
        for weight in fusion.parameters():
            weight += 0.3 * torch.randn_like(weight)
    z = {m: normalize(torch.randn(NUM_ROWS, DIM), dim=-1) for m in INPUTS}
    target = torch.randn(NUM_ROWS, DIM)
    present = {"audio": torch.ones(NUM_ROWS, dtype=torch.bool), "imu": torch.arange(NUM_ROWS) < NUM_ROWS // 2}
    arguments = [{m: x[rows] for m, x in values.items()} for values in (z, present)]
    tokens = torch.randn(NUM_ROWS, 5, 3)
    if options:
        arguments.append({"imu": (tokens[rows], torch.ones(len(tokens[rows]), 5, dtype=torch.bool))})
    module = DistributedDataParallel(fusion) if as_ddp else fusion
    (module(*arguments) * target[rows]).sum(dim=1).mean().backward()
    return {name: weight.grad for name, weight in fusion.named_parameters()}


def cases(rank, world_size):
    size = NUM_ROWS // world_size
    return {head.kind: gradients(head, slice(rank * size, (rank + 1) * size), as_ddp=True) for head in HEADS}
