"""What the tests run on two gloo processes: all cases in one start, because importing torch is what takes the time."""

import datetime
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from bind.distributed import gather_objects, gather_rows, rank, row_counts, world_size
from bind.embedded import EmbeddedSplit
from bind.losses import info_nce
from bind.types import Batch, Embeddings

WORLD_SIZE = 2
DIM = 5


def unit(*shape: int, seed: int) -> Tensor:
    z = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(z, dim=-1)


@dataclass(frozen=True)
class LossCase:
    """Rows of the global batch per rank, and what the loss is asked for."""

    counts: tuple[int, int]
    groups: tuple[int, ...] | None = None
    same_group: str = "ignore"
    frozen_b: bool = False
    bank: bool = False


LOSS_CASES = {
    "equal rows": LossCase((3, 3)),
    "unequal rows": LossCase((4, 1)),
    "one rank without rows": LossCase((0, 4)),
    "no rows at all": LossCase((0, 0)),
    "ignored groups across ranks": LossCase((3, 3), (0, 1, 2, 0, 1, 3)),
    "positive groups across ranks": LossCase((4, 2), (0, 1, 1, 0, 1, 3), "positive"),
    "a frozen side": LossCase((3, 2), (0, 0, 1, 1, 2), frozen_b=True),
    "a frozen side, one rank without rows": LossCase((3, 0), frozen_b=True),
    "banks": LossCase((2, 3), (0, 1, 2, 0, 4), bank=True),
}


def run_loss(case: LossCase, rows: slice) -> dict[str, Tensor | None]:
    """Value and gradients of the loss over `rows` of the case's global batch."""
    num_rows = sum(case.counts)
    z_a = unit(num_rows, DIM, seed=1)[rows].requires_grad_()
    z_b = unit(num_rows, DIM, seed=2)[rows].requires_grad_(not case.frozen_b)
    scale = torch.tensor([7.0], requires_grad=True)
    banks = {}
    if case.bank:
        banks = {f"bank_{side}": (unit(4, DIM, seed=seed), torch.arange(4)) for side, seed in (("a", 3), ("b", 4))}
    groups = None if case.groups is None else torch.tensor(case.groups)[rows]
    loss = info_nce(z_a, z_b, scale, groups=groups, same_group=case.same_group, **banks)
    loss.backward()
    return {"loss": loss.detach(), "a": z_a.grad, "b": z_b.grad, "scale": scale.grad}


@dataclass
class Step:
    """A step over several pairs: rank 1 has no audio, and no row of rank 0 has both audio and IMU."""

    rows: dict[str, list[int]] = field(
        default_factory=lambda: {"image": [0, 1, 2, 3, 4, 5], "audio": [0, 2], "imu": [1, 4, 5]}
    )
    pairs: tuple[tuple[str, str], ...] = (("audio", "image"), ("imu", "image"), ("audio", "imu"))
    num_rows: int = 6
    first_of_rank: tuple[int, ...] = (0, 3, 6)


def run_step(step: Step, first: int, last: int) -> dict[str, Tensor | None]:
    z, rows, leaves = {}, {}, {}
    for seed, (modality, where) in enumerate(step.rows.items()):
        mine = [position for position, row in enumerate(where) if first <= row < last]
        z[modality] = unit(len(where), DIM, seed=10 + seed)[mine].requires_grad_(modality != "image")
        rows[modality] = torch.tensor([where[p] - first for p in mine], dtype=torch.long)
        leaves[modality] = z[modality]
    embeddings = Embeddings(z, rows, last - first)
    scale = torch.tensor([9.0], requires_grad=True)
    groups = torch.tensor([0, 1, 2, 0, 4, 1])[first:last]
    total = torch.zeros(())
    for weight, pair in enumerate(step.pairs, start=1):
        (z_a, z_b), common = embeddings.aligned(pair)
        total = total + weight * info_nce(z_a, z_b, scale, groups=groups[common])
    total.backward()
    return {"loss": total.detach(), "scale": scale.grad, **{m: leaf.grad for m, leaf in leaves.items()}}


def run_gather() -> dict[str, object]:
    x = torch.full((rank() + 1, 2), float(rank()), requires_grad=True)
    counts = row_counts(len(x), x.device)
    everywhere = gather_rows(x, counts)
    # Rank r weighs gathered row i with (r + 1)(i + 1): what comes home is the sum over ranks.
    weights = (rank() + 1.0) * torch.arange(1.0, 4.0)[:, None]
    (everywhere * weights).sum().backward()
    constant = gather_rows(torch.arange(rank() + 1), counts)
    return {
        "counts": counts,
        "rows": everywhere.detach(),
        "grad": x.grad,
        "constant": constant,
        "constant_has_grad": constant.requires_grad,
        "objects": gather_objects({"rank": rank()}),
        "world_size": world_size(),
    }


def split_parts(rank: int) -> list[tuple[Batch, Embeddings]]:
    """Rank 0: keys a b, then c with two captions; rank 1: c again, then d without text. `audio` is on rank 1 only."""
    plan = {
        0: [(["a", "b"], {"text": [0, 1]}), (["c"], {"text": [0, 0]})],
        1: [(["c"], {"text": [0, 0]}), (["d"], {"audio": [0]})],
        2: [],
    }[rank]
    parts = []
    for keys, rows in plan:
        group_ids = torch.tensor([ord(key) for key in keys])
        # A vector names its sample and the position among its values.
        z = {
            m: torch.tensor([[float(ord(keys[row])), float(own.index(row) != i)] for i, row in enumerate(own)])
            for m, own in rows.items()
        }
        rows_of = {m: torch.tensor(own) for m, own in rows.items()}
        parts.append((Batch(keys, group_ids, {}, rows_of), Embeddings(z, rows_of, len(keys))))
    return parts


def run_split(parts: list[tuple[Batch, Embeddings]]) -> dict[str, object]:
    split = EmbeddedSplit.gather(parts)
    return {"keys": split.keys, "groups": split.group_ids_N, "z": split.z, "rows": split.rows}


def main(process: int, folder: str) -> None:
    """Entry of each process: run every case, leave the results in `folder`."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=process,
        world_size=WORLD_SIZE,
        timeout=datetime.timedelta(seconds=60),
    )
    results: dict[str, object] = {}
    for name, case in LOSS_CASES.items():
        start = sum(case.counts[:process])
        results[name] = run_loss(case, slice(start, start + case.counts[process]))
    step = Step()
    results["several pairs"] = run_step(step, *step.first_of_rank[process : process + 2])
    results["gather"] = run_gather()
    results["split"] = run_split(split_parts(process))
    results["split with an idle rank"] = run_split(split_parts(0 if process == 0 else 2))
    dist.destroy_process_group()
    torch.save(results, Path(folder) / f"rank{process}.pt")
