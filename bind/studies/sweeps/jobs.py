"""Records of a sweep: its plan, written at its start, and what each job has left; its table is made of them."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from bind.files.locks import FolderInUseError, lock_folder
from bind.files.plain_data import Kind, read_json, require_kinds
from bind.files.writing import write_text
from bind.processes.states import is_process_alive
from bind.training.command_line import command_with
from bind.training.hydra_private import jobs_of_sweep, set_sweep_dir

RECORD = "sweep_job.json"
PLAN = "sweep.json"
PLAN_KINDS: dict[str, Kind] = {"jobs": list, "command": str}
RECORD_KINDS: dict[str, Kind] = {"overrides": list, "host": str, "pid": int, "status": str}
STATUSES = ("done", "running", "stopped", "failed", "not started")
"""What became of a job, in the order of the table; stopped: by a signal, such as Ctrl-C."""
OF_ONE_START = ("ckpt",)
"""Keys that say how a job starts, not what it is."""


class SweepFolder(Callback):
    """A callback of Hydra that owns a sweep's folder from its start to its end, and keeps its path and its plan.

    A name by the time that another sweep has taken gets a number behind it.
    """

    path: ClassVar[Path | None] = None
    lock: ClassVar[ExitStack] = ExitStack()

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        SweepFolder.lock.close()  # of a sweep before this one in the same process, which a signal has stopped
        folder = Path(config.hydra.sweep.dir).absolute()
        unresolved: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
        is_by_time = "${now:" in str(unresolved["dir"])
        for number in count(1):
            numbered = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
            if number > 1 and numbered.exists():
                continue
            try:
                # The folder is made, too: a study's database opens before the first job.
                SweepFolder.lock.enter_context(lock_folder(numbered, "choose another hydra.sweep.dir, or wait for it"))
            except FolderInUseError as error:
                if not is_by_time:
                    print(f"error: {error}", file=sys.stderr)
                    raise SystemExit(1) from None  # Hydra makes a warning of any Exception here
                continue
            break
        if numbered != folder:
            set_sweep_dir(config, numbered)
        SweepFolder.path = numbered
        write_plan(numbered, config.hydra.sweeper)
        # The Optuna that the sweeper's plugin takes says so at every start.
        warnings.filterwarnings("ignore", message=".*not compatible with SQLAlchemy 2.0")

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        SweepFolder.lock.close()


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep: `name` is its folder below the sweep's; a figure that is not known is None."""

    name: str
    overrides: dict[str, str]
    status: str  # one of `STATUSES`
    monitor: str
    score: float | None = None  # the best value of `monitor`
    trained: float | None = None  # mean R@1 over the trained pairs of the held-out split
    emergent: float | None = None  # the same over the emergent ones, without the anchor's own
    split: str | None = None
    seconds: float | None = None
    error: str = ""
    figures: dict[str, float] = field(default_factory=dict)  # of the held-out split, by what tables call them


def run_recorded(job: Callable[[], float], monitor: str) -> float | None:
    """Run `job()` and write its overrides, outcome and time into its folder, whatever ends it.

    Returns:
        What `job` returned, the value of `monitor` that the sweep maximises; None, which a sweeper counts as a failed
        trial, where that is NaN, which would end Optuna's study.
    """
    from bind.training.hydra_private import job_overrides, output_dir

    path = (output_dir() or Path()) / RECORD
    known = {"overrides": job_overrides(), "monitor": monitor, "host": socket.gethostname(), "pid": os.getpid()}
    started = time.perf_counter()

    def write(**outcome: Any) -> None:
        write_text(path, json.dumps({**known, **outcome}, indent=2) + "\n")

    write(status="running")
    try:
        value = job()
    except BaseException as error:
        from bind.training.callbacks.stop import TrainingStopped  # loads lightning, which a command line must not

        status = "stopped" if isinstance(error, TrainingStopped | KeyboardInterrupt) else "failed"
        message = str(error).removeprefix("error: ").strip().partition("\n")[0]
        write(status=status, error=message or type(error).__name__, seconds=round(time.perf_counter() - started, 1))
        raise
    score = None if math.isnan(value) else value
    write(status="done", score=score, seconds=round(time.perf_counter() - started, 1))
    return score


