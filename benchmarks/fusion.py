"""Which fusion heads can say what adding cannot? python benchmarks/fusion.py RUN --out FOLDER

RUN is a finished run on the toy world without a fusion (`python train.py run_dir=RUN`). Its encoders stay frozen:
sounds, motion traces and targets are embedded once, and only heads are trained on those vectors, with the package's
loss, so most heads take seconds. Which of two texts belongs to a sound of one object and a motion trace of another
depends on whether their motions agree (`bind.data.sources.toy.agreement`): 1 is possible, 0.75 for any sum, chance 0.5.

Beside the package's heads stands `sum_of_networks`, a network for each input, whose outputs are added: as many weights
as other heads have, but a sum. Each finished cell (head, seed) is a JSON file in --out and is not done again;
--times alone measures how long heads take, for an idle machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bind.data.sources.toy.agreement import MOTION, AgreementSource
from bind.data.sources.toy.world import FACTORS
from bind.files.writing import write_text
from bind.fusion.attention import AttentionFusion
from bind.fusion.early import EarlyFusion
from bind.fusion.gated import GatedFusion
from bind.fusion.learned import LearnedFusion
from bind.fusion.low_rank_tensor import LowRankTensorFusion
from bind.fusion.mlp import MLPFusion
from bind.fusion.qformer import QFormerFusion
from bind.losses import InfoNCE
from bind.metrics.additive import additive_ceiling, interaction_ceiling
from bind.metrics.ceiling import share_of_ceiling
from bind.model.binder import Binder
from bind.types import Modality

INPUTS: tuple[Modality, Modality] = ("audio", "imu")
BATCH_SIZE = 256
CHUNK = 256
"""Samples that are rendered at a time."""


class SumOfNetworks(LearnedFusion):
    """The plain sum and, added to it, what a network says of each input alone: weights in plenty, and still a sum."""

    kind = "sum_of_networks"

    def __init__(self, *, inputs: Sequence[Modality], dim: int, hidden_width: int = 256) -> None:
        super().__init__(inputs, modality_dropout=0.3)
        self.networks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden_width), nn.GELU(), nn.Linear(hidden_width, dim))
            for _ in self.inputs
        )

    def fuse(self, z_BMD: Tensor, present_BM: Tensor) -> Tensor:
        added = [network(z_BD) for network, z_BD in zip(self.networks, z_BMD.unbind(dim=1), strict=True)]
        return ((z_BMD + torch.stack(added, dim=1)) * present_BM[..., None]).sum(dim=1)


HEADS: Mapping[str, Callable[[int], nn.Module]] = {
    "early": lambda dim: EarlyFusion(inputs=INPUTS),
    "attention": lambda dim: AttentionFusion(inputs=INPUTS, dim=dim),
    "sum_of_networks": lambda dim: SumOfNetworks(inputs=INPUTS, dim=dim),
    "gated": lambda dim: GatedFusion(inputs=INPUTS, dim=dim),
    "low_rank_tensor": lambda dim: LowRankTensorFusion(inputs=INPUTS, dim=dim),
    "mlp": lambda dim: MLPFusion(inputs=INPUTS, dim=dim),
    "qformer": lambda dim: QFormerFusion(inputs=INPUTS, dim=dim),
}
"""Name → head with its default sizes, of vectors of `dim`."""


@dataclass(frozen=True)
class Task:
    """Find the pool item of the same group, from vectors of both inputs.

    Attributes:
        train, queries: vectors (N, D) of each input.
        train_target: vectors (N, D) of what belongs to each row.
        train_groups, query_groups, pool_groups: int64.
        pool: vectors (P, D).
        ceiling: the best R@1.
        additive_ceiling: the best R@1 of a sum.
    """

    train: Mapping[Modality, Tensor]
    train_target: Tensor
    train_groups: Tensor
    queries: Mapping[Modality, Tensor]
    query_groups: Tensor
    pool: Tensor
    pool_groups: Tensor
    ceiling: float
    additive_ceiling: float

    @property
    def chance(self) -> float:
        return 1 / len(self.pool)

    def recall(self, head: nn.Module, missing: Modality | None = None) -> float:
        """R@1 of a head, perhaps with one input missing; a tie counts against the query."""
        num_queries = len(self.query_groups)
        present = {m: torch.full((num_queries,), m != missing) for m in INPUTS}
        with torch.no_grad():
            scores_QP = head.eval()(self.queries, present) @ self.pool.T
        is_right_QP = self.query_groups[:, None] == self.pool_groups
        best_wrong_Q = scores_QP.masked_fill(is_right_QP, float("-inf")).amax(dim=1)
        best_right_Q = scores_QP.masked_fill(~is_right_QP, float("-inf")).amax(dim=1)
        return float((best_right_Q > best_wrong_Q).float().mean())


def embed(binder: Binder, source: AgreementSource, split: str, folder: Path) -> dict[Modality, Tensor]:
    """Frozen vectors of a split, written once; the nuisance of every sample is its fixed one."""
    modalities, num_samples = source.modalities(), len(source.samples(split))
    path = folder / f"{source.name}_{split}_{num_samples}.pt"
    if not path.is_file():
        started, parts = time.perf_counter(), []
        for start in range(0, num_samples, CHUNK):
            rows = source.fetch(split, range(start, min(start + CHUNK, num_samples)), modalities, None)
            parts.append([binder.embed(m, [row[m][0] for row in rows]) for m in modalities])
        torch.save({m: torch.cat(part) for m, part in zip(modalities, zip(*parts, strict=True), strict=True)}, path)
        print(f"embedded {source.name}, {split}: {time.perf_counter() - started:.0f} s", flush=True)
    vectors: dict[Modality, Tensor] = torch.load(path, weights_only=True)
    return vectors


def make_task(binder: Binder, folder: Path, split: str, num_train: int) -> Task:
    """Which of two texts belongs to a sound and a trace; a sum is capped at 0.75."""
    source = AgreementSource(num_train=num_train)
    train, queries = (embed(binder, source, s, folder) for s in ("train", split))
    groups = {
        s: torch.tensor([sample.group == "agree" for sample in source.samples(s)]).long() for s in ("train", split)
    }
    first = [int((groups[split] == group).int().argmax()) for group in (0, 1)]
    print(f"told rightly from the motions that nearest means read: {read_agreement(source, train, queries, split):.4f}")
    counts_2MM = source.counts(split)
    return Task(
        train,
        train["text"],
        groups["train"],
        {m: queries[m] for m in INPUTS},
        groups[split],
        queries["text"][first],
        torch.tensor([0, 1]),
        interaction_ceiling(counts_2MM),
        additive_ceiling(counts_2MM),
    )


def read_agreement(
    source: AgreementSource, train: Mapping[Modality, Tensor], queries: Mapping[Modality, Tensor], split: str
) -> float:
    """How often the motions that a nearest mean reads from both vectors tell rightly whether they agree."""
    read, true = [], []
    for m in INPUTS:
        motion_N = torch.from_numpy(source.combinations("train", m)[:, MOTION])
        center_D = train[m].mean(dim=0)
        means_MD = torch.stack([train[m][motion_N == motion].mean(dim=0) for motion in range(len(FACTORS["motion"]))])
        scores_QM = (queries[m] - center_D) @ nn.functional.normalize(means_MD - center_D).T
        read.append(scores_QM.argmax(dim=1))
        true.append(torch.from_numpy(source.combinations(split, m)[:, MOTION]))
    return float(((read[0] == read[1]) == (true[0] == true[1])).float().mean())


def train_head(head: nn.Module, task: Task, steps: int, lr: float) -> None:
    """`steps` of the package's loss between the fused vector and the target, in place."""
    loss = InfoNCE()
    optimizer = torch.optim.AdamW([*head.parameters(), *loss.parameters()], lr=lr, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.05)
    present = {m: torch.ones(BATCH_SIZE, dtype=torch.bool) for m in INPUTS}
    head.train()
    for _ in range(steps):
        rows = torch.randperm(len(task.train_groups))[:BATCH_SIZE]
        optimizer.zero_grad()
        z_BD = head({m: task.train[m][rows] for m in INPUTS}, present)
        loss(z_BD, task.train_target[rows], task.train_groups[rows]).backward()
        optimizer.step()
        schedule.step()
        loss.clamp_()


