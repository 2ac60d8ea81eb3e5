"""Arguments of `bindspace index`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bind.commands.arguments.embed import read_inputs
from bind.search.listing import SCANS, read_listing

CHANGES = ("delete", "delete_where", "compact", "repair")


def changes_of(cfg: Any) -> list[str]:
    """The keys of `CHANGES` that are set: what is done to an index that is there."""
    return [name for name in CHANGES if cfg[name] not in (None, False)]


def grows(cfg: Any) -> bool:
    """Whether the index is to be made or to grow."""
    has_inputs = cfg.manifest is not None or cfg.files is not None
    return not changes_of(cfg) and (has_inputs or (cfg.approximate is None and cfg.to is None))


def check_arguments(cfg: Any) -> None:
    """Raise ValueError for what can be told to be wrong before anything heavy is loaded."""
    if changes := changes_of(cfg):
        if cfg.manifest is not None or cfg.files is not None:
            raise ValueError(f"{changes[0]}= changes what is in the index: call it without manifest= and files=")
        read_listing(Path(cfg.out))
    elif grows(cfg):
        if cfg.scan is not None and cfg.scan not in SCANS:
            raise ValueError(f"scan={cfg.scan}: choose {', '.join(SCANS)}, or leave it out")
        for name, least in (("batch_size", 1), ("num_workers", 0)):
            if not isinstance(cfg[name], int) or cfg[name] < least:
                raise ValueError(f"{name}={cfg[name]}: give a whole number, at least {least}")
        read_inputs(cfg)
    if cfg.approximate is not None and (isinstance(cfg.recall, bool) or not isinstance(cfg.recall, int | float)):
        raise ValueError(f"recall={cfg.recall}: give a share from 0 to 1, such as 0.98")
    if cfg.to is not None and cfg.uri is None:
        raise ValueError(f"to={cfg.to} needs uri=, where it is, such as uri=http://localhost:8080")
