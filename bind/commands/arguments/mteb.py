"""Arguments of `bindspace mteb`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from bind.commands.arguments.run import place_of_binder
from bind.runs.run_config import as_list


def check_arguments(cfg: Any) -> None:
    """Raise ValueError where there is no such run or binder, no task is named, or the extra is not installed."""
    place_of_binder(cfg)
    if not as_list(cfg.tasks):
        raise ValueError("tasks: name at least one of MTEB's, tasks=[ESC50_Zeroshot], or your own as module:Class")
    if find_spec("mteb") is None:
        raise ValueError('bindspace mteb needs mteb: pip install "bindspace[mteb]"')
