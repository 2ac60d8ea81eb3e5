"""Places of saved binders on this machine, and what their descriptions say before anything of them is loaded."""

from __future__ import annotations

import re
from pathlib import Path

from bind.files.plain_data import Kind, read_json, require_each, require_kinds
from bind.types import Modality

CONFIG_NAME = "binder.json"
MAX_BYTES = 2**24
"""Of a description."""
OF_ANCHOR = "anchor_modalities"
"""The key of what the anchor itself embeds; descriptions of earlier versions lack it."""


def find_folder(place: Path | str) -> Path | None:
    """The folder that holds a binder's description, from a run directory or such a folder; None: the hub may have it.

    The hub is asked for `NAME/REPOSITORY` only, where NAME is neither a folder here nor `runs`.

    Raises:
        ValueError: for a folder without one, and a name that is none of a hub.
    """
    path = Path(place).expanduser()
    for folder in (path, path / "binder"):
        if (folder / CONFIG_NAME).is_file():
            return folder
    if path.exists():
        raise ValueError(
            f"{path} holds no {CONFIG_NAME}: pass a run directory that finished, or a folder Binder.save wrote"
        )
    if not re.fullmatch(r"(?!runs/)[A-Za-z0-9][\w.-]*/[\w.-]+", str(place)) or path.parent.exists():
        raise ValueError(f"{place}: no such folder; pass a run directory, or NAME/REPOSITORY on the hub")
    return None


def saved_modalities(place: Path | str) -> tuple[Modality, ...] | None:
    """What a saved binder embeds; None where only loading it can tell: of the hub, or of an earlier version.

    Raises:
        ValueError: naming the file, where there is none or its description can't be read.

    Examples:
        >>> saved_modalities("nobody/no-such-binder")
    """
    described = _read_modalities(place)
    return (*described[OF_ANCHOR], *described["modalities"]) if OF_ANCHOR in described else None


def trained_modalities(place: Path | str) -> tuple[Modality, ...]:
    """What a saved binder has encoders of; none where only loading it can tell.

    Raises:
        ValueError: naming the file, where there is none or its description can't be read.
    """
    return tuple(_read_modalities(place).get("modalities", ()))


def _read_modalities(place: Path | str) -> dict[str, list[Modality]]:
    if (folder := find_folder(place)) is None:
        return {}
    where = folder / CONFIG_NAME
    kinds: dict[str, Kind] = {"modalities": list, OF_ANCHOR: list}
    described = require_kinds(read_json(where, max_bytes=MAX_BYTES), {}, str(where), optional=kinds)
    names = {key: described[key] for key in kinds if key in described}
    for each in names.values():
        require_each(each, lambda name: isinstance(name, str), str(where), "the name of a modality")
    return names
