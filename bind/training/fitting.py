"""Fitting of a batch to the memory there is: what a row of a training step takes, and how many rows there is room for.

Memory is measured on a few small batches and grows with the rows in a straight line. The rows of the final batch are
never tried on a CPU, where a process that takes too much is killed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from bind.data.datamodule import BindDataModule
from bind.data.plan import BatchPlan, BatchRequest
from bind.processes.memory import forget_peak, free_bytes, peak_bytes
from bind.training.module import BindingModule
from bind.types import Batch, Inputs

SHARE_OF_FREE = 0.8
"""The rest is for what the line does not say: fragments, evaluation, other processes."""
MAX_GLOBAL_BATCH = 32_768
"""More negatives than these bring next to nothing (Zhai et al., 2023, figure 2)."""
MIN_STEPS_PER_PASS = 32
"""Over the smallest source that trains: with fewer, larger steps an epoch teaches less, whatever the memory."""
FEW_ROWS, FEW_STEPS_PER_PASS = 32, 4
"""Of little data a batch may be a larger part, as it needs negatives."""
NUM_REAL_ROWS = 32
"""Which are loaded; larger trial batches repeat them."""
TRIAL_ROWS = (4, 16, 64, 256, 1024)
TRIAL_SECONDS = 15.0
"""After which no larger batch is tried."""
BYTES_OF_LOSS_PER_ROW = 16
"""And dimension of the space: both sides, gathered, with gradients."""


@dataclass(frozen=True)
class Room:
    """The rows that fit.

    Args:
        budget: bytes for activations and inputs of a step.
        row_bytes: of a row whose activations are all kept.
        kept_bytes: of a row of which only the input, the embedding and the loss are.

    Examples:
        >>> room = Room(budget=1000, row_bytes=10, kept_bytes=1)
        >>> room.rows(), room.rows(chunk_size=32), room.chunk(64), room.chunk(256), room.chunk(2048)
        (64, 512, None, 64, 0)
    """

    budget: int
    row_bytes: float
    kept_bytes: float

    def rows(self, chunk_size: int | None = None) -> int:
        """The largest power of two of rows that fits, with the activations of `chunk_size` of them; 0: none does."""
        whole = power_of_two(self.budget / self.row_bytes)
        if chunk_size is None or whole < chunk_size:
            return whole
        return max(whole, power_of_two((self.budget - chunk_size * self.row_bytes) / self.kept_bytes))

    def chunk(self, num_rows: int) -> int | None:
        """The largest power of two of rows whose activations fit beside a batch; None: those of all, 0: of none."""
        if num_rows * self.row_bytes <= self.budget:
            return None
        return power_of_two((self.budget - num_rows * self.kept_bytes) / self.row_bytes)


def power_of_two(x: float) -> int:
    """The largest power of two up to `x`; 0 below 1.

    Examples:
        >>> power_of_two(1.0), power_of_two(100.5), power_of_two(0.9)
        (1, 64, 0)
    """
    return 0 if x < 1 else 1 << (int(x).bit_length() - 1)


def most_rows(plan: BatchPlan, world_size: int) -> int:
    """The most rows per process that are worth a step on these data, a power of two from 1 on."""
    smallest = min(size for size, p in zip(plan.sizes, plan.probabilities, strict=True) if p > 0)
    worth = max(smallest / MIN_STEPS_PER_PASS, min(FEW_ROWS, smallest / FEW_STEPS_PER_PASS))
    return max(1, power_of_two(min(MAX_GLOBAL_BATCH, worth) / world_size))


def measure_room(
    module: BindingModule,
    datamodule: BindDataModule,
    precision: Any,
    *,
    device: torch.device,
    world_size: int,
    processes_here: int,
    max_rows: int,
) -> Room:
    """What there is room for on `device`, by trial steps without optimizer on batches of each source.

    Args:
        precision: of Lightning, whose context a step is computed in.
        processes_here: that share this machine's memory, where `device` is its CPU.
        max_rows: more are of no interest.

    Raises:
        ValueError: on a CPU whose system does not say what it has left.
    """
    if device.type == "cpu" and (free_bytes() is None or not forget_peak()):
        raise ValueError(
            "data.batch_size=auto and data.chunk_size=auto need a GPU, or Linux, which says what memory is free: give "
            "a number"
        )
    started = time.perf_counter()
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    weight_bytes = sum(x.numel() * x.element_size() for x in trained)
    row_bytes = kept_bytes = 0.0
    with isolate_rng(), torch.compiler.set_stance("force_eager"):
        for batch in first_batches(datamodule):
            of_source = _row_bytes(module, batch.to(device), precision, device, max_rows, started)
            row_bytes = max(row_bytes, of_source)
            inputs = sum(_num_bytes(x) for x in [*batch.inputs.values(), *batch.cached.values()])
            kept_bytes = max(kept_bytes, inputs / len(batch))
    for parameter in trained:
        parameter.grad = None
    module.forget_steps()
    gc.collect()
    # Inputs wait in memory of the CPU too: two batches of each loader process, and one that is being taken over.
    ahead = 2 * datamodule.num_workers + 1 if device.type == "cpu" else 0
    of_loss = BYTES_OF_LOSS_PER_ROW * module.binder.dim * len(module.pairs) * world_size
    row_bytes, kept_bytes = row_bytes + of_loss + ahead * kept_bytes, of_loss + (1 + ahead) * kept_bytes
    # Gradients, and the two moments of AdamW, are not there yet.
    budget = SHARE_OF_FREE * _free(device) / (processes_here if device.type == "cpu" else 1) - 3 * weight_bytes
    return Room(max(0, int(budget)), row_bytes, kept_bytes)


def first_batches(datamodule: BindDataModule) -> Iterator[Batch]:
    """Some rows of each source that trains, as its first step would order them."""
    plan = datamodule.train_plan()
    dataset = datamodule.dataset("train", datamodule.train_modalities, datamodule.cache, datamodule.views_of)
    for source, size in enumerate(plan.sizes):
        if plan.probabilities[source] > 0:
            order = plan.orders[source](np.random.default_rng([plan.seed, 1, source, 0]), size)
            rows = tuple(order[:NUM_REAL_ROWS].tolist())
            yield dataset[BatchRequest(source, rows, tuple((plan.seed, 2, 0, source, row) for row in rows))]


def _row_bytes(
    module: BindingModule, batch: Batch, precision: Any, device: torch.device, max_rows: int, started: float
) -> float:
    """What a row more adds to the peak of a step, by the two largest batches for which there is time."""
    peaks: dict[int, int] = {}
    for num_rows in (TRIAL_ROWS[0], *TRIAL_ROWS):  # the first once more: it finds nothing in memory yet
        before = time.perf_counter()
        peaks[num_rows] = peak_of_step(module, repeat_rows(batch, num_rows), precision, device)
        seconds = time.perf_counter() - before
        if len(peaks) < 2:
            continue
        is_late = time.perf_counter() - started + 4 * seconds > TRIAL_SECONDS
        if is_late or num_rows >= max_rows or _step_of(peaks) * 4 * num_rows > 0.5 * _free(device):
            break
    return max(1.0, _step_of(peaks))


def _step_of(peaks: dict[int, int]) -> float:
    (few, low), (many, high) = list(peaks.items())[-2:]
    return (high - low) / (many - few)


def peak_of_step(module: BindingModule, batch: Batch, precision: Any, device: torch.device) -> int:
    """The most memory while the gradients of a batch are computed; the loss stands aside, it asks other processes."""
    for parameter in module.parameters():
        parameter.grad = None
    with _watched(device) as peak, precision.train_step_context():
        sums = [x.float().sum() for x in module.binder(batch, None).z.values() if x.requires_grad]
        sums += [errors_B2.sum() for errors_B2 in module.masked.errors(module.binder, batch, seed=0, step=0).values()]
        if sums:
            torch.stack(sums).sum().backward()
    return peak[0]


@contextmanager
def _watched(device: torch.device) -> Iterator[list[int]]:
    peak: list[int] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.append(torch.cuda.max_memory_allocated(device))
    else:
        forget_peak()
        yield peak
        peak.append(peak_bytes())


def _free(device: torch.device) -> int:
    """Bytes that this process may still take there."""
    if device.type == "cuda":
        free_there, _ = torch.cuda.mem_get_info(device)
        return free_there + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = free_bytes()
    assert free is not None, "measure_room refuses a system that does not say it"
    return free


def repeat_rows(batch: Batch, num_rows: int) -> Batch:
    """A batch of `num_rows` rows: those of `batch` again and again.

    Examples:
        >>> batch = Batch(["a", "b"], torch.tensor([1, 2]), {"imu": torch.ones(1, 3)}, {"imu": torch.tensor([1])})
        >>> longer = repeat_rows(batch, 5)
        >>> len(longer), longer.inputs["imu"].shape, longer.rows["imu"]
        (5, torch.Size([2, 3]), tensor([1, 3]))
    """
    row_of = torch.arange(num_rows) % len(batch)
    rows: dict[str, Tensor] = {}
    items: dict[str, Tensor] = {}
    for modality, of_items in batch.rows.items():
        item_of = torch.full((len(batch),), -1)
        item_of[of_items] = torch.arange(len(of_items))
        rows[modality] = (item_of[row_of] >= 0).nonzero()[:, 0]
        items[modality] = item_of[row_of][rows[modality]]

    def take(inputs: Inputs, modality: str) -> Inputs:
        if isinstance(inputs, dict):
            return {name: x[items[modality].to(x.device)] for name, x in inputs.items()}
        return inputs[items[modality].to(inputs.device)]

    return replace(
        batch,
        keys=[batch.keys[row] for row in row_of.tolist()],
        group_ids_B=batch.group_ids_B[row_of.to(batch.group_ids_B.device)],
        inputs={m: take(x, m) for m, x in batch.inputs.items()},
        cached={m: x[items[m].to(x.device)] for m, x in batch.cached.items()},
        rows=rows,
    )


def _num_bytes(inputs: Inputs) -> int:
    tensors = inputs.values() if isinstance(inputs, dict) else [inputs]
    return sum(x.numel() * x.element_size() for x in tensors)
