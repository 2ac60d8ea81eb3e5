"""Runs of commands: what arguments tell is checked before anything heavy is loaded, and errors are one message."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bind.commands.checkout import CONFIG_DIR
from bind.commands.command_table import TRAIN, Command
from bind.commands.failures import JobFailed, plain_message
from bind.commands.overrides import flat, hand_over_stderr, unread
from bind.commands.sweeping import in_sweep, require_multirun_for_sweep, run_as_train_script
from bind.files.writing import remove_failed_start
from bind.terminal import ReaderGone, printable_errors


def run_command(command: Command, arguments: Any) -> Any:
    """Check what the command line or the config says, then load the job and run it.

    Raises:
        ValueError: for what a user can get wrong; where it can be told from arguments and files at once, else later.
    """
    if command.check:
        with printable_errors():  # which may hold names out of files of anybody
            _function(command.check)(arguments)
    return load(command.job)(arguments)


def load(job: str) -> Callable[[Any], Any]:
    """The function `module:function`; torch, transformers and lightning load with it, which is said on a terminal."""
    if sys.stderr.isatty() and "torch" not in sys.modules and "LOCAL_RANK" not in os.environ:
        print("loading …", file=sys.stderr, flush=True)
    return _function(job)


def _function(name: str) -> Callable[[Any], Any]:
    module, _, function = name.partition(":")
    loaded: Callable[[Any], Any] = getattr(importlib.import_module(module), function)
    return loaded


def run_job(job: Callable[[Any], Any], cfg: Any) -> Any:
    """`job(cfg)`, where what a user can get wrong is one message and exit status 1.

    Under `-m` the other jobs of the sweep still run. HYDRA_FULL_ERROR=1 shows the frames.
    """
    from bind.training.hydra_private import output_dir

    hand_over_stderr()
    try:
        with remove_failed_start(output_dir() or Path()):  # Hydra has made it
            refuse_unset(cfg)
            require_multirun_for_sweep(cfg)
            warn_unused_overrides()
            return job(cfg)
    except (ValueError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR", "0") == "1":
            raise
        message = f"error: {plain_message(error)}"
        print(message, file=sys.stderr, flush=True)
        if in_sweep():
            from hydra.errors import CompactHydraException

            # Hydra runs the other jobs, says it again at the end, and exits with 1.
            raise CompactHydraException(message) from None
        raise JobFailed(1) from None


def refuse_unset(cfg: Any) -> None:
    """Raise ValueError, naming the keys, where the config holds values that only the user can give."""
    from omegaconf import OmegaConf

    unset = [name for name, value in flat(OmegaConf.to_container(cfg, resolve=False)) if value == "???"]
    if unset:
        raise ValueError(f"not set: {', '.join(unset)}; pass " + " ".join(f"{name}=VALUE" for name in unset))


def warn_unused_overrides() -> None:
    """Warn of keys that the command line adds with + and nothing reads."""
    from bind.training.hydra_private import current_job

    if (job := current_job()) is not None:
        for key, meant in unread(CONFIG_DIR, str(job.job.config_name), job.overrides.task).items():
            hint = f"; {meant}" if meant.startswith("did") else ""
            print(f"warning: +{key}: nothing in bind reads it{hint}", file=sys.stderr, flush=True)


def run_train(cfg: Any) -> float | None:
    """Train; a job of a sweep leaves its outcome for the sweep's table.

    Returns:
        The best value of `cfg.monitor`; None in a sweep where there is none.
    """
    train = functools.partial(run_command, TRAIN)
    try:
        if not in_sweep():
            best: float | None = run_job(train, cfg)
            return best
        from bind.studies.sweeps.jobs import run_recorded

        run_as_train_script()
        return run_recorded(lambda: run_job(train, cfg), cfg.monitor)
    except ReaderGone:  # a table of figures may end without a word, hours of work may not
        print(
            "the training stopped: nobody reads its output now, as behind `| head`. Send it to a file, `> log.txt`. "
            "run_dir=RUN ckpt=auto goes on from its last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        raise
