"""InfoNCE in tiles against the formula on the matrix of all pairs and against open_clip's ClipLoss. One table.

Seconds are those of a forward and a backward pass, imports and inputs outside of the clock: the median of --repeats
rounds, in each of which the losses take turns, so that what else the machine does hits all of them alike. Memory is
the peak above what was there before the step and the gradients' own size: on a CPU the resident memory of a process of
its own (Linux only), on a GPU what its allocator gave out. Products are the matrix products that a loss needs at N
rows, 2 * N * N * D operations each; their rate is given as a share of the device's own on large square matrices.

    pip install -e ".[benchmarks]"
    python benchmarks/loss.py
    python benchmarks/loss.py --device cuda --rows 32768 131072 --dim 1024
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from bind.losses import info_nce

MIB = 2**20


def formula(z_a: Tensor, z_b: Tensor, scale: Tensor) -> Tensor:
    logits_NN = scale * (z_a @ z_b.T)
    own = torch.arange(len(z_a), device=z_a.device)
    return (F.cross_entropy(logits_NN, own) + F.cross_entropy(logits_NN.T, own)) / 2


def clip_loss(z_a: Tensor, z_b: Tensor, scale: Tensor) -> Tensor:
    from open_clip.loss import ClipLoss

    loss: Tensor = ClipLoss()(z_a, z_b, scale)
    return loss


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "ClipLoss": clip_loss,
    "formula": formula,
    "tiles": info_nce,
}
# Logits and a gradient per trained side; ClipLoss makes the logits twice, the tiles all but the last once more.
PRODUCTS = {"ClipLoss": (4, 6), "formula": (2, 3), "tiles": (3, 4)}
TRAINED = ("one side", "both sides")
# Time and memory relative to ClipLoss on two CPU threads at D = 512, by rows and trained sides.
TARGETS = {
    (1024, "one side"): (1.0, None),
    (1024, "both sides"): (1.0, None),
    (16_384, "one side"): (0.6, 1 / 25),
    (16_384, "both sides"): (0.8, None),
}


class Step:
    """One forward and backward pass; `trained` is `one side` or `both sides`, and always the scale."""

    def __init__(self, loss: str, num_rows: int, dim: int, trained: str, scale: float, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        z_a, z_b = (F.normalize(torch.randn(num_rows, dim, generator=generator), dim=1).to(device) for _ in range(2))
        self.loss = LOSSES[loss]
        self.inputs = (z_a.requires_grad_(), z_b.requires_grad_(trained == "both sides"))
        self.scale = torch.tensor(scale, device=device, requires_grad=True)
        self.gradient_bytes = sum(z.numel() * z.element_size() for z in self.inputs if z.requires_grad)

    def __call__(self) -> None:
        for tensor in (*self.inputs, self.scale):
            tensor.grad = None
        self.loss(*self.inputs, self.scale).backward()
        if self.scale.is_cuda:
            torch.cuda.synchronize()


def resident_bytes(field: str) -> int:
    """`VmRSS` now or `VmHWM`, the peak since it was cleared."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def extra_bytes(options: argparse.Namespace, loss: str, num_rows: int, trained: str) -> int | None:
    """Peak memory of a step beyond its gradients; None where the device has too little."""
    step = Step(loss, num_rows, options.dim, trained, options.scale, options.device)
    Step(loss, 64, options.dim, trained, options.scale, options.device)()  # what libraries keep for themselves
    if options.device.type == "cpu":
        Path("/proc/self/clear_refs").write_text("5")
        before = resident_bytes("VmRSS")
        step()
        return resident_bytes("VmHWM") - before - step.gradient_bytes
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    try:
        step()
    except torch.cuda.OutOfMemoryError:
        return None
    return torch.cuda.max_memory_allocated() - before - step.gradient_bytes


