"""Validations in the first steps of a training, so that its curve is seen to rise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L

from bind.training.lightning_private import batches_between_validations, validate_after_batches


class EarlyValidation(L.Callback):
    """Validates after some of the first steps too, where the validation split is small.

    What is trained and which checkpoint is the best stay the same: the log and the progress have more lines.

    Args:
        steps: optimizer steps after which to validate, besides the ends of epochs.
        max_batches: a validation split of more batches is only validated at the ends of epochs.

    Raises:
        ValueError: a step below 1.

    Examples:
        >>> EarlyValidation(steps=[10, 20]).steps
        (10, 20)
    """

    def __init__(self, steps: Sequence[int] = (2, 5, 10, 20, 40, 80), max_batches: int = 4) -> None:
        if any(step < 1 for step in steps):
            raise ValueError(f"callbacks.early_validation.steps={list(steps)}: give steps from 1 on, or []")
        self.steps = tuple(steps)
        self.max_batches = max_batches
        self.is_due = False  # after the batch that is being worked on
        self._usual: float | None = None

    @property
    def is_on(self) -> bool:
        """Whether the validation split of the training that has begun is small enough."""
        return self._usual is not None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        is_small = 0 < sum(trainer.num_val_batches) <= self.max_batches
        # Processes have different numbers of batches, and all have to validate or none.
        is_small_everywhere = trainer.strategy.reduce_boolean_decision(is_small, all=True)
        self._usual = batches_between_validations(trainer) if is_small_everywhere else None

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        if self._usual is None:
            return
        is_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        is_usual = (batch_idx + 1) % self._usual == 0
        self.is_due = is_step and not is_usual and trainer.global_step + 1 in self.steps
        validate_after_batches(trainer, batch_idx + 1 if self.is_due else self._usual)


def is_early(trainer: L.Trainer) -> bool:
    """Whether a validation that runs now is one besides the usual ones."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return any(isinstance(callback, EarlyValidation) and callback.is_due for callback in callbacks)
