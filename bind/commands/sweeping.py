"""Sweeps of `bindspace train -m`: what they need, their jobs in other processes, and the table at their end."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bind.commands.checkout import TRAIN_SCRIPT
from bind.commands.failures import JobFailed

SWEEP_PLUGINS = {
    "optuna": "hydra-optuna-sweeper",
    "joblib": "hydra-joblib-launcher",
    "submitit": "hydra-submitit-launcher",
    "ray": "hydra-ray-launcher",
}
"""What a choice of configs/sweep needs; the extra of the same name installs it."""


def in_sweep() -> bool:
    """Whether this process runs the jobs of `-m`."""
    from bind.training.hydra_private import is_multirun

    return is_multirun()


def run_as_train_script() -> None:
    """In a process that a launcher started for a job: the command line with which more processes can join the job.

    Multi-process training starts the script in argv[0] again, which would be the launcher's own.
    """
    from bind.training.hydra_private import current_job

    job = current_job()
    if job is None or Path(sys.argv[0]).resolve() == TRAIN_SCRIPT.resolve():
        return
    sources = job.runtime.config_sources
    folders = [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]
    sys.argv = [str(TRAIN_SCRIPT), f"--config-name={job.job.config_name}", *folders]
    sys.modules["__main__"].__spec__ = None


def require_multirun_for_sweep(cfg: Any) -> None:
    """Raise ValueError where a choice of configs/sweep came without `-m`, which alone makes a sweep."""
    from bind.training.hydra_private import current_job

    if (job := current_job()) is None or in_sweep():
        return
    if "LOCAL_RANK" in os.environ or cfg.get("ckpt"):  # a further process of a sweep's job; one that goes on by itself
        return
    if chosen := job.runtime.choices.get("sweep"):
        raise ValueError(f"sweep={chosen} does nothing without -m: python train.py -m sweep={chosen} …")


@contextlib.contextmanager
def sweeps(arguments: list[str]) -> Iterator[None]:
    """Refuse a choice of configs/sweep that is not installed; when a sweep has ended, however it did, its table."""
    from importlib import metadata

    from bind.studies.sweeps.jobs import SweepFolder, has_jobs

    chosen = [name for a in arguments if a.startswith("sweep=") for name in re.findall(r"\w+", a)[1:]]
    for name in chosen:
        try:
            metadata.distribution(SWEEP_PLUGINS.get(name, "hydra-core"))
        except metadata.PackageNotFoundError as error:
            message = f'sweep={name} needs {error.name}: pip install "bindspace[{name}]"'
            print(f"error: {message}", file=sys.stderr)
            raise JobFailed(1) from None
    SweepFolder.path = None
    try:
        yield
    finally:
        if SweepFolder.path and has_jobs(SweepFolder.path):
            from bind.studies.sweeps.report import report_sweep

            report_sweep(SweepFolder.path)
