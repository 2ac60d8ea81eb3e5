"""Run or binder that a command works on, from its config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bind.model.places import find_folder
from bind.runs.run_config import open_run, run_or_binder


def require_run(cfg: Any) -> None:
    """Raise ValueError unless the config names a run or a binder, and it is there."""
    if "binder" in cfg:
        place_of_binder(cfg)
    else:
        open_run(cfg.run)


def place_of_binder(cfg: Any) -> Path | str:
    """The run directory of `run=`, or what `binder=` names.

    Raises:
        ValueError: where neither or both are named, or there is no such run or folder.
    """
    place = cfg.binder if run_or_binder(cfg) == "binder" else open_run(cfg.run)[0]
    find_folder(place)
    return place
