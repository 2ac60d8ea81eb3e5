"""Processes of a group: the one gather that keeps gradients exact, sums, and how loaders start theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bind.types import Source, UnforkableSource


def world_size() -> int:
    """The number of processes, 1 without a group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The place of this process among them, 0 without a group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather_integers(values: Sequence[int], device: torch.device) -> list[list[int]]:
    """Every rank's `values`, equally many on each, in rank order."""
    if world_size() == 1:
        return [[int(value) for value in values]]
    mine = torch.tensor([int(value) for value in values], dtype=torch.long, device=device)
    parts = [torch.empty_like(mine) for _ in range(world_size())]
    dist.all_gather(parts, mine)
    return [part.tolist() for part in parts]


def row_counts(num_rows: int, device: torch.device) -> list[int]:
    """How many rows each rank holds, exchanged because ranks may hold different numbers."""
    return [count for (count,) in gather_integers([num_rows], device)]


def gather_rows(x: Tensor, counts: Sequence[int]) -> Tensor:
    """Concatenate `x` (n_r, …) of every rank r into (sum n_r, …), in rank order, with gradient.

    After the mean over ranks that DDP takes, the gradient of a loss that each rank computes on its own rows against
    the gathered ones, scaled by the world size, equals the one-process gradient. Under one process it is `x` itself.
    """
    return x if len(counts) == 1 else _GatherRows.apply(x, counts)


def sum_rows(x: Tensor, counts: Sequence[int]) -> Tensor:
    """Sum `x` (sum n_r, …) over ranks and keep this rank's rows (n_r, …): the gradient of `gather_rows`."""
    if len(counts) == 1:
        return x
    padded = pad_sequence(x.split(list(counts)), batch_first=True)
    mine = torch.empty_like(padded[0])
    dist.reduce_scatter_tensor(mine, padded.flatten(0, 1))
    return mine[: counts[rank()]]


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of every rank's `x`, all of one shape; written over `x`."""
    if world_size() > 1:
        dist.all_reduce(x)
    return x


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, counts: Sequence[int]) -> Tensor:
        ctx.counts = counts
        padded = torch.cat([x, x.new_zeros(max(counts) - len(x), *x.shape[1:])])
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return sum_rows(grad_outputs[0], ctx.counts), None


def gather_objects(item: Any) -> list[Any]:
    """Every rank's picklable `item`, in rank order (metadata only: keys, names)."""
    if world_size() == 1:
        return [item]
    items: list[Any] = [None] * world_size()
    dist.all_gather_object(items, item)
    return items


def loader_start_method(sources: Iterable[Source], num_workers: int) -> str | None:
    """How a DataLoader starts its processes: fresh ones where a source can't be read by forks, else as PyTorch does."""
    is_needed = any(isinstance(source, UnforkableSource) and source.is_unforkable for source in sources)
    return "spawn" if num_workers > 0 and is_needed else None
