"""What the tests run on two gloo processes: all cases in one start, because importing torch is what takes the time."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bind.distributed import gather_objects, gather_rows, rank, row_counts, world_size
from bind.evaluation.embedded import EmbeddedSplit
from bind.losses import info_nce
from bind.types import Batch, Embeddings
from support import loss_cases
from support.loss_cases import DIM, unit

WORLD_SIZE = 2


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


def retrieval_parts(first: int, last: int) -> list[tuple[Batch, Embeddings]]:
    """Samples first … last - 1 of 21 with a picture each, two sounds for every third, in batches of 4."""
    z_image, z_audio = unit(21, DIM, seed=1), unit(28, DIM, seed=2)
    owner_of_sound = [row for row in range(21) for _ in range(1 + (row % 3 == 0))]
    parts = []
    for start in range(first, last, 4):
        rows = range(start, min(start + 4, last))
        sounds = [i for i, row in enumerate(owner_of_sound) if row in rows]
        rows_of = {
            "image": torch.arange(len(rows)),
            "audio": torch.tensor([owner_of_sound[i] - start for i in sounds]),
        }
        batch = Batch([f"s{row}" for row in rows], torch.tensor([row // 2 for row in rows]), {}, rows_of)
        z = {"image": z_image[list(rows)], "audio": z_audio[sounds]}
        parts.append((batch, Embeddings(z, rows_of, len(rows))))
    return parts


def run_retrieval(parts: list[tuple[Batch, Embeddings]]) -> dict[str, object]:
    split = EmbeddedSplit.gather(parts)
    return {
        f"{query} {pool} {one_per_group}": split.retrieval(query, pool, one_per_group=one_per_group)
        for query, pool in (("audio", "image"), ("image", "audio"))
        for one_per_group in (False, True)
    }


def run_all(rank: int, world_size: int) -> dict[str, object]:
    """Every case, on each process."""
    step = Step()
    return {
        **loss_cases.run_all(rank, world_size),
        "several pairs": run_step(step, *step.first_of_rank[rank : rank + 2]),
        "gather": run_gather(),
        "split": run_split(split_parts(rank)),
        # A sampler that fills up the last batch gives both ranks sample 10.
        "retrieval": run_retrieval(retrieval_parts(0, 11) if rank == 0 else retrieval_parts(10, 21)),
        "split with an idle rank": run_split(split_parts(0 if rank == 0 else 2)),
    }
