"""What data.chunk_size saves and costs. python benchmarks/chunks.py [--help]

Trains the small sound encoder of the toy world with one large batch per step, plain and in chunks, each in a process of
its own without dropout and masks, and prints the loss, the time per step and the peak of memory above what lies there
between two steps. Linux only on the CPU: it reads a process's peak memory from /proc.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch

import bind

WARM_UP_STEPS = 2
# A chunk draws random numbers of its own; without any, the losses agree.
STILL = ["encoder.audio.dropout=0", "encoder.audio.num_time_masks=0", "encoder.audio.num_mel_masks=0"]


class Meter(L.Callback):
    """Seconds of each step's work on the batch, and the highest memory in it above what was held before it, in MiB."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.mib: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        self.held = held_mib()
        forget_peak()
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.losses.append(float(outputs["loss"]))
        if index >= WARM_UP_STEPS:
            self.seconds.append(time.perf_counter() - self.started)
            self.mib.append(peak_mib() - self.held)


def _status_mib(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def held_mib() -> float:
    return torch.cuda.memory_allocated() / 2**20 if torch.cuda.is_available() else _status_mib("VmRSS")


def peak_mib() -> float:
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else _status_mib("VmHWM")


def forget_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def measure(batch_size: int, chunk_size: int | None, steps: int, overrides: list[str]) -> tuple[float, float, float]:
    """Median seconds per step, peak MiB, and the last loss."""
    meter = Meter()
    with tempfile.TemporaryDirectory() as run_dir:
        job = [
            "modalities=[audio]",
            f"run_dir={run_dir}",
            f"data.batch_size={batch_size}",
            f"data.chunk_size={'null' if chunk_size is None else chunk_size}",
            f"data.num_train={batch_size}",
            "data.num_test_queries=1",
            f"data.steps_per_epoch={steps + WARM_UP_STEPS}",
            "trainer.max_epochs=1",
            "trainer.limit_val_batches=0",
            "trainer.enable_progress_bar=false",
            "evaluation.num_gallery_queries=0",
        ]
        bind.train([*job, *STILL, *overrides], callbacks=[meter])
    return statistics.median(meter.seconds), max(meter.mib), meter.losses[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--chunk-sizes", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("overrides", nargs="*", help="as for train.py")
    options = parser.parse_args()
    rows = []
    for chunk_size in [None, *options.chunk_sizes]:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(measure, (options.batch_size, chunk_size, options.steps, options.overrides)))
    plain = rows[0]
    print(f"\nbatch of {options.batch_size}")
    print(f"{'chunk':>8} {'s/step':>8} {'of plain':>9} {'MiB':>9} {'of plain':>9}  loss")
    for chunk_size, (seconds, mib, loss) in zip(["plain", *options.chunk_sizes], rows, strict=True):
        ratios = f"{seconds:8.2f} {seconds / plain[0]:9.2f} {mib:9.0f} {mib / plain[1]:9.2f}"
        print(f"{chunk_size:>8} {ratios}  {loss:.6f}")


if __name__ == "__main__":
    main()
