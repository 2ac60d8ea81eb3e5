"""Results that commands write into the folder of a run: whose files they are, and what their names end in."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bind.files.locks import lock_folder
from bind.runs.run_config import open_run


@contextmanager
def owned_results(run_dir: Path, name: str, suffix: str = "") -> Iterator[None]:
    """Own the files `name` of a run that a command writes into its folder, until the block ends.

    Commands that write other files of the run work beside this one, and what only reads it is never refused. A
    training owns the whole folder: what a command found would be of the Binder that the training is about to replace.

    Raises:
        ValueError: where another process writes the same files, or trains in this folder.
    """
    with lock_folder(run_dir, "wait until it has ended", files=re.sub(r"\W", "-", name + suffix)):
        yield


def writes_results(name: str, *, of_split: bool = False) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Have a command that writes the files `name` into `run` own them as long as it works; see `owned_results`.

    Args:
        of_split: whether other files are written for another split.
    """

    def decorate(command: Callable[[Any], None]) -> Callable[[Any], None]:
        @functools.wraps(command)
        def own_and_run(cfg: Any) -> None:
            run_dir, config = open_run(cfg.run)
            with owned_results(run_dir, name, suffix_of(cfg.split, config) if of_split else ""):
                command(cfg)

        return own_and_run

    return decorate


def suffix_of(split: str | None, config: Mapping[str, Any], table: str = "") -> str:
    """What names of files of a split end in: "" for the one that the run was made for, which None stands for.

    Args:
        table: the name of another table, in the place of the run's data.
    """
    if table:
        return f"_{table}_{split}"
    return f"_{split}" if split and split != config["evaluation"]["split"] else ""
