"""`last.ckpt`, always the state between two steps, and the signals that ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from bind.files.writing import remove_partial_files
from bind.training.callbacks.csv_log import ContinuedCSVLogger
from bind.training.callbacks.early_validation import is_early
from bind.training.callbacks.stop import StopSignals, TrainingStopped
from bind.training.lightning_private import (
    before_the_batch,
    before_the_validation,
    is_at_last_batch,
    resume_after_whole_epochs,
)


class LastCheckpoint(Checkpoint):
    """Writes `last.ckpt` after every epoch, every so many steps if asked, and when a signal stops the run.

    Lightning's own callback saves before a step is over, without the clamped temperatures and the row of the log that
    end it: a run that goes on from there is not the run that was interrupted. Nor is one from between the batches of a
    step, whose gradients are in no checkpoint: after a validation there it is saved when the step is over.

    Args:
        dirpath: folder of the checkpoint.
        every_n_train_steps: optimizer steps between two checkpoints in mid-epoch; None: none there.
    """

    def __init__(self, dirpath: str | Path, every_n_train_steps: int | None = None) -> None:
        if every_n_train_steps is not None and every_n_train_steps < 1:
            raise ValueError(f"callbacks.last.every_n_train_steps={every_n_train_steps}: give at least 1, or null")
        self.path = Path(dirpath) / "last.ckpt"
        self.every_n_train_steps = every_n_train_steps
        self.signals = StopSignals()
        self._saved_step = 0
        self._is_within_step = False  # of several batches, after the one that is being worked on
        self._is_due = False

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        resume_after_whole_epochs(trainer)
        if trainer.is_global_zero:
            remove_partial_files(self.path.parent)

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._saved_step = trainer.global_step
        self.signals.listen()

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        self._is_within_step = (batch_idx + 1) % trainer.accumulate_grad_batches > 0
        if batch_idx % trainer.accumulate_grad_batches:
            return
        stop = self.signals.agreed(trainer)
        is_due = self.every_n_train_steps and trainer.global_step % self.every_n_train_steps == 0
        if (stop or is_due or self._is_due) and trainer.global_step > self._saved_step:
            with before_the_batch(trainer):
                self.save(trainer)
        if stop:
            raise TrainingStopped(stop, trainer.global_step)

    def on_validation_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        # Processes have different numbers of batches here: several end their validation first, then stop together.
        # An early validation is short, and no run goes on from within one.
        can_stop = trainer.world_size == 1 and not is_early(trainer) and not self._is_between_batches(trainer)
        if self.signals.asked and can_stop and not trainer.sanity_checking:
            with before_the_validation(trainer):
                self.save(trainer)
            raise TrainingStopped(self.signals.asked, trainer.global_step)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.sanity_checking or is_at_last_batch(trainer) or is_early(trainer):
            return
        if self._is_between_batches(trainer):
            self._is_due = True
        else:
            self.save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.save(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if stop := self.signals.agreed(trainer):
            raise TrainingStopped(stop, trainer.global_step)

    def save(self, trainer: L.Trainer) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_step = trainer.global_step
        self._is_due = False

    def _is_between_batches(self, trainer: L.Trainer) -> bool:
        """Whether a validation that runs now is between two batches of one step."""
        return self._is_within_step and not is_at_last_batch(trainer)

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["num_log_rows"] = [logger.num_rows_before(trainer.global_step) for logger in csv_logs(trainer)]

    def on_load_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        for logger, num_rows in zip(csv_logs(trainer), checkpoint.get("num_log_rows", []), strict=False):
            logger.keep(num_rows)


def csv_logs(trainer: L.Trainer) -> list[ContinuedCSVLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, ContinuedCSVLogger) and trainer.is_global_zero]