def measure_cell(task: Task, name: str, seed: int, steps: int, lr: float) -> dict[str, Any]:
    """R@1 of one head and seed, whole and with one input missing."""
    torch.manual_seed(seed)
    head, started = HEADS[name](task.pool.shape[1]), time.perf_counter()
    weights = list(head.parameters())
    if weights:
        train_head(head, task, steps, lr)
    return {
        "R@1": task.recall(head),
        **{f"R@1 without {m}": task.recall(head, missing=m) for m in INPUTS},
        "parameters": sum(p.numel() for p in weights),
        "seconds": time.perf_counter() - started,
        "chance": task.chance,
        "ceiling": task.ceiling,
        "additive_ceiling": task.additive_ceiling,
    }


def measure_times(dim: int, folder: Path) -> None:
    """Median ms of a head over 256 rows on this machine: forward, and forward and backward."""
    z = {m: nn.functional.normalize(torch.randn(BATCH_SIZE, dim)) for m in INPUTS}
    present = dict.fromkeys(INPUTS, torch.ones(BATCH_SIZE, dtype=torch.bool))
    for name, make in HEADS.items():
        head = make(dim)
        milliseconds: list[float] = []
        with torch.no_grad():
            for _ in range(60):
                started = time.perf_counter()
                head.eval()(z, present)
                milliseconds.append(1000 * (time.perf_counter() - started))
        write_text(folder / f"times_{name}.json", json.dumps(statistics.median(milliseconds[10:])))


