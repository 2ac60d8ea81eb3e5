"""Places of saved bridges: whether one is in a folder, or may be written there."""

from __future__ import annotations

from pathlib import Path

from bind.files.locks import LOCK

CONFIG_NAME = "bridge.json"
STATE_NAME = "training.safetensors"
"""Of a training that was stopped."""


def require_bridge(folder: Path) -> Path:
    """The description of the bridge in a folder; ValueError where there is none."""
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise ValueError(f"bridge={folder}: no {CONFIG_NAME} there; name a folder that bindspace bridge wrote")
    return path


def require_free(out: Path, *, overwrite: bool) -> None:
    """Raise ValueError where a folder holds something else than a training that was stopped.

    Args:
        overwrite: whether it may hold a finished bridge.
    """
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if out.is_file() or (names - {STATE_NAME, LOCK} and CONFIG_NAME not in names):
        raise ValueError(f"out={out}: holds something else; name a new folder")
    if CONFIG_NAME in names and not overwrite:
        raise ValueError(f"out={out}: holds a finished bridge; name another folder, or add overwrite=true")