def write_plan(folder: Path, sweeper: Any) -> None:
    """Write the jobs that a sweep will start, and the command that goes on with it, into its folder.

    Only of Hydra's own sweeper: others choose a job when the one before has ended.
    """
    if not sweeper._target_.endswith(".BasicSweeper"):
        return
    values = {"hydra.sweep.dir": folder, "ckpt": "auto"}
    plan = {"jobs": jobs_of_sweep(sweeper, sys.argv[1:]), "command": command_with(sys.argv[1:], values)}
    write_text(folder / PLAN, json.dumps(plan, indent=2) + "\n")


def read_plan(folder: Path) -> dict[str, Any]:
    """The overrides of every job of a sweep and the command that goes on with it; {} where there is no plan."""
    path = folder / PLAN
    return require_kinds(read_json(path), PLAN_KINDS, str(path)) if path.is_file() else {}


def _not_started(folder: Path, started: list[SweepJob]) -> list[SweepJob]:
    """The jobs of the plan that have no record yet; a later job has the number of its place in the plan."""
    done = [_without_start(job.overrides) for job in started]
    planned = [(number, _assigned(overrides)) for number, overrides in enumerate(read_plan(folder).get("jobs", ()))]
    return [
        SweepJob(name=str(number), overrides=overrides, status="not started", monitor=started[0].monitor)
        for number, overrides in planned
        if not any(_without_start(overrides).items() <= of_job.items() for of_job in done)
    ]


def _assigned(overrides: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (override.lstrip("+").partition("=") for override in overrides)}


def _without_start(overrides: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in overrides.items() if key not in OF_ONE_START}


def has_jobs(folder: Path) -> bool:
    return next(folder.rglob(RECORD), None) is not None


def read_jobs(folder: Path) -> list[SweepJob]:
    """The jobs below `folder`, best score first, then those without one; ValueError where none has started.

    Among them are those that the sweep had still to start when it ended, where its plan is known.
    """
    jobs = [_read(path, path.parent.relative_to(folder).as_posix()) for path in folder.rglob(RECORD)]
    if not jobs:
        raise ValueError(f"{folder}: no job of a sweep there; pass the folder that python train.py -m … printed")
    jobs += _not_started(folder, jobs)

    def place(job: SweepJob) -> tuple[Any, ...]:
        return STATUSES.index(job.status), job.score is None, -(job.score or 0.0), starting_order(job)

    return sorted(jobs, key=place)


def starting_order(job: SweepJob) -> list[Any]:
    """A key that sorts jobs as they were started: folder 10 after folder 9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", job.name)]


def swept_keys(jobs: list[SweepJob]) -> list[str]:
    """The keys of overrides that are not the same in all `jobs`, in the order in which they were given."""
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    return [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]


def _read(path: Path, name: str) -> SweepJob:
    record = require_kinds(read_json(path), RECORD_KINDS, str(path))
    overrides = _assigned(record.pop("overrides"))
    host, pid = record.pop("host"), record.pop("pid")
    if record["status"] == "running" and host == socket.gethostname() and not is_process_alive(pid):
        record |= {"status": "failed", "error": "its process ended without a message: was it killed?"}
    from bind.evaluation.figures import read_metrics  # loads torch, which a command line must not

    held_out: dict[str, Any] = {}
    metrics = path.with_name("metrics.json")
    if record["status"] == "done" and metrics.is_file():
        held_out = _held_out(read_metrics(metrics))
    return SweepJob(name=name, overrides=overrides, **record, **held_out)


def _held_out(metrics: dict[str, Any]) -> dict[str, Any]:
    recalls: dict[str, list[float]] = {"trained": [], "emergent": [], "anchor": []}
    for entry in metrics["retrieval"].values():
        recalls[entry["kind"]].append(entry["R@1"])
    means = {kind: fmean(recalls[kind]) if recalls[kind] else None for kind in ("trained", "emergent")}
    figures = {f"R@1 {key}": entry["R@1"] for key, entry in metrics["retrieval"].items()}
    for key, entry in metrics.get("zero_shot", {}).items():
        figures |= {
            f"{title} {key}": entry[name] for name, title in (("top1", "top-1"), ("map", "mAP")) if name in entry
        }
    return {"split": metrics["split"], "figures": figures, **means}
