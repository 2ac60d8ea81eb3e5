"""The pairs, objectives and modalities that a checkpoint was trained with, and whether they are those of a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bind.training.module import BindingModule, parameter_groups

KEYS = {
    "pair_losses.": "pairs.{}",
    "masked.mask_tokens.": "objective.masked.{}",
    "binder.encoders.": "the modality {}",
    "binder.heads.": "the modality {}",
    "binder.fusion.": "a fusion that learns",
}
"""What names of weights begin with, and how what comes next in them is called."""


def refuse_other_parts(module: BindingModule, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError where the checkpoint in `path` was trained with other parts than `module` is made of.

    The optimizer's state belongs to them one by one, so a training can't go on with one more or less.
    """
    before = named_parts(checkpoint["state_dict"], checkpoint.get("frozen_encoders", {}))
    now = named_parts(module.state_dict(), module.binder.encoders)
    new, gone = sorted(now - before), sorted(before - now)
    if not (new or gone):
        return
    differences = [f"{', '.join(parts)} {word}" for parts, word in ((new, "added"), (gone, "removed")) if parts]
    raise ValueError(
        f"{path}: the training has changed since: {'; '.join(differences)}. A training goes on with the same parts: "
        f"set them as before, or start another one with these weights alone: init_from={path} in another run_dir, "
        "without ckpt="
    )


def named_parts(names: Iterable[str], frozen_encoders: Iterable[str] = ()) -> set[str]:
    """What weights with these names belong to, as a user knows it.

    Examples:
        >>> sorted(named_parts(["pair_losses.imu-text.temperature.log_scale", "binder.heads.imu.project.weight"]))
        ['pairs.imu-text', 'the modality imu']
    """
    parts = {f"the modality {modality}" for modality in frozen_encoders}
    for name in names:
        for prefix, called in KEYS.items():
            if name.startswith(prefix):
                parts.add(called.format(name.removeprefix(prefix).split(".")[0]))
    return parts


def refuse_other_optimizer(module: BindingModule, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError where what trains in `module` is not what the optimizer in the checkpoint in `path` is for.

    Where another part of an encoder trains, `BindingModule.on_load_checkpoint` says which.
    """
    if checkpoint.get("trained_parts", module.binder.trained_parts) != module.binder.trained_parts:
        return
    for state in checkpoint.get("optimizer_states", [])[:1]:
        before = [len(group["params"]) for group in state.get("param_groups", [])]
        now = [len(group["params"]) for group in parameter_groups(module, 0.0)]
        if before != now:
            raise ValueError(
                f"{path}: other weights train now than before, {sum(now)} instead of {sum(before)} of them: set what "
                "freezes weights (learn_temperature of a pair, train of an encoder) as before, or start another one "
                f"with these weights alone: init_from={path} in another run_dir, without ckpt="
            )