def extra_bytes_in_own_process(options: argparse.Namespace, *which: object) -> int:
    own = ["--own-process", *map(str, which), "--dim", options.dim, "--scale", options.scale]
    command = [sys.executable, __file__, *own, "--threads", options.threads]
    return int(subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout)


def median_seconds(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if repeat > 0:  # the first round warms up
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def matmul_rate(device: torch.device) -> float:
    """Operations per second of square fp32 products, the best of several."""
    size = 4096 if device.type == "cpu" else 16_384
    x = torch.randn(size, size, device=device)
    best = 0.0
    for _ in range(5):
        started = time.perf_counter()
        x @ x
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def compare(options: argparse.Namespace, num_rows: int, trained: str, rate: float) -> list[str]:
    """Prints a block of the table; what misses its target."""
    measure = extra_bytes if options.device.type == "cuda" else extra_bytes_in_own_process
    extra = {name: measure(options, name, num_rows, trained) for name in LOSSES}
    make = (options.dim, trained, options.scale, options.device)
    seconds = median_seconds(
        {name: Step(name, num_rows, *make) for name in LOSSES if extra[name] is not None}, options.repeats
    )
    for name, taken in seconds.items():
        operations = PRODUCTS[name][TRAINED.index(trained)] * 2 * num_rows**2 * options.dim
        relative = f"{taken / seconds['ClipLoss']:5.2f}" if "ClipLoss" in seconds else "    -"
        memory, other = extra[name] or 0, extra["ClipLoss"]
        less = f"1/{other / max(memory, 1):<5.1f}" if other else "-      "
        print(
            f"{num_rows:8,d} {trained:11s} {name:9s} {taken * 1e3:10.1f} {relative:>8s} "
            f"{memory / MIB:10.1f} {less:>9s} {operations / taken / rate:9.2f}",
            flush=True,
        )
    for name in LOSSES.keys() - seconds.keys():
        print(f"{num_rows:8,d} {trained:11s} {name:9s} does not fit")
    return missed_targets(options, num_rows, trained, seconds, extra)


def missed_targets(
    options: argparse.Namespace, num_rows: int, trained: str, seconds: dict[str, float], extra: dict[str, int | None]
) -> list[str]:
    time_target, memory_target = TARGETS.get((num_rows, trained), (None, None))
    if (options.device.type, options.dim, options.threads) != ("cpu", 512, 2) or time_target is None:
        return []
    found = {"time": (seconds["tiles"] / seconds["ClipLoss"], time_target)}
    if memory_target is not None and (ours := extra["tiles"]) is not None and (other := extra["ClipLoss"]):
        found["memory"] = (ours / other, memory_target)
    return [
        f"{what} at {num_rows:,} rows, {trained}: {ratio:.3f} of ClipLoss instead of {target:.3f}"
        for what, (ratio, target) in found.items()
        if ratio > target
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1024, 16_384], help="N, the pairs in a batch")
    parser.add_argument("--dim", type=int, default=512, help="D, the size of an embedding")
    parser.add_argument("--scale", type=float, default=1 / 0.07, help="1 / temperature")
    parser.add_argument("--repeats", type=int, default=20, help="rounds that the median is over")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--precision", default="high", help="of fp32 products on a GPU; high, as in training, is TF32")
    parser.add_argument("--own-process", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision(options.precision)
    if options.own_process:
        loss, num_rows, trained = options.own_process
        print(extra_bytes(options, loss, int(num_rows), trained))
        return

    rate = matmul_rate(options.device)
    print(f"{options.device}, D = {options.dim}, products at {rate / 1e12:.2f} Tflop/s, median of {options.repeats}\n")
    print("    rows trained     loss              ms of ClipLoss  extra MiB of ClipLoss of product rate")
    failures = []
    for num_rows in options.rows:
        for trained in TRAINED:
            failures += compare(options, num_rows, trained, rate)
    if failures:
        raise SystemExit("missed: " + "; ".join(failures))


if __name__ == "__main__":
    main()
