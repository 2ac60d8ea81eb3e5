"""Checkpoints that are either the old file or the new one, whatever happens while they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from bind.files.writing import open_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints by `bind.files`: a kill or a full disk leaves the previous checkpoint usable.

    Raises:
        ValueError: where the file can't be written, with the reason that the system gives.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_atomically(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch hides the first behind the second
            if (reason := system_error(error)) is None:
                raise
            was = "; the one that was there is whole" if path.is_file() else ""
            raise ValueError(f"{path} could not be written: {reason.strerror}{was}") from error


def system_error(error: BaseException | None) -> OSError | None:
    """The OSError behind `error`, if there is one."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
