"""Everything of Hydra's insides that bind touches, each touch with a test that fails when it changes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.version import VersionBase
from omegaconf import read_write

MULTIRUN_FLAGS = frozenset({"-m", "--multirun"})


def current_job() -> Any | None:
    """Hydra's own config of the job that runs in this process; None outside of one."""
    return HydraConfig.get() if HydraConfig.initialized() else None


def is_multirun() -> bool:
    """Whether this process runs the jobs of `-m`."""
    job = current_job()
    return job is not None and job.mode == RunMode.MULTIRUN


def output_dir() -> Path | None:
    """The folder that Hydra gave the current job; None outside of one."""
    job = current_job()
    return None if job is None else Path(job.runtime.output_dir)


def job_overrides() -> list[str]:
    """`KEY=VALUE` arguments of the current job, a sweep's own values among them; none outside of a job."""
    job = current_job()
    return [] if job is None else list(job.overrides.task)


def job_arguments() -> list[str]:
    """The command line of the current job; of a sweep's job, without what makes it a sweep."""
    if current_job() is None:
        return []
    flags = [a for a in sys.argv[1:] if a not in MULTIRUN_FLAGS and (a.startswith("-") or "=" not in a)]
    return [*flags, *job_overrides()]


def set_run_dir(run_dir: Path) -> None:
    """Set the folder in which the current job, and processes that Lightning starts for it, write."""
    job: Any = current_job()
    with read_write(job):
        job.run.dir = job.runtime.output_dir = str(run_dir)


def set_sweep_dir(config: Any, sweep_dir: Path) -> None:
    """Set the folder of a sweep that is about to begin, for its sweeper and for the configs of its jobs."""
    with read_write(config):
        config.hydra.sweep.dir = str(sweep_dir)
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{sweep_dir}'")


def is_override(argument: str) -> bool:
    """Whether Hydra's grammar takes `argument` for `KEY=VALUE`."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True


def jobs_of_sweep(sweeper: Any, arguments: Sequence[str]) -> list[list[str]]:
    """The overrides of every job that Hydra's basic sweeper makes of a command line, in their order."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    swept = [a for a in arguments if ("=" in a or a.startswith("~")) and not a.startswith(("-", "hydra."))]
    params = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    [jobs] = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides([*params, *swept]), None)
    return [list(job) for job in jobs]


@contextmanager
def outside_of_any_app() -> Iterator[None]:
    """In here Hydra knows no application, also where this process is one; afterwards it knows it again."""
    app, job, version = GlobalHydra.instance().hydra, HydraConfig.instance().cfg, VersionBase.instance().getbase()
    GlobalHydra.instance().hydra = None
    HydraConfig.instance().cfg = None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = app
        HydraConfig.instance().cfg = job
        VersionBase.instance().version_base = version
