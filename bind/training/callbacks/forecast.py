"""A forecast of a training by a few trial steps, which leave nothing behind, and what it took in the end."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from torch import Tensor

from bind.cache.build import format_bytes
from bind.files.writing import write_bytes
from bind.processes.memory import peak_bytes
from bind.training.forecast import Cost, Forecast
from bind.training.lengths import Lengths, lengths_of
from bind.training.module import BindingModule
from bind.training.trial import batch_seconds, optimizer_seconds, trial_requests, undone, validation_seconds

log = logging.getLogger("bind")

PROBE_NAME, PROBE_BYTES = "speed_of_the_disk", 2**24
"""Written once, to see how fast checkpoints will be."""
FILES_AT_ONCE = 1.5
"""A new checkpoint is written beside the one whose place it takes."""
BYTES_BESIDE_A_TENSOR = 150
"""Its name and place in a file of weights, about."""


class ForecastCosts(L.Callback):
    """Prints what the training will take, before its first step, and beside it in the end what it took.

    The trial steps are taken on the first batches of the training. Weights, optimizer, random numbers and the place in
    the data are then as they were: a run with a forecast is, bit for bit, the run without one.

    Args:
        folder: the run directory, for `forecast.json`.
        num_trial_steps: on real batches.
        min_steps: a training with fewer left begins at once.

    Raises:
        ValueError: a number below 1.

    Examples:
        >>> ForecastCosts("runs/mine", min_steps=500).num_trial_steps
        6
    """

    def __init__(self, folder: str | Path, num_trial_steps: int = 6, min_steps: int = 200) -> None:
        for name, number in (("num_trial_steps", num_trial_steps), ("min_steps", min_steps)):
            if not isinstance(number, int) or number < 1:
                raise ValueError(
                    f"callbacks.forecast.{name}={number}: give a number of steps from 1 on; callbacks.forecast=null "
                    "switches the forecast off"
                )
        self.folder = Path(folder)
        self.num_trial_steps, self.min_steps = num_trial_steps, min_steps
        self.forecast: Forecast | None = None
        self._started = self._seconds = 0.0
        self._peaks: tuple[int, int | None] = 0, None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        assert isinstance(module, BindingModule)
        self.forecast = None
        lengths = lengths_of(trainer, module)
        if lengths is not None and lengths.num_steps >= self.min_steps:
            self.forecast = self._try(trainer, module, lengths)
            if trainer.is_global_zero:
                print(self.forecast.describe(), flush=True)
                self.forecast.write(self.folder)
                self._warn_of_full_disk(self.forecast.expected.disk_bytes)
        self._started = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._seconds = time.perf_counter() - self._started
        self._peaks = peak_bytes(), device_peak_bytes(module.device)

    def compare(self) -> None:
        """Print and write what the training took, whose binder has been saved, beside the forecast if there was one."""
        if self.forecast is None:
            return
        files = [path for name in ("checkpoints", "binder", "logs") for path in (self.folder / name).rglob("*")]
        happened = Cost(self._seconds, *self._peaks, sum(path.stat().st_size for path in files if path.is_file()))
        print(self.forecast.compare(happened))
        self.forecast.write(self.folder, happened)

    def _try(self, trainer: L.Trainer, module: BindingModule, lengths: Lengths) -> Forecast:
        started = time.perf_counter()
        loader: Any = trainer.train_dataloader
        # A plan of its own: the loader goes on with the one it has.
        data, start = trainer.datamodule, loader.sampler.start_step  # type: ignore[attr-defined]
        plan = data.train_plan(start, trainer.global_rank, trainer.world_size)
        peak_before = peak_bytes()
        with undone(trainer, module) as copied_bytes:
            of_sources = batch_seconds(trainer, module, trial_requests(plan, self.num_trial_steps))
            of_step = optimizer_seconds(trainer, module)
            of_validation = validation_seconds(trainer, module) if lengths.num_validations else 0.0
        shares = {source: plan.probabilities[source] for source in of_sources}
        of_batch = sum(shares[source] * of_sources[source] for source in of_sources) / sum(shares.values())
        checkpoint_bytes, binder_bytes = saved_bytes(module)
        of_checkpoint = self._write_seconds_per_byte(trainer) * checkpoint_bytes
        seconds = lengths.num_batches * of_batch + lengths.num_steps * of_step
        seconds += lengths.num_validations * of_validation + lengths.num_checkpoints * of_checkpoint
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        ends = [left for c in callbacks if isinstance(c, Timer) and (left := c.time_remaining()) is not None]
        num_files = 1 + sum(max(0, c.save_top_k) for c in callbacks if isinstance(c, ModelCheckpoint))
        expected = Cost(
            seconds=float(min([seconds, *ends])),
            memory_bytes=max(peak_before, peak_bytes() - copied_bytes),
            device_memory_bytes=device_peak_bytes(module.device),
            disk_bytes=num_files * checkpoint_bytes + binder_bytes,
        )
        return Forecast(lengths.num_steps, lengths.num_validations, expected, time.perf_counter() - started)

    def _write_seconds_per_byte(self, trainer: L.Trainer) -> float:
        """How long this disk takes, synced as checkpoints are."""
        if not trainer.is_global_zero:
            return 0.0
        path = self.folder / PROBE_NAME
        started = time.perf_counter()
        write_bytes(path, bytes(PROBE_BYTES))
        seconds = time.perf_counter() - started
        path.unlink()
        return seconds / PROBE_BYTES

    def _warn_of_full_disk(self, disk_bytes: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < disk_bytes * FILES_AT_ONCE:
            log.warning(
                "the disk of %s has %s left, and the training will write %s: make room, or choose another run_dir",
                self.folder,
                format_bytes(free),
                format_bytes(disk_bytes),
            )


def saved_bytes(module: BindingModule) -> tuple[int, int]:
    """The bytes of a checkpoint and of the saved binder: their weights, and two moments of each that AdamW trains."""
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict(), "global_step": 0}
    module.on_save_checkpoint(checkpoint)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    weights = _bytes_in_file(checkpoint["state_dict"].values())
    return weights + 2 * _bytes_in_file(trained), _bytes_in_file(module.binder.own_state_dict().values())


def _bytes_in_file(tensors: Iterable[Tensor]) -> int:
    return sum(x.numel() * x.element_size() + BYTES_BESIDE_A_TENSOR for x in tensors)


def device_peak_bytes(device: torch.device) -> int | None:
    """The most that tensors of this process took on its GPU at a time; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
