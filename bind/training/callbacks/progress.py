"""How far a training is: a bar on a terminal, plain lines in a file or pipe."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar, Timer
from rich.console import Console

from bind.training.callbacks.early_validation import is_early
from bind.training.forecast import format_seconds

MIN_STEPS_TO_TELL = 3
"""After the first one, before the time left is told."""


class ProgressBar(RichProgressBar):
    """A bar with the loss and the monitored metric; where no bar can be drawn, a line for every validation.

    Args:
        monitor: the metric that stands in the lines beside the loss.
        seconds_between_lines: after so long without a validation a line is printed as well.
    """

    def __init__(self, monitor: str, seconds_between_lines: float = 60.0) -> None:
        super().__init__(refresh_rate=4)
        self.monitor = monitor
        self.seconds_between_lines = seconds_between_lines
        self._prints_lines = False
        self._early_since: float | None = None

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, module, stage)
        screen = Console()
        if not (screen.is_interactive or screen.is_jupyter):
            self.disable()
            self._prints_lines = trainer.is_global_zero

    def get_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        # v_num would be the logger's version, which says nothing here.
        return {name: value for name, value in super().get_metrics(*args, **kwargs).items() if name != "v_num"}

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        super().on_train_start(trainer, module)
        self._first_step = trainer.global_step
        self._num_rows = 0
        self._started = self._printed_at = time.monotonic()
        self._typical_since: float | None = None

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)
        self._num_rows += len(batch) * trainer.world_size
        if self._typical_since is None and trainer.global_step > self._first_step:
            self._typical_since = time.monotonic()
        if self._prints_lines and time.monotonic() - self._printed_at >= self.seconds_between_lines:
            self._print_line(trainer)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        super().on_validation_start(trainer, module)
        self._early_since = time.monotonic() if not trainer.sanity_checking and is_early(trainer) else None

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        super().on_validation_end(trainer, module)
        if self._early_since is not None and self._typical_since is not None:
            self._typical_since += time.monotonic() - self._early_since
        if self._prints_lines and not trainer.sanity_checking:
            self._print_line(trainer, self.monitor)

    def _print_line(self, trainer: L.Trainer, *validated: str) -> None:
        """Print a line; rate and time left are of this process's training so far, validations included.

        The time left is not told from the first step, in which workers start and files are opened, nor from the early
        validations, of which no more come.
        """
        self._printed_at = time.monotonic()
        seconds, step = self._printed_at - self._started, trainer.global_step
        schedule = getattr(trainer.lightning_module, "schedule", None)
        total = schedule.total_steps if schedule else trainer.estimated_stepping_batches
        parts = [f"step {step}" + (f"/{int(total)}" if total != float("inf") else "")]
        parts.append(f"epoch {trainer.current_epoch + 1}" + (f"/{e}" if (e := trainer.max_epochs or 0) > 0 else ""))
        known = trainer.callback_metrics
        parts += [f"{name} {float(known[name]):.3f}" for name in ("train/loss", *validated) if name in known]
        if self._num_rows:  # none yet in a run that goes on in a validation
            parts.append(f"{self._num_rows / seconds:,.0f} samples/s")
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        left = [timer.time_remaining() for timer in callbacks if isinstance(timer, Timer)]
        num_later = step - self._first_step - 1
        if num_later >= MIN_STEPS_TO_TELL and step < total < float("inf"):
            assert self._typical_since is not None
            left.append((total - step) * (self._printed_at - self._typical_since) / num_later)
        if known_left := [x for x in left if x is not None]:
            parts.append(f"{format_seconds(min(known_left))} left")
        print(", ".join(parts), flush=True)
