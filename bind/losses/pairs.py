"""The way from a loss over a grid of pairs to one over named a and b, with gradients, under any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from bind.distributed import gather_integers, sum_rows, world_size
from bind.losses.grid import Grid, SameGroup


class Gradients:
    """Sums up, tile by tile, what the gradient of the logits means for rows, columns and scale.

    Args:
        grid: where the logits come from.
        columns: whether the columns need a gradient too.
    """

    def __init__(self, grid: Grid, *, columns: bool) -> None:
        self.grid = grid
        self.rows_BD = torch.empty_like(grid.rows_BD)
        self.columns_GD = torch.zeros_like(grid.columns_GD) if columns else None
        self.scale = grid.rows_BD.new_zeros(())
        self.bias = grid.rows_BD.new_zeros(())

    def add(self, tile: slice, logit_grad_TG: Tensor) -> None:
        """Take in the gradient of a tile's logits."""
        rows_TD = self.grid.rows_BD[tile]
        grad_TD = logit_grad_TG @ self.grid.columns_GD
        self.scale += torch.linalg.vecdot(grad_TD, rows_TD).sum()
        self.rows_BD[tile] = grad_TD
        if self.columns_GD is not None:
            self.columns_GD.addmm_(logit_grad_TG.T, rows_TD)

    def sides(self) -> tuple[Tensor, Tensor | None]:
        """Of this rank's rows and of the columns that they belong with, (B, D) each, but for the scale."""
        return self.rows_BD, None if self.columns_GD is None else sum_rows(self.columns_GD, self.grid.counts)


Kernel = Callable[[Grid, Sequence[Tensor], Gradients | None], Tensor]
"""From a grid and the scalars of the loss to this rank's share of the sum over all rows; fills `Gradients`."""

Function = TypeVar("Function", bound=Callable[..., Any])


def _untraced(function: Function) -> Function:
    """Keep torch.compile out of `function`: it would unroll a loop over tiles, and again for every batch size."""
    return cast(Function, torch.compiler.disable(function, reason="a loop over tiles"))


@_untraced
def loss_over_pairs(
    kernel: Kernel,
    z_a: Tensor,
    z_b: Tensor,
    *,
    scalars: Sequence[Tensor | float],
    groups: Tensor | None,
    same_group: SameGroup,
) -> Tensor:
    """The mean over all rows of all ranks of a loss that is symmetric in a and b; `scalars` are its scale and bias.

    Ranks exchange how many rows they hold, the columns, what the kernel sums over ranks, and the columns' gradient if
    both sides need one: all in forward, where the gradients are computed along with the value. Backward multiplies.

    Raises:
        ValueError: on shapes that do not belong together or an unknown `same_group`.
    """
    _check_shapes(z_a, z_b, groups, same_group)
    dtype = torch.promote_types(torch.promote_types(z_a.dtype, z_b.dtype), torch.float32)
    inputs = [z_a, z_b, *(torch.as_tensor(x, dtype=dtype, device=z_a.device) for x in scalars)]
    needed = [torch.is_grad_enabled() and x.requires_grad for x in inputs]
    # Logits and softmax stay in fp32 whatever the trainer's precision.
    with torch.no_grad(), torch.autocast(z_a.device.type, enabled=False), _full_fp32():
        needs_of_ranks = gather_integers([len(z_a), *needed[:2]], z_a.device)
        counts = [num_rows for num_rows, _, _ in needs_of_ranks]
        a_needed, b_needed = any(a for _, a, _ in needs_of_ranks), any(b for _, _, b in needs_of_ranks)
        # A frozen side is made the columns: it costs no product, and no gradient has to travel back to other ranks.
        swap = b_needed and not a_needed
        rows, columns = (z_b, z_a) if swap else (z_a, z_b)
        grid = Grid.gather(rows, columns, groups, same_group=same_group, counts=counts, dtype=dtype)
        both = a_needed and b_needed
        gradients = Gradients(grid, columns=both) if any(needed) or both else None

        values = [x.reshape(()) for x in inputs[2:]]
        mean = world_size() / max(1, len(grid.columns_GD))
        loss = (kernel(grid, values, gradients) * mean).to(dtype)
        if gradients is None:
            return loss
        row_grad, column_grad = (None if x is None else x.mul_(values[0] * mean) for x in gradients.sides())
        side_grads = (column_grad, row_grad) if swap else (row_grad, column_grad)
        scalar_grads = [x * mean for x in (gradients.scale, gradients.bias)]
    with_gradients: Tensor = _WithGradients.apply(loss, (*side_grads, *scalar_grads[: len(values)]), *inputs)
    return with_gradients


@contextmanager
def _full_fp32() -> Iterator[None]:
    """Matrix products in fp32 where a run lets those of its encoders be rounded (TF32)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _WithGradients(torch.autograd.Function):
    """A value whose gradients with respect to `inputs` are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor | None], *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*gradients)
        ctx.shapes = [x.shape for x in inputs]
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        known = zip(ctx.saved_tensors, ctx.shapes, ctx.needs_input_grad[2:], strict=True)
        return None, None, *((grad * x).reshape(shape) if needed else None for x, shape, needed in known)


def _check_shapes(z_a: Tensor, z_b: Tensor, groups: Tensor | None, same_group: SameGroup) -> None:
    if z_a.shape != z_b.shape or z_a.ndim != 2:
        raise ValueError(f"z_a {tuple(z_a.shape)} and z_b {tuple(z_b.shape)} must both be (B, D)")
    if same_group not in ("ignore", "positive"):
        raise ValueError(f"same_group={same_group!r}: choose 'ignore' or 'positive'")
    if groups is not None and groups.shape != z_a.shape[:1]:
        raise ValueError(f"groups {tuple(groups.shape)} must be one integer per row, ({len(z_a)},)")
