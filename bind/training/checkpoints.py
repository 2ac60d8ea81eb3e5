"""Checkpoints of a training: where they lie, what they hold, and weights to start from."""

from __future__ import annotations

import logging
import pickle
import re
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bind.model.adapter_weights import renamed_for_adapters
from bind.model.binder import Binder
from bind.model.frozen import weights_fingerprint
from bind.model.part_weights import rename_parts
from bind.model.saved_files import read_saved_weights
from bind.terminal import printable_errors
from bind.training.checkpoint_parts import refuse_other_optimizer, refuse_other_parts
from bind.training.module import BindingModule

log = logging.getLogger("bind")

OTHER_CHECKPOINT = "use another one: ckpt=FILE (best.ckpt lies beside last.ckpt)"
PARTS = {
    "state_dict": dict,
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}
"""What a training that goes on needs of a checkpoint, and as what; weights alone are enough to start from."""

ENCODERS_AND_HEADS = ("encoders.", "heads.")
"""What the names of a modality's weights begin with."""


def last_checkpoint(run_dir: Path) -> Path:
    return run_dir / "checkpoints" / "last.ckpt"


def find_checkpoint(ckpt: str | None, run_dir: Path) -> Path | None:
    """The checkpoint to resume from, None for a fresh start: `auto` is `last` where there is one already.

    Raises:
        ValueError: where it does not exist, is damaged, or holds weights alone.
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
    checkpoint = read_checkpoint(path)
    if missing := [name for name in PARTS if name not in checkpoint]:
        raise ValueError(f"ckpt={ckpt}: {path} holds weights without {', '.join(missing)}; start with init_from={path}")
    return path


@printable_errors()
def read_checkpoint(path: Path) -> dict[str, Any]:
    """A training checkpoint on the CPU.

    Raises:
        ValueError: where the file does not exist, is damaged or holds something else.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint")
    stat = path.stat()
    if damage := _damage(path, stat.st_ino, stat.st_size, stat.st_mtime_ns):
        raise ValueError(f"{path}: damaged ({damage}); {OTHER_CHECKPOINT}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:  # torch's text advises to load it with its code
        raise ValueError(f"{path}: damaged, or it holds more than numbers and text; {OTHER_CHECKPOINT}") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: not a whole checkpoint ({reason}); {OTHER_CHECKPOINT}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise ValueError(f"{path}: no checkpoint of a training; for weights alone pass init_from=FOLDER")
    if wrong := _wrong_part(checkpoint):
        raise ValueError(f"{path}: no checkpoint that this version of bind wrote ({wrong}); {OTHER_CHECKPOINT}")
    return checkpoint


@lru_cache(maxsize=16)
def _damage(path: Path, *state: int) -> str:
    """What of a checkpoint is not as it was written; "" where all is.

    torch writes a zip archive, with a checksum of each tensor, and compares none of them when it reads.

    Args:
        state: of the file; the same is compared once.
    """
    try:
        if not zipfile.is_zipfile(path):
            return ""  # torch says what it is
        with zipfile.ZipFile(path) as archive:
            name = archive.testzip()
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        return str(error) or type(error).__name__
    return f"the checksum of {name} is another one" if name else ""


def _wrong_part(checkpoint: dict[str, Any]) -> str:
    """The part of a checkpoint that Lightning could not go on with; "" where all are as they should be."""
    for name, kind in PARTS.items():
        if name in checkpoint and (not isinstance(checkpoint[name], kind) or checkpoint[name] is True):
            return f"its {name} is no {kind.__name__}"
    if any(checkpoint.get(name, 0) < 0 for name in ("epoch", "global_step")):
        return "its epoch or global_step is below 0"
    if not re.fullmatch(r"\d+(\.\w+)*", checkpoint.get("pytorch-lightning_version", "2")):
        return "its version of Lightning is no version"
    if not all(isinstance(tensor, Tensor) for tensor in checkpoint["state_dict"].values()):
        return "its state_dict holds more than tensors"
    if not isinstance(checkpoint.get("frozen_encoders", {}), dict):
        return "its frozen_encoders are no dict"
    if not all(isinstance(state, dict) for state in checkpoint.get("callbacks", {}).values()):
        return "the state of a callback is no dict"
    return ""


def init_weights(
    module: BindingModule, path: Path, *, exact: bool = False, parts: Mapping[str, str] | None = None
) -> None:
    """Weights only, from a run directory, a saved binder or a checkpoint.

    Those of modalities that the Binder has no encoder for are left out, unless `exact`: then the training goes on. With
    `parts` (part here → part there, as `rename_parts` takes them) nothing but these is taken.

    Raises:
        ValueError: where there are none, or they do not fit; of a training that goes on, where other pairs, objectives
            or modalities train now.
    """
    binder = module.binder
    if path.is_file() or path.suffix == ".ckpt":
        if exact:
            content = read_checkpoint(path)
            refuse_other_parts(module, content, path)
            refuse_other_optimizer(module, content, path)
        state = own_weights(path, binder)
    else:
        state, fingerprint = read_saved_weights(path)
        if not binder.anchor.trainable and binder.anchor.fingerprint != fingerprint:
            log.warning("init_from=%s: these weights were bound to another anchor than %s", path, binder.anchor.name)
    saved = {name.split(".")[1] for name in state if name.startswith(ENCODERS_AND_HEADS)}
    if not exact and not parts and (left_out := sorted(saved - set(binder.encoders))):
        log.info("init_from=%s: %s left out, since modalities=%s", path, ", ".join(left_out), [*binder.encoders])
        prefixes = tuple(f"{part}{modality}." for part in ENCODERS_AND_HEADS for modality in left_out)
        state = {name: x for name, x in state.items() if not name.startswith(prefixes)}
    try:
        if parts:
            own = binder.own_state_dict()
            state = own | renamed_for_adapters(rename_parts(state, own, parts), binder.encoders)
        binder.load_own_state_dict(state)
    except ValueError as error:
        dims = {x.shape[0] for name, x in state.items() if name.startswith("heads.") and x.ndim == 2}
        hint = f". Their space has other dimensions than the {binder.dim} here: choose the anchor they were bound to"
        raise ValueError(f"{path}: {error}{hint if dims and binder.dim not in dims else ''}") from error


def own_weights(checkpoint: Path, binder: Binder) -> dict[str, Tensor]:
    """The weights of a Binder in a training checkpoint, and of `binder` those of frozen encoders that it only names.

    Raises:
        ValueError: where a frozen encoder of `binder` has other weights than the checkpoint names.
    """
    content = read_checkpoint(checkpoint)
    state = {name.removeprefix("binder."): x for name, x in content["state_dict"].items() if name.startswith("binder.")}
    own = binder.own_state_dict()
    for modality, fingerprint in content.get("frozen_encoders", {}).items():
        if modality not in binder.encoders:
            continue
        if weights_fingerprint(binder.encoders[modality]) != fingerprint:
            raise ValueError(
                f"{checkpoint} was trained behind a frozen encoder of {modality} with fingerprint {fingerprint}, and "
                f"holds none of its weights; the one here has others: set encoder.{modality} to the same pretrained "
                "model as before, or start from the run directory, whose binder is whole"
            )
        state |= {name: x for name, x in own.items() if name.startswith(f"encoders.{modality}.")}
    return state
