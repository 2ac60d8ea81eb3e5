"""Does a step cost what docs/scaling.md says? 1, 2 and 4 processes on this machine, each figure beside its prediction.

Every process has one thread and equally many rows, so a step should take equally long everywhere; where there are more
processes than cores, what is computed takes processes / cores times as long.

(a) A training step: the small sound encoder against cached vectors of the toy anchor, the same batch again and again,
    so that nothing waits for data. Predicted from the time of one process and the time that the collectives need.
(b) The loss alone, on more and longer vectors: time, bytes received, memory beyond the vectors that it is given.

    python benchmarks/scaling.py [--processes 1 2 4] [--steps 60]

Linux only: it reads a process's peak memory from /proc.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import gc
import itertools
import logging
import os
import re
import socket
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.nn.functional import normalize

from bind.anchors.dual_encoder import PretrainedAnchor
from bind.encoders.audio_cnn import AudioCNN
from bind.encoders.heads import ProjectionHead
from bind.losses import info_nce
from bind.losses.grid import tile_rows
from bind.model.binder import Binder
from bind.training.module import BindingModule
from bind.training.sharding import ShardedStrategy
from bind.types import Batch, Pair

SAMPLE_RATE_HZ = 16_000
STEP_ROWS = 64
LOSS_ROWS, LOSS_DIM = 4096, 256
NUM_WARM_UP = 10
NUM_COLLECTIVES = 9  # of a DDP step: 5 of the loss, 2 of the log, the gradients, which of them are unused
NUM_REPEATS = 5
MIB = 2**20
M_MMAP_THRESHOLD = -3  # of malloc.h

STRATEGIES: dict[str, Callable[[], Any]] = {
    "ddp": lambda: DDPStrategy(find_unused_parameters=True, gradient_as_bucket_view=True),
    "ddp, all used": lambda: DDPStrategy(find_unused_parameters=False, gradient_as_bucket_view=True),
    "fsdp": ShardedStrategy,
}


class Clock(L.Callback):
    """Seconds from the start of each step to the start of the next."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_batch_start(self, *args: Any) -> None:
        self.starts.append(time.perf_counter())

    def median(self) -> float:
        starts = self.starts[NUM_WARM_UP:]
        return statistics.median(later - start for start, later in itertools.pairwise(starts))


def train(num_processes: int, strategy: str, num_steps: int) -> dict[str, float]:
    """Seconds a step, and bytes that this process grew by."""
    torch.manual_seed(dist.get_rank() if dist.is_initialized() else 0)
    audio = AudioCNN(sample_rate_hz=SAMPLE_RATE_HZ)
    anchor = PretrainedAnchor("toy")
    binder = Binder(
        anchor, {"audio": audio}, {"audio": ProjectionHead(num_features=audio.num_features, dim=anchor.dim)}, {}
    )
    module = BindingModule(binder, [Pair("audio", "image")])
    rows = torch.arange(STEP_ROWS)
    batch = Batch(
        keys=[str(row) for row in range(STEP_ROWS)],
        group_ids_B=rows,
        inputs={"audio": torch.randn(STEP_ROWS, SAMPLE_RATE_HZ)},
        rows={"audio": rows, "image": rows},
        cached={"image": unit(STEP_ROWS, anchor.dim)},
        modalities=("audio", "image"),
    )
    clock = Clock()
    trainer = L.Trainer(
        accelerator="cpu",
        devices=num_processes,
        strategy=STRATEGIES[strategy]() if strategy in STRATEGIES else "auto",
        max_steps=num_steps + NUM_WARM_UP,
        callbacks=[clock],
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    batches: Any = [batch] * (num_steps + NUM_WARM_UP)
    loader: Any = torch.utils.data.DataLoader(batches, batch_size=None)
    _, grown = peak_growth(lambda: trainer.fit(module, loader))
    num_parameters = sum(p.numel() for p in (*binder.encoders.parameters(), *binder.heads.parameters()))
    return {"seconds": clock.median(), "memory": grown, "parameters": num_parameters}


def loss_alone() -> dict[str, float]:
    """Seconds of value and gradients, bytes received, bytes of memory beyond the vectors."""
    z_a, z_b = unit(LOSS_ROWS, LOSS_DIM).requires_grad_(), unit(LOSS_ROWS, LOSS_DIM)
    scale = torch.tensor([14.0], requires_grad=True)
    first = LOSS_ROWS * (dist.get_rank() if dist.is_initialized() else 0)
    groups = torch.arange(first, first + LOSS_ROWS)

    def once() -> None:
        info_nce(z_a, z_b, scale, groups=groups).backward()

    seconds = median_seconds(once)
    received = bytes_received(once)
    z_a.grad = None
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, MIB)  # what is freed goes back at once, or the peak holds fragments too
    _, grown = peak_growth(once)
    mallopt(M_MMAP_THRESHOLD, 32 * MIB)
    return {"seconds": seconds, "memory": grown, "received": received}


