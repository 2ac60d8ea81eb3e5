"""How a run that has stopped goes on: the checkpoint, the command, and the line that says so."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bind.training.callbacks.stop import TrainingStopped, is_first_process, stoppable
from bind.training.checkpoints import last_checkpoint, read_checkpoint


def arguments_of_job() -> list[str]:
    """The command line of this job: of a sweep's, without what makes it a sweep."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return []
    flags = [a for a in sys.argv[1:] if a not in ("-m", "--multirun") and (a.startswith("-") or "=" not in a)]
    return [*flags, *HydraConfig.get().overrides.task]


def command(run_dir: Path) -> str:
    """What goes on with the run, as it would be typed: `python train.py … run_dir=PATH ckpt=last`."""
    ckpt = {"ckpt": "last"} if last_checkpoint(run_dir).is_file() else {}
    return _typed(arguments_of_job(), {"run_dir": run_dir, **ckpt})


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
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from changes(a, b, f"{prefix}{key}.")
        elif a != b and f"{prefix}{key}" not in ("ckpt", "init_from", "run_dir"):
            yield f"{prefix}{key}: {a} → {b}"


@contextmanager
def print_resume_hint_on_stop(run_dir: Path) -> Iterator[None]:
    """A signal in here ends the run, or the sweep it is a job of, with exit status 0; one line says how it goes on."""
    try:
        with stoppable():
            yield
    except TrainingStopped as stopped:
        if is_first_process():
            left = _of_the_sweep() or stopped.left or f"; go on with: {command(run_dir)}"
            print(f"{stopped}{left}", flush=True)
        raise


@contextmanager
def evaluation_failure_hint(run_dir: Path, split: str) -> Iterator[None]:
    """A signal in here finds the training finished and its binder saved: told, with the command that evaluates it."""
    try:
        yield
    except TrainingStopped as stopped:
        evaluate = ["bindspace", "evaluate", f"run={_quoted(str(run_dir))}", *([f"split={split}"] * (split != "test"))]
        done = "training has finished and the binder is saved"
        stopped.left = f" in the evaluation; {done}, evaluate it with: {shlex.join(evaluate)}"
        raise


def _of_the_sweep() -> str:
    """Where the sweep has stopped, what is left of it, and the command that goes on; "" outside of one."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.types import RunMode

    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return ""
    if not {"-m", "--multirun"} & set(sys.argv):  # a launcher has given the job a process of its own
        return ""
    hydra = HydraConfig.get()
    told = f" in job {hydra.job.num} of the sweep"
    if hydra.sweeper._target_.endswith(".BasicSweeper"):  # others choose a job when the one before has ended
        swept = [a for a in sys.argv[1:] if "=" in a and not a.startswith(("-", "hydra."))]
        params = [f"{key}={value}" for key, value in (hydra.sweeper.params or {}).items()]
        [jobs] = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides([*params, *swept]), None)
        own = [" ".join(a for a in job if not all(a in other for other in jobs)) for job in jobs]
        left = [f"{number} ({values})" for number, values in enumerate(own) if number > hydra.job.num]
        told += f", before {', '.join(left)}" if left else ", the last one"
    place = {"hydra.sweep.dir": Path(hydra.sweep.dir).resolve(), "ckpt": "auto"}
    return f"{told}; go on with: {_typed(sys.argv[1:], place)}"


def _typed(arguments: list[str], values: Mapping[str, Any]) -> str:
    """The command with these values in the place of those that `arguments` may have for them."""
    kept = [a for a in arguments if a.split("=")[0] not in values]
    return shlex.join(["python", sys.argv[0], *kept, *(f"{name}={_quoted(str(v))}" for name, v in values.items())])


def _quoted(value: str) -> str:
    """In quotes where Hydra's grammar would take a character of it for more than a letter."""
    return value if re.fullmatch(r"[\w/.:@%+-]+", value) else "'" + value.replace("'", r"\'") + "'"
