"""The trainer of one job, its fit in one or several processes, and the weights it leaves for evaluation."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException

from bind.build import ANY_CLASS, build
from bind.data.datamodule import BindDataModule
from bind.files.reading import explain_os_error
from bind.processes.workers import explained_worker_death
from bind.training.callbacks.best import BestCheckpoint
from bind.training.callbacks.checkpoint_io import AtomicCheckpointIO
from bind.training.callbacks.processes import NO_ANSWER, ProcessTimeoutError, stop_all_ranks_together
from bind.training.callbacks.stop import wake_loader_workers
from bind.training.checkpoints import own_weights
from bind.training.command_line import quoted
from bind.training.hydra_private import is_multirun, job_arguments, set_run_dir
from bind.training.module import BindingModule
from bind.training.resume import resume_hint

log = logging.getLogger("bind")

WITH_TIMEOUT = ("lightning.pytorch.strategies.DDPStrategy", "bind.training.sharding.ShardedStrategy")
"""Strategies that are given `timeout_seconds`."""


def make_trainer(config: Mapping[str, Any], run_dir: Path, callbacks: Sequence[L.Callback] = ()) -> L.Trainer:
    """Lightning's trainer with the config's callbacks and loggers, and `callbacks` behind them.

    Raises:
        ValueError: for options that Lightning does not take, or processes without a strategy for them.
    """
    options = dict(config["trainer"])
    if options["precision"] == "auto":
        has_gpu = options["accelerator"] in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        options["precision"] = "bf16-mixed" if has_gpu and torch.cuda.is_bf16_supported() else "32-true"
    if options["num_nodes"] is None or options["devices"] is None:
        raise ValueError(
            "trainer=slurm counts nodes and devices by SLURM_NNODES and SLURM_NTASKS_PER_NODE: start it with srun in a "
            "job that sets --nodes and --ntasks-per-node (docs/scaling.md has the script), or choose trainer=ddp"
        )
    timeout_seconds = config["timeout_seconds"]
    if not isinstance(timeout_seconds, int | float) or not 0 < timeout_seconds < math.inf:
        raise ValueError(f"timeout_seconds={timeout_seconds}: give a number above 0, such as 600")
    if isinstance(options["strategy"], Mapping):
        strategy = dict(options["strategy"])
        if strategy.get("_target_") in WITH_TIMEOUT:
            strategy.setdefault("timeout", timedelta(seconds=timeout_seconds))
        options["strategy"] = build(strategy, trust=ANY_CLASS)
    configured = {name: c for name, c in config["callbacks"].items() if c}
    if not options["enable_progress_bar"]:
        configured.pop("progress", None)
    parts: dict[str, Any] = {
        "callbacks": [*(build(c, trust=ANY_CLASS) for c in configured.values()), *callbacks],
        "logger": [build(c, trust=ANY_CLASS) for c in config["logger"].values() if c],
        "plugins": [AtomicCheckpointIO(), *_environment()],
    }
    try:
        # Batches come whole from our own plan, which knows ranks: Lightning must not wrap its sampler.
        trainer = L.Trainer(**options, **parts, use_distributed_sampler=False, default_root_dir=run_dir)
    except (MisconfigurationException, TypeError) as error:
        raise ValueError(f"trainer: {error}; see configs/trainer for what can be set") from error
    if options["strategy"] == "auto" and trainer.world_size > 1:
        # Lightning's choice fails at the first step whose source lacks a modality.
        raise ValueError(f"{trainer.world_size} processes need trainer=ddp or trainer=fsdp, see docs/scaling.md")
    return trainer


def _environment() -> list[ClusterEnvironment]:
    """SLURM without Lightning's own requeueing, which would take over signals and resume from files of its own."""
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        return [SLURMEnvironment(auto_requeue=False)]
    return []


def fit(
    trainer: L.Trainer,
    module: BindingModule,
    datamodule: BindDataModule,
    checkpoint: Path | None,
    config: Mapping[str, Any],
) -> None:
    """Train; whatever ends it, no other process and no W&B run goes on afterwards. Loggers get the resolved `config`.

    Raises:
        ValueError: for what a user can change, with the last good checkpoint and the command that goes on from it.
        TrainingStopped: by a signal, with a checkpoint of the last step.
    """

    def hint() -> str:
        return resume_hint(Path(trainer.default_root_dir))

    try:
        seconds = config["timeout_seconds"]
        with stop_all_ranks_together(trainer.strategy.launcher, hint, seconds), plain_errors():
            for logger in trainer.loggers:
                logger.log_hyperparams(dict(config))
            trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    except BaseException as error:
        wake_loader_workers()  # or leaving would wait for one that is stopped
        if isinstance(error, ValueError):
            raise ValueError(f"{error}{hint()}") from error
        raise
    finally:
        # Without this the jobs of a sweep run on in the first job's W&B run.
        for logger in trainer.loggers:
            experiment: Any = getattr(logger, "experiment", None)
            getattr(experiment, "finish", lambda: None)()


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What a user can change, but is raised as something else, as ValueError."""
    try:
        with explained_worker_death():
            yield
    except MisconfigurationException as error:  # a metric to monitor that is never logged, for example
        raise ValueError(str(error)) from error
    except OSError as error:
        raise ValueError(explain_os_error(error)) from error
    except RuntimeError as error:
        is_of_group = isinstance(error, torch.distributed.DistError) or torch.distributed.is_initialized()
        if is_of_group and re.search(r"timed out|timeout", str(error), re.IGNORECASE):
            raise ProcessTimeoutError(f"{NO_ANSWER} ({first_line(error)})") from error
        raise


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def keep_best(trainer: L.Trainer, module: BindingModule, monitor: str) -> float:
    """Put the best checkpoint's weights into `module`; the value of `monitor` there."""
    callback = next((c for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint)), None)
    if callback is None or not callback.best_model_path or callback.best_model_score is None:
        log.warning(
            "no checkpoint was scored by %s (was validation switched off?): evaluating the last weights", monitor
        )
        return float("nan")
    module.binder.load_own_state_dict(own_weights(Path(callback.best_model_path), module.binder))
    return float(callback.best_model_score)


@contextlib.contextmanager
def isolated_job(run_dir: Path, script: Sequence[str] | None = None) -> Iterator[None]:
    """Processes that Lightning starts in here join this job, and leave nothing behind for the next one.

    Lightning starts them with this process's command line, which under `-m` is that of the whole sweep, and where a
    training was called from Python that of the caller's script.

    Args:
        run_dir: where all processes write.
        script: the command line of further processes, from the script on; None: this process's own.
    """
    if script is None and not is_multirun():
        yield
        return
    argv, environment, main = sys.argv, set(os.environ), sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if script is None:
        sys.argv = [argv[0], *job_arguments()]
        set_run_dir(run_dir)
    else:
        sys.argv = [*script, f"run_dir={quoted(str(run_dir))}"]
        main.__spec__ = None  # Lightning would start it again by its module's name
    try:
        yield
    except Exception as error:
        if script is None and "LOCAL_RANK" in os.environ.keys() - environment:
            # Lightning ends this process seconds after one that it started: another job must not begin.
            if not isinstance(error, ValueError):
                traceback.print_exc()
            raise SystemExit(f"error: {error}\nthe rest of the sweep is not run") from error
        raise
    finally:
        sys.argv, main.__spec__ = argv, spec
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name in {"MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"} - environment:
            os.environ.pop(name, None)