def links() -> dict[str, float]:
    """Of this many processes: seconds of the smallest collective, bytes per second in and out in larger ones."""
    x = torch.randn(4 * MIB // 4)
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    one = torch.zeros(1)
    others = dist.get_world_size() - 1
    return {
        "latency": median_seconds(lambda: dist.all_reduce(one)),
        "gather": 4 * MIB * others / median_seconds(lambda: dist.all_gather(parts, x)),
        "reduce": 8 * MIB * others / dist.get_world_size() / median_seconds(lambda: dist.all_reduce(x)),
    }


def matmul_rate() -> float:
    """FLOP/s of one thread at the loss's own product."""
    rows, columns = unit(LOSS_ROWS, LOSS_DIM), unit(LOSS_ROWS, LOSS_DIM)
    return 2 * LOSS_ROWS**2 * LOSS_DIM / median_seconds(lambda: rows @ columns.T)


def unit(num_rows: int, dim: int) -> Tensor:
    return normalize(torch.randn(num_rows, dim), dim=-1)


def median_seconds(job: Callable[[], Any]) -> float:
    times = []
    for _ in range(NUM_REPEATS + 2):
        if dist.is_initialized():
            dist.barrier()
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def peak_growth(job: Callable[[], Any]) -> tuple[Any, int]:
    """What `job` returns, and the bytes by which this process's memory rose above where it stood before."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory("VmRSS")
    result = job()
    return result, memory("VmHWM") - before


def memory(field: str) -> int:
    figures = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert figures
    return 1024 * int(figures[1])


def bytes_received(job: Callable[[], Any]) -> float:
    """From other processes, in the collectives that `bind.distributed` calls."""
    if not dist.is_initialized():
        return 0.0
    received = 0.0
    others = dist.get_world_size() - 1
    # A ring: every part once to gather or to scatter sums, both for a sum that all keep.
    shares: dict[str, Callable[..., float]] = {
        "all_gather": lambda parts, x: others * x.nbytes,
        "reduce_scatter_tensor": lambda mine, x: others * mine.nbytes,
        "all_reduce": lambda x: 2 * others / dist.get_world_size() * x.nbytes,
    }
    original = {name: getattr(dist, name) for name in shares}

    def counted(name: str, *args: Any) -> Any:
        nonlocal received
        received += shares[name](*args)
        return original[name](*args)

    for name in shares:
        setattr(dist, name, functools.partial(counted, name))
    try:
        job()
    finally:
        for name, function in original.items():
            setattr(dist, name, function)
    return received


def worker(rank: int, port: int, counts: Sequence[int], num_steps: int, turn: Any, results: Any) -> None:
    """One process of every case that is large enough for it."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for number, count in enumerate(counts):
        turn.wait()
        if rank >= count:
            continue
        figures: dict[Any, Any] = {}
        if count == 1:
            figures["matmul"] = matmul_rate()
            figures["one process"] = train(1, "one process", num_steps)
            figures["loss"] = loss_alone()
        else:
            os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(count)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port + number)}
            for strategy in STRATEGIES:
                figures[strategy] = train(count, strategy, num_steps)
            figures["links"] = links()
            figures["loss"] = loss_alone()
            dist.destroy_process_group()
        if rank == 0:
            results.put((count, figures))


