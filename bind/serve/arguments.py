"""Arguments of `bindspace serve`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bind.bridge.places import require_bridge
from bind.bridge.remedies import read_remedies, require_choice
from bind.model.places import find_folder, saved_modalities
from bind.runs.run_config import open_run, run_or_binder
from bind.search.listing import read_listing
from bind.serve.limits import Limits
from bind.serve.sockets import open_socket
from bind.types import Modality

EXTRA = ("uvicorn", "fastapi", "multipart", "prometheus_client", "websockets")
"""What the extra `serve` installs."""


@dataclass(frozen=True, slots=True)
class ServeArguments:
    """What is served, and where.

    Attributes:
        token: that is asked for, None without one.
        gap: remedy for all modalities but those of `gap_of_modality`; None: the bridge's own.
        place: run directory, folder of a binder or its name on the hub; None: the binder of the index.
    """

    host: str
    token: str | None
    limits: Limits
    gap: str | None
    gap_of_modality: Mapping[Modality, str]
    place: Path | str | None


def read_arguments(cfg: Any) -> ServeArguments:
    """What the config says, checked as far as it can be before anything heavy is loaded.

    Raises:
        ValueError: for a binder, an index, a port or limits that can't be used, or where the extra is missing.
    """
    if missing := [name for name in EXTRA if find_spec(name) is None]:
        raise ValueError(f'bindspace serve needs {missing[0]}: pip install "bindspace[serve]"')
    if not isinstance(cfg.port, int) or not 0 <= cfg.port < 2**16:
        raise ValueError(f"port={cfg.port}: give a number from 1 to 65535")
    token = None if cfg.token is None else str(cfg.token)
    if token is not None and (len(token) < 8 or not token.isascii() or not token.isprintable()):
        raise ValueError("token=: give at least 8 letters, digits or signs of ASCII")
    gap, gap_of_modality = read_remedies(cfg.gap)
    limits = read_limits(cfg.limits)
    open_socket(str(cfg.host), cfg.port).close()
    if cfg.index is not None:
        read_listing(Path(cfg.index))
    place = None
    if cfg.run is not None or cfg.binder is not None or cfg.index is None:
        place = cfg.binder if run_or_binder(cfg) == "binder" else open_run(cfg.run)[0]
        find_folder(place)
        if (known := saved_modalities(place)) is not None:
            require_choice(gap_of_modality, known)
    if cfg.bridge is not None:
        require_bridge(Path(cfg.bridge))
    return ServeArguments(str(cfg.host), token, limits, gap, gap_of_modality, place)


def read_limits(values: Any) -> Limits:
    """The limits of a config.

    Raises:
        ValueError: for a limit that there is not, or that is no number above 0.
    """
    kinds = {name: type(getattr(Limits(), name)) for name in Limits.__dataclass_fields__}
    for name, value in values.items():
        if name not in kinds:
            raise ValueError(f"limits.{name}: there is no such limit; there are {', '.join(kinds)}")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or (kinds[name] is int and value != int(value)):
            raise ValueError(f"limits.{name}={value}: give a number above 0")
    return Limits(**{name: kinds[name](value) for name, value in values.items()})
