"""Lengths of a training that is about to begin: its steps, validations and checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import lightning as L

from bind.training.callbacks.early_validation import EarlyValidation
from bind.training.callbacks.last import LastCheckpoint
from bind.training.lightning_private import batches_between_validations
from bind.training.module import BindingModule


@dataclass(frozen=True)
class Lengths:
    """What is still to come.

    Attributes:
        num_steps: of the optimizer.
        num_batches: of training.
        num_validations: of the whole validation split.
        num_checkpoints: that are written, the best one at every validation.
    """

    num_steps: int
    num_batches: int
    num_validations: int
    num_checkpoints: int


def lengths_of(trainer: L.Trainer, module: BindingModule) -> Lengths | None:
    """What a training that has been set up will do from here; None where it has no end but a time or a signal."""
    schedule, data = module.schedule, trainer.datamodule  # type: ignore[attr-defined]
    assert schedule is not None
    if schedule.num_steps is None:
        return None
    num_batches = min(schedule.num_steps * trainer.accumulate_grad_batches, 2**62)
    per_epoch = int(trainer.num_training_batches)
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    every = next((c.every_n_train_steps for c in callbacks if isinstance(c, LastCheckpoint)), None)
    epoch, batch = data.start
    left, num_epochs, usual, within_epochs = num_batches, 0, 0, 0
    while left > 0:
        end = min(per_epoch, batch + left)
        num, at_end = _validations_of_epoch(trainer, epoch, batch, end, per_epoch)
        usual, within_epochs = usual + num, within_epochs + num - at_end
        left -= end - batch
        epoch, batch, num_epochs = epoch + 1, 0, num_epochs + 1
    early = {step for c in callbacks if isinstance(c, EarlyValidation) and c.is_on for step in c.steps}
    at = [data.start[1] + (step - module.global_step) * trainer.accumulate_grad_batches for step in early]
    between = batches_between_validations(trainer) or math.inf
    in_time = [place for place in at if data.start[1] < place <= data.start[1] + num_batches]
    num_validations = usual + sum(((place - 1) % per_epoch + 1) % between > 0 for place in in_time)
    num_saved = num_epochs + within_epochs + (schedule.num_steps // every if every else 0)
    return Lengths(schedule.num_steps, num_batches, num_validations, num_saved + num_validations)


def _validations_of_epoch(trainer: L.Trainer, epoch: int, first: int, end: int, per_epoch: int) -> tuple[int, int]:
    """How often the batches from `first` to before `end` of an epoch are followed by one, and whether the last is."""
    if trainer.limit_val_batches == 0:
        return 0, 0
    every_n_epochs = trainer.check_val_every_n_epoch
    between = batches_between_validations(trainer) if every_n_epochs == 1 else trainer.val_check_batch
    if between is None or between == math.inf or (every_n_epochs and (epoch + 1) % every_n_epochs):
        return 0, 0
    offset = 0 if every_n_epochs else epoch * per_epoch  # counted over all epochs
    num = int((offset + end) // between - (offset + first) // between)
    return num, int(end == per_epoch and (offset + end) % between == 0)