def print_table(folder: Path, cells_name: str, seeds: Sequence[int]) -> None:
    """One line a head, in Markdown: share of the ceiling and R@1, whole and with one input missing."""
    title = ["head", "share of the ceiling", "R@1", *(f"without {m}" for m in INPUTS), "parameters", "ms"]
    print(f"\n| {' | '.join(title)} |\n|{'---|' * len(title)}")
    for name in HEADS:
        paths = [folder / f"{cells_name}_{name}_{seed}.json" for seed in seeds]
        cells = [json.loads(path.read_text()) for path in paths if path.is_file()]
        if not cells:
            continue
        shares = [share_of_ceiling(cell["R@1"], cell["chance"], cell["ceiling"]) for cell in cells]
        recalls = [[cell[key] for cell in cells] for key in ("R@1", *(f"R@1 without {m}" for m in INPUTS))]
        times = folder / f"times_{name}.json"
        ms = f"{json.loads(times.read_text()):.2f}" if times.is_file() else "–"
        figures = [mean_and_spread(x) for x in (shares, *recalls)]
        print(f"| {' | '.join([name, *figures, format(cells[0]['parameters'], ','), ms])} |", flush=True)


def mean_and_spread(values: Sequence[float]) -> str:
    """`0.998 ± 0.001`, over seeds, or the number alone where there are no several."""
    if len(set(values)) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run on the toy world")
    parser.add_argument("--out", type=Path, required=True, help="where vectors and finished cells are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=list(HEADS))
    parser.add_argument("--split", default="test", choices=["val", "test"])
    parser.add_argument("--num-train", type=int, default=9600)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--times", action="store_true", help="measure how long heads take, and nothing else")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    binder = Binder.load(options.run).eval()
    if options.times:
        measure_times(binder.dim, options.out)
        return
    task = make_task(binder, options.out, options.split, options.num_train)
    cells = f"agreement_{options.split}_{options.num_train}_{options.steps}_{options.lr:g}"
    for name in options.heads:
        for seed in options.seeds:
            path = options.out / f"{cells}_{name}_{seed}.json"
            if not path.is_file():
                cell = measure_cell(task, name, seed, options.steps, options.lr)
                write_text(path, json.dumps(cell, indent=1))
                print(name, seed, {k: round(v, 4) for k, v in cell.items()}, flush=True)
    print_table(options.out, cells, options.seeds)
    print(f"\nchance {task.chance:.4f}, ceiling {task.ceiling:.4f}, that of a sum {task.additive_ceiling:.4f}")


if __name__ == "__main__":
    main()
