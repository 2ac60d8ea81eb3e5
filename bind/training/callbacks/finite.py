"""A loss or weights that are no longer finite end the training, before a checkpoint could hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor


class FiniteLoss(L.Callback):
    """Raises ValueError, with the step and the pair or objective, where a loss is NaN or infinite.

    It looks at a step's losses when the next step begins: by then a GPU has computed them, so nothing waits. The
    weights that the step has spoilt are never saved, as every checkpoint is checked first.
    """

    def __init__(self) -> None:
        self._unseen: tuple[int, tuple[str, ...], Tensor, torch.cuda.Event | None] | None = None
        self._step = 0

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        self._look()
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, *args: Any) -> None:
        losses: Mapping[str, Tensor] = module.last_losses
        stacked = torch.stack(list(losses.values()))
        copied = torch.cuda.Event() if stacked.is_cuda else None
        values = stacked.to("cpu", non_blocking=stacked.is_cuda)
        if copied is not None:
            copied.record()
        self._unseen = (self._step, tuple(losses), values, copied)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._look_at_weights(trainer, module)

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._look_at_weights(trainer, module)

    def _look_at_weights(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._look()
        for name, parameter in module.named_parameters():
            own = parameter.to_local() if isinstance(parameter, DTensor) else parameter
            if parameter.requires_grad and not torch.isfinite(own).all():
                raise ValueError(f"{name} is not finite after {trainer.global_step} steps. {ADVICE}")

    def _look(self) -> None:
        if self._unseen is None:
            return
        (step, names, values, copied), self._unseen = self._unseen, None
        if copied is not None:
            copied.synchronize()
        for name, value in zip(names, values.tolist(), strict=True):
            if not math.isfinite(value):
                key = f"objective.{name.replace('/', '.')}" if "/" in name else f"pairs.{name}"
                raise ValueError(f"the loss of {key} is {value} at step {step} of the log. {ADVICE}")


ADVICE = (
    "Lower optimizer.lr, lengthen optimizer.warmup_fraction, or set trainer.precision=32-true; "
    "train/loss and train/scale in logs/metrics.csv show what came before"
)
