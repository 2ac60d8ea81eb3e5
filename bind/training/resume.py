"""Commands and checkpoints with which a run that has stopped goes on, and the line that names them."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from bind.data.datamodule import BindDataModule
from bind.data.identity import changes_of_data
from bind.training.callbacks.stop import TrainingStopped, stoppable
from bind.training.checkpoints import last_checkpoint, read_checkpoint
from bind.training.command_line import command_with, quoted
from bind.training.hydra_private import MULTIRUN_FLAGS, current_job, is_multirun, job_arguments, jobs_of_sweep
from bind.training.lightning_private import is_first_process

log = logging.getLogger("bind")

overrides_from_python: ContextVar[tuple[str, ...] | None] = ContextVar("overrides_from_python", default=None)
"""The overrides of `bind.train` while it runs; None where a command does."""

OF_GOING_ON = ("ckpt", "init_from", "init_parts", "run_dir", "allow_changed_data", "overwrite")
"""Settings that a run which goes on may have other than before."""


def command(run_dir: Path) -> str:
    """What goes on with the run, as it would be typed: `python train.py … run_dir=PATH ckpt=last`."""
    values = {"run_dir": str(run_dir), **({"ckpt": "last"} if last_checkpoint(run_dir).is_file() else {})}
    if (overrides := overrides_from_python.get()) is None:
        return command_with(job_arguments(), values)
    kept = [override for override in overrides if override.partition("=")[0] not in values]
    return f"bind.train({[*kept, *(f'{name}={quoted(value)}' for name, value in values.items())]!r})"


def invocation() -> str:
    """What this process runs, to be pasted into a shell or Python: its command line, or the call of `bind.train`."""
    if (overrides := overrides_from_python.get()) is not None:
        return f"bind.train({list(overrides)!r})"
    program, *arguments = sys.argv
    start = ["python", program] if program.endswith(".py") else program.split()  # "bindspace evaluate"
    return shlex.join([*start, *arguments])


def resume_hint(run_dir: Path) -> str:
    """For the end of an error: the last checkpoint and the command that goes on from it; "" where there is none."""
    if not (last := last_checkpoint(run_dir)).is_file():
        return ""
    step = read_checkpoint(last)["global_step"]
    return f"\nThe last good checkpoint, after step {step}, is {last}; go on with\n{command(run_dir)}"


def changes(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The settings that differ between two configs, such as `data.batch_size: 64 → 32`, but for those of going on."""
    for key in dict.fromkeys([*before, *now]):
        a, b = before.get(key, {}), now.get(key, {})
        if f"{prefix}{key}" in OF_GOING_ON:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from changes(a, b, f"{prefix}{key}.")
        elif a != b:
            yield f"{prefix}{key}: {a} → {b}"


def refuse_changed_data(checkpoint: Path, datamodule: BindDataModule, allow: bool) -> None:
    """Name what has changed in the data since `checkpoint`, an older one of which does not know its data.

    Raises:
        ValueError: unless `allow`.
    """
    state = read_checkpoint(checkpoint).get(type(datamodule).__qualname__, {})
    if not (changed := sorted(changes_of_data(state["data"], datamodule.identity)) if "data" in state else []):
        return
    message = f"the data has changed since {checkpoint}: {'; '.join(changed)}"
    if not allow:
        raise ValueError(
            f"{message}. Restore it, start afresh in another run_dir (init_from={checkpoint} takes the weights), or go "
            "on with the data as it is now: allow_changed_data=true"
        )
    log.warning("%s; it goes on with the data as it is now", message)


@contextmanager
def print_resume_hint_on_stop(run_dir: Path) -> Iterator[None]:
    """A signal in here ends the run, or the sweep it is a job of, with exit status 0; one line says how it goes on."""
    try:
        with stoppable():
            yield
    except TrainingStopped as stopped:
        if is_first_process():
            left = _rest_of_sweep() or stopped.left or f"; go on with: {command(run_dir)}"
            print(f"{stopped}{left}", flush=True)
        raise


@contextmanager
def evaluation_failure_hint(run_dir: Path, split: str) -> Iterator[None]:
    """A signal in here finds the training finished and its binder saved; the command that evaluates it is printed."""
    try:
        yield
    except TrainingStopped as stopped:
        evaluate = ["bindspace", "evaluate", f"run={quoted(str(run_dir))}", *([f"split={split}"] * (split != "test"))]
        done = "training has finished and the binder is saved"
        stopped.left = f" in the evaluation; {done}, evaluate it with: {shlex.join(evaluate)}"
        raise


def _rest_of_sweep() -> str:
    """Where the sweep has stopped, what is left of it, and the command that goes on; "" outside of one."""
    job = current_job()
    # A launcher that gives the job a process of its own leaves the flag out.
    if job is None or not is_multirun() or not MULTIRUN_FLAGS & set(sys.argv):
        return ""
    place = f" in job {job.job.num} of the sweep"
    if job.sweeper._target_.endswith(".BasicSweeper"):  # others choose a job when the one before has ended
        jobs = jobs_of_sweep(job.sweeper, sys.argv[1:])
        own = [" ".join(a for a in overrides if not all(a in other for other in jobs)) for overrides in jobs]
        left = [f"{number} ({values})" for number, values in enumerate(own) if number > job.job.num]
        place += f", before {', '.join(left)}" if left else ", the last one"
    values = {"hydra.sweep.dir": Path(job.sweep.dir).resolve(), "ckpt": "auto"}
    return f"{place}; go on with: {command_with(sys.argv[1:], values)}"
