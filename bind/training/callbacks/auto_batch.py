"""`data.batch_size=auto` and `data.chunk_size=auto`: found before the training begins, and kept in its checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch

from bind.distributed import gather_integers
from bind.model.chunks import refuse_chunks
from bind.training.fitting import measure_room, most_rows
from bind.training.module import BindingModule
from bind.training.sharding import ShardedStrategy

AUTO = "auto"
SMALLEST_CHUNK = 16
"""Where both are to be found, a batch may grow until so many rows' activations are left room for."""


class AutoBatch(L.Callback):
    """Sets the number of rows of a batch, and of those whose activations are in memory at a time, to what fits.

    All processes take the least that one of them found. What was found stands in the checkpoints: a training that goes
    on takes it from there.

    Args:
        batch_size: rows per process, or `auto`.
        chunk_size: rows, None for the whole batch, or `auto`.

    Attributes:
        on_fit: called with both, once, where they are found here.
    """

    def __init__(self, batch_size: int | str, chunk_size: int | str | None) -> None:
        self.batch_size: Any = batch_size
        self.chunk_size: Any = chunk_size
        self.on_fit: Callable[[int, int | None], None] | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"batch_size": self.batch_size, "chunk_size": self.chunk_size}

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        if AUTO not in (self.batch_size, self.chunk_size):
            return
        assert isinstance(module, BindingModule)
        if isinstance(trainer.strategy, ShardedStrategy):
            raise ValueError("data.batch_size=auto and data.chunk_size=auto do not go with trainer=fsdp: give a number")
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        device, world_size = trainer.strategy.root_device, trainer.world_size
        module.to(device)
        most = most_rows(datamodule.train_plan(), world_size) if self.batch_size == AUTO else self.batch_size
        room = measure_room(
            module,
            datamodule,
            trainer.precision_plugin,
            device=device,
            world_size=world_size,
            processes_here=trainer.num_devices,
            max_rows=most,
        )
        if self.batch_size == AUTO:
            own = min(most, room.rows(SMALLEST_CHUNK if self.chunk_size == AUTO else self.chunk_size))
            self.batch_size = least(own, device)
        if self.chunk_size == AUTO:
            own_chunk = room.chunk(self.batch_size)
            smallest = least(self.batch_size if own_chunk is None else own_chunk, device)
            self.chunk_size = smallest if smallest < self.batch_size else None
        if 0 in (self.batch_size, self.chunk_size):
            raise ValueError(
                f"data.batch_size=auto: one row takes {room.row_bytes / 1e6:,.0f} MB in a step, and there is room for "
                f"{room.budget / 1e6:,.0f} MB: choose a smaller encoder or window, or a machine with more memory"
            )
        if self.chunk_size is not None:
            refuse_chunks(module.binder.encoders, module.binder.heads, module.binder.fusion)
        datamodule.batch_size, module.chunk_size = self.batch_size, self.chunk_size
        if self.on_fit is not None:
            self.on_fit(self.batch_size, self.chunk_size)


def least(number: int, device: torch.device) -> int:
    """The smallest `number` of all processes."""
    return min(count for (count,) in gather_integers([number], device))