def table(figures: dict[int, dict[str, Any]]) -> str:
    one = figures[1]
    alone, cores = one["one process"], len(os.sched_getaffinity(0))
    flop = 6 * LOSS_ROWS**2 * LOSS_DIM
    lines = [
        f"{cores} cores, one thread per process: {one['matmul'] / 1e9:.1f} GFLOP/s of matrix products, "
        f"of which the loss reaches {flop / one['loss']['seconds'] / one['matmul']:.0%}"
    ]
    for count, case in figures.items():
        if count > 1:
            latency, gather, reduce = (case["links"][name] for name in ("latency", "gather", "reduce"))
            lines.append(
                f"{count} processes: {latency * 1e3:.2f} ms for the smallest collective, "
                f"{gather / 1e9:.2f} GB/s gathered, {reduce / 1e9:.2f} GB/s summed"
            )
    lines += [
        f"\n(a) a step, {STEP_ROWS} rows per process, {alone['parameters'] / 1e3:.0f} k parameters",
        row("processes", "strategy", "ms", "predicted", "MiB", "predicted"),
    ]
    for count, case in figures.items():
        for strategy in ("one process",) if count == 1 else STRATEGIES:
            x, seconds = case[strategy], max(1.0, count / cores) * alone["seconds"]
            if count > 1:
                weights = 4 * alone["parameters"] * (count - 1) / count
                seconds += NUM_COLLECTIVES * case["links"]["latency"] + 2 * weights / case["links"]["reduce"]
            measured = x["memory"] / MIB
            lines.append(row(count, strategy, x["seconds"] * 1e3, seconds * 1e3, measured, alone["memory"] / MIB))
    lines += [
        f"\n(b) the loss alone, {LOSS_ROWS} rows of {LOSS_DIM} per process, one side frozen",
        row("processes", "ms", "predicted", "MiB in", "predicted", "MiB", "predicted", "all logits"),
    ]
    for count, case in figures.items():
        x, num_rows = case["loss"], LOSS_ROWS * count
        vectors = 4 * LOSS_DIM * num_rows
        # Besides the vectors a group (8 bytes) and two sums (4 bytes each, summed: twice on the way) per row.
        incoming = (vectors + (8 + 2 * 2 * 4) * num_rows) * (count - 1) / count
        seconds = max(1.0, count / cores) * count * one["loss"]["seconds"]
        if count > 1:
            seconds += incoming / case["links"]["gather"]
        # Three tiles and two masks; the gathered vectors twice while they are put together; the rows' gradient twice.
        tile = num_rows * min(LOSS_ROWS, tile_rows(num_rows, torch.device("cpu")))
        grown = (3 * 4 + 2) * tile + (2 * vectors if count > 1 else 0) + 2 * vectors / count
        pairs = (incoming, x["memory"], grown, 4 * LOSS_ROWS * num_rows)
        received = x["received"] / MIB
        lines.append(row(count, x["seconds"] * 1e3, seconds * 1e3, received, *(n / MIB for n in pairs)))
    return "\n".join(lines)


def row(*cells: Any) -> str:
    return " ".join(f"{f'{cell:.1f}' if isinstance(cell, float) else cell:>13}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    counts = sorted({1, *options.processes})
    os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  # DDP's remark that no parameter is unused
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    turn, results = context.Barrier(counts[-1]), context.SimpleQueue()
    arguments = (port, counts, options.steps, turn, results)
    processes = torch.multiprocessing.spawn(worker, arguments, nprocs=counts[-1], join=False)
    processes.join()
    print(table(dict(sorted(results.get() for _ in counts))))


if __name__ == "__main__":
    main()
