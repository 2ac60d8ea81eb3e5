"""Ranks and the one gather that keeps gradients exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class _AllReduceGrad(torch.autograd.Function):
    """Identity forward; backward sums the gradient over ranks, so that every rank's use of a gathered row counts."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (grad,) = grad_outputs
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad


def row_counts(num_rows: int, device: torch.device) -> list[int]:
    """How many rows each rank holds, exchanged because ranks may hold different numbers."""
    if world_size() == 1:
        return [num_rows]
    counts = [torch.zeros(1, dtype=torch.long, device=device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([num_rows], device=device))
    return [int(count) for count in counts]


def gather_rows(x: Tensor, counts: Sequence[int]) -> Tensor:
    """Concatenate `x` (n_r, …) of every rank r into (sum n_r, …), in rank order, with gradient.

    After the mean over ranks that DDP takes, the gradient of a loss that each rank computes on its own rows against
    the gathered ones, scaled by the world size, equals the one-process gradient. Under one process it is `x` itself.
    """
    if len(counts) == 1:
        return x
    largest = max(counts)
    padded = torch.zeros((largest, *x.shape[1:]), dtype=x.dtype, device=x.device)
    padded[: len(x)] = x.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    everywhere = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    if not x.requires_grad:
        return everywhere
    start = sum(counts[: rank()])
    index = torch.arange(start, start + len(x), device=x.device)
    # The gathered values are constants; adding x - x.detach() to this rank's rows ties them to the graph, and the
    # all-reduce of the gradient brings home what the other ranks did with them.
    own = torch.zeros_like(everywhere).index_add(0, index, x - x.detach())
    return everywhere + _AllReduceGrad.apply(own)


def gather_objects(item: Any) -> list[Any]:
    """Every rank's picklable `item`, in rank order (metadata only: keys, names)."""
    if world_size() == 1:
        return [item]
    items: list[Any] = [None] * world_size()
    dist.all_gather_object(items, item)
    return items
