"""Checkpoints of a training: where they lie, what they hold, and weights to start from."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bind.model.binder import Binder
from bind.training.module import BindingModule

log = logging.getLogger("bind")


def last_checkpoint(run_dir: Path) -> Path:
    return run_dir / "checkpoints" / "last.ckpt"


def find_checkpoint(ckpt: str | None, run_dir: Path) -> Path | None:
    """The checkpoint to resume from, None for a fresh start: `auto` is `last` where there is one already.

    Raises:
        ValueError: where it does not exist.
    """
    if ckpt is None:
        return None
    path = last_checkpoint(run_dir) if ckpt in ("last", "auto") else Path(ckpt)
    if ckpt == "auto" and not path.is_file():
        log.info("ckpt=auto: no checkpoint in %s yet, a fresh start", run_dir)
        return None
    if not path.is_file():
        hint = f"; set run_dir=FOLDER to the folder of the run to go on with (now {run_dir})" if ckpt == "last" else ""
        raise ValueError(f"ckpt={ckpt}: {path} does not exist{hint}, or drop ckpt= to start afresh")
    return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A training checkpoint on the CPU.

    Raises:
        ValueError: where the file does not exist, is damaged or holds something else.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: not a whole checkpoint ({str(error).splitlines()[0]}); use another one") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise ValueError(f"{path}: no checkpoint of a training; for weights alone pass init_from=FOLDER")
    return checkpoint


def init_weights(module: BindingModule, path: Path) -> None:
    """Weights only, from a run directory, a saved binder or a checkpoint.

    Raises:
        ValueError: where there are none, or they do not fit.
    """
    own = own_weights(path) if path.is_file() or path.suffix == ".ckpt" else Binder.load(path).own_state_dict()
    try:
        module.binder.load_own_state_dict(own)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def own_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The Binder's own weights in a training checkpoint."""
    state = read_checkpoint(checkpoint)["state_dict"]
    return {name.removeprefix("binder."): x for name, x in state.items() if name.startswith("binder.")}
