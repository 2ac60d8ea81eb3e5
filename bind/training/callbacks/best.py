"""`best.ckpt`, and what a checkpoint may say of the files that a ModelCheckpoint keeps.

Lightning deletes, with all that is in it, what the state of a ModelCheckpoint names as its earlier best, and whoever
made the checkpoint may have written any path there. So no path of that state is used. It is rebuilt from the scores and
from the files that lie in the callback's own folder under names that the callback itself gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint; a training's figures are those of its best checkpoint."""


def forget_foreign_paths(callbacks: Iterable[Callback], states: dict[Any, Any]) -> None:
    """Replace the state of every ModelCheckpoint among a checkpoint's `states` by what `rebuild_state` gives."""
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.state_key in states:
            states[callback.state_key] = rebuild_state(callback, states[callback.state_key])


def rebuild_state(callback: ModelCheckpoint, state: Mapping[str, Any]) -> dict[str, Any]:
    """State for `callback.load_state_dict` that holds the scores of `state`, and paths of the callback's own only.

    It knows its files again where its folder has been moved, and forgets those that are no longer there. In a folder
    that holds none of them, a run that goes on has a best checkpoint of its own.

    Args:
        callback: whose folder and names count.
        state: of a checkpoint, perhaps of a stranger.
    """

    def number(value: Any) -> torch.Tensor | None:
        is_number = isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_complex()
        return value if is_number and not value.isnan() else None

    earlier_folder = state.get("dirpath")
    kept = state.get("best_k_models")
    scores = {
        path: score
        for name, value in (kept.items() if isinstance(kept, Mapping) else ())
        if (path := own_file(callback, name, earlier_folder)) and (score := number(value)) is not None
    }
    best_of, worst_of = (max, min) if callback.mode == "max" else (min, max)
    best = best_of(scores, key=scores.__getitem__) if scores else ""
    worst = worst_of(scores, key=scores.__getitem__) if len(scores) == callback.save_top_k else ""
    if callback.monitor is None:  # the latest counts
        best = own_file(callback, state.get("best_model_path"), earlier_folder) or ""
    return {
        **state,
        "dirpath": callback.dirpath,
        "monitor": callback.monitor,
        "best_model_path": best,
        "best_model_score": scores.get(best),
        "current_score": number(state.get("current_score")),
        "best_k_models": scores,
        "kth_best_model_path": worst,
        "kth_value": scores.get(worst, callback.kth_value),
        "last_model_path": own_file(callback, state.get("last_model_path"), earlier_folder, is_last=True) or "",
    }


def own_file(callback: ModelCheckpoint, path: Any, earlier_folder: Any, *, is_last: bool = False) -> str | None:
    """The file in the callback's folder that `path` of `earlier_folder` stands for; None where it can't be its own."""
    if callback.dirpath is None or not isinstance(path, str) or not isinstance(earlier_folder, str):
        return None
    try:
        name = PurePath(path).relative_to(PurePath(earlier_folder))
    except ValueError:
        return None
    last = callback.CHECKPOINT_NAME_LAST
    template = last if is_last else callback.filename or "{epoch}-{step}"

    def pattern_of(field: str) -> str:
        name = re.escape(field.partition(":")[0])
        return f"{name}=.*" if callback.auto_insert_metric_name else ".*"

    parts = re.split(r"\{([^}]*)\}", template)
    pattern = "".join(pattern_of(part) if i % 2 else re.escape(part) for i, part in enumerate(parts))
    if not re.fullmatch(rf"{pattern}(-v\d+)?{re.escape(callback.FILE_EXTENSION)}", name.as_posix()):
        return None
    if not is_last and re.fullmatch(rf"{re.escape(last)}(-v\d+)?", name.stem):
        return None  # what a run goes on from is another callback's
    folder = Path(callback.dirpath)
    file = folder / name
    is_inside = ".." not in name.parts and file.resolve().parent.is_relative_to(folder.resolve())
    return str(file) if is_inside and file.is_file() and not file.is_symlink() else None
