"""Batches for the losses, cut over 1, 2 or 4 processes: all cases of one world size in one start of its processes."""

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import bind.losses
import bind.losses.grid
from bind.losses.masked import masked_errors, mean_masked_error, standardise_patches
from support import naive_losses

DIM = 5
LOSSES = ("info_nce", "sigmoid_loss")


def unit(*shape: int, seed: int) -> Tensor:
    z = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(z, dim=-1)


@dataclass(frozen=True)
class LossCase:
    """A global batch by the rows that each of four ranks has of it, and what the loss is asked for."""

    counts: tuple[int, int, int, int] = (3, 3, 3, 3)
    groups: tuple[int, ...] | None = None
    same_group: str = "ignore"
    frozen: str = ""
    scale: float = 7.0
    opposed_row: int | None = None  # b is the opposite of all a there
    detached_where_empty: bool = False
    dtype: torch.dtype = torch.float32

    def rows(self, rank: int, world_size: int) -> slice:
        share = 4 // world_size
        return slice(sum(self.counts[: rank * share]), sum(self.counts[: (rank + 1) * share]))


TEN = (0, 1, 2, 0, 1, 3, 4, 1, 0, 5)
LOSS_CASES = {
    "equal rows": LossCase(),
    "unequal rows": LossCase((4, 1, 0, 2)),
    "a rank without rows": LossCase((0, 0, 6, 1)),
    "a rank without rows that needs no gradient": LossCase((0, 0, 6, 1), detached_where_empty=True),
    "no rows at all": LossCase((0, 0, 0, 0)),
    "one row": LossCase((0, 1, 0, 0)),
    "ignored groups": LossCase((3, 2, 4, 1), TEN),
    "positive groups": LossCase((4, 2, 1, 3), TEN, "positive"),
    "a frozen": LossCase((3, 2, 4, 1), TEN, frozen="a"),
    "b frozen": LossCase((3, 0, 4, 3), TEN, frozen="b"),
    "both frozen": LossCase((3, 0, 4, 3), TEN, frozen="ab"),
    "b frozen, positive groups": LossCase((3, 2, 4, 1), TEN, "positive", frozen="b"),
    "beyond the range of fp32": LossCase((3, 2, 4, 1), TEN, scale=100.0, opposed_row=8),
    "bf16": LossCase((3, 2, 4, 1), TEN, "positive", dtype=torch.bfloat16),
    "fp64": LossCase((3, 2, 4, 1), TEN, "positive", dtype=torch.float64),
}


def inputs(case: LossCase) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """The global batch and the options of the loss."""
    num_rows = sum(case.counts)
    z_a, z_b = (unit(num_rows, DIM, seed=seed) for seed in range(2))
    if case.opposed_row is not None:
        z_a[:], z_b[case.opposed_row] = z_a[0], -z_a[0]
    options: dict[str, Any] = {"same_group": case.same_group}
    if case.groups is not None:
        options["groups"] = torch.tensor(case.groups)
    return z_a.to(case.dtype), z_b.to(case.dtype), options


def assert_close(results: dict[str, Tensor | None], exact: dict[str, Tensor | None], tolerance: float = 1e-6) -> None:
    """Gradients of rows norm-wise; value and scalars, where terms of order 1 cancel, also absolutely."""
    assert results.keys() == exact.keys()
    for name, wanted in exact.items():
        got = results[name]
        if wanted is None:
            assert got is None, f"{name} is frozen"
            continue
        assert got is not None, name
        floor = 1e-2 if name in ("a", "b") else 1.0
        error = (got.double() - wanted).norm() / max(wanted.norm().item(), floor)
        assert error < tolerance, f"{name} is off by {error:.1e}: {got} instead of {wanted}"


def run(name: str, case: LossCase, rows: slice, naive: bool = False) -> dict[str, Tensor | None]:
    """Value and gradients of the loss `name` over `rows` of the case's batch; naive: in fp64."""
    z_a, z_b, options = inputs(case)
    if "groups" in options:
        options["groups"] = options["groups"][rows]
    dtype = torch.promote_types(case.dtype, torch.float32)
    z_a, z_b, scale, bias = z_a[rows], z_b[rows], *torch.tensor([[case.scale], [-3.0]], dtype=dtype)
    if naive:
        z_a, z_b, scale, bias = (x.double() for x in (z_a, z_b, scale, bias))
    leaves = {"a": z_a, "b": z_b, "scale": scale, **({"bias": bias} if name == "sigmoid_loss" else {})}
    for side, leaf in leaves.items():
        leaf.requires_grad_(side not in case.frozen and not (case.detached_where_empty and len(leaf) == 0))
    loss = getattr(naive_losses if naive else bind.losses, name)(*leaves.values(), **options)
    loss.backward()
    return {"loss": loss.detach(), **{side: leaf.grad for side, leaf in leaves.items()}}


MASKED_CASES = ("some patches", "nothing is hidden")
MASKED_COUNTS = (5, 0, 2, 1)


def masked_batch(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions and patches (8, 6, 4), and which patches are hidden: of the first rows most, of the last few."""
    generator = torch.Generator().manual_seed(seed)
    predicted, patches = (torch.randn(8, 6, 4, generator=generator) for _ in range(2))
    is_masked = torch.rand(8, 6, generator=generator) < torch.linspace(0.9, 0.1, 8)[:, None]
    return predicted.requires_grad_(), 1 + 3 * patches, is_masked


def run_masked(name: str, rank: int, world_size: int) -> tuple[Tensor, Tensor]:
    """The loss of hidden patches of this process's rows, and the gradient of its predictions."""
    rows = LossCase(MASKED_COUNTS).rows(rank, world_size)
    predicted, patches, is_masked = (x.detach()[rows] for x in masked_batch(3))
    if name == "nothing is hidden":
        is_masked = torch.zeros_like(is_masked)
    predicted.requires_grad_()
    loss = mean_masked_error(masked_errors(predicted, standardise_patches(patches), is_masked))
    loss.backward()
    return loss.detach(), predicted.grad


@contextlib.contextmanager
def small_tiles(num_rows: int = 2):
    """Tiles so small that every case needs several, and none divides it."""
    kept = bind.losses.grid.tile_rows
    bind.losses.grid.tile_rows = lambda num_columns, device: num_rows
    try:
        yield
    finally:
        bind.losses.grid.tile_rows = kept


def run_all(rank: int, world_size: int) -> dict[str, Any]:
    masked = {f"masked {name}": run_masked(name, rank, world_size) for name in MASKED_CASES}
    with small_tiles():
        return masked | {
            f"{name}, {case_name}": run(name, case, case.rows(rank, world_size))
            for name in LOSSES
            for case_name, case in LOSS_CASES.items()
        }
