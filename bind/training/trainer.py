"""The fit of one job: its trainer, the processes it starts, and what it leaves for evaluation."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import read_write

from bind.build import ANY_CLASS, build
from bind.data.datamodule import BindDataModule
from bind.training.callbacks.best import BestCheckpoint
from bind.training.callbacks.checkpoint_io import AtomicCheckpointIO
from bind.training.callbacks.processes import stop_all_ranks_together
from bind.training.checkpoints import own_weights
from bind.training.module import BindingModule
from bind.training.resume import arguments_of_job, resume_hint

log = logging.getLogger("bind")

# Lightning's own remarks on devices, tips and modes bury what a user should read.
for name in (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.accelerators.cuda",
    "lightning.fabric",
    "matplotlib",  # its list of fonts
):
    logging.getLogger(name).setLevel(logging.WARNING)
for remark in (
    ".*isinstance.treespec, LeafSpec.*",
    ".*in eval mode at the start of training.*",  # the frozen anchor
    ".*smaller than the logging interval.*",
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",  # a resumed run
    ".*logs directory .* exists and is not empty.*",
    ".*sync_dist=True.* when logging on epoch level.*",  # validation figures are those of all ranks already
    ".*checkpoint that ended before the epoch ended.*",  # the batch plan goes on in mid-epoch
):
    warnings.filterwarnings("ignore", message=remark)


def make_trainer(config: Mapping[str, Any], run_dir: Path) -> L.Trainer:
    options = dict(config["trainer"])
    if options["precision"] == "auto":
        has_gpu = options["accelerator"] in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        options["precision"] = "bf16-mixed" if has_gpu and torch.cuda.is_bf16_supported() else "32-true"
    if options["num_nodes"] is None or options["devices"] is None:
        raise ValueError(
            "trainer=slurm counts nodes and devices by SLURM_NNODES and SLURM_NTASKS_PER_NODE: start it with srun in a "
            "job that sets --nodes and --ntasks-per-node (docs/scaling.md has the script), or choose trainer=ddp"
        )
    if isinstance(options["strategy"], Mapping):
        options["strategy"] = build(options["strategy"], trust=ANY_CLASS)
    callbacks = {name: c for name, c in config["callbacks"].items() if c}
    if not options["enable_progress_bar"]:
        callbacks.pop("progress", None)
    parts: dict[str, Any] = {
        "callbacks": [build(c, trust=ANY_CLASS) for c in callbacks.values()],
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


def fit(trainer: L.Trainer, module: BindingModule, datamodule: BindDataModule, checkpoint: Path | None) -> None:
    """Train; whatever ends it, no other process and no W&B run goes on afterwards.

    Raises:
        ValueError: for what a user can change, with the last good checkpoint and the command that goes on from it.
        TrainingStopped: by a signal, with a checkpoint of the last step.
    """

    def hint() -> str:
        return resume_hint(Path(trainer.default_root_dir))

    try:
        with stop_all_ranks_together(trainer.strategy.launcher, hint), plain_errors():
            trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    except ValueError as error:
        raise ValueError(f"{error}{hint()}") from error
    finally:
        # Without this the jobs of a sweep run on in the first job's W&B run.
        for logger in trainer.loggers:
            experiment: Any = getattr(logger, "experiment", None)
            getattr(experiment, "finish", lambda: None)()


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What a user can change, but is raised as something else, as ValueError."""
    try:
        yield
    except MisconfigurationException as error:  # a metric to monitor that is never logged, for example
        raise ValueError(str(error)) from error
    except (OSError, RuntimeError, EOFError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ValueError(f"a file of the run could not be written: {error.strerror}") from error
        frames = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
        if "_try_get_data" in frames or str(error).startswith("DataLoader worker (pid"):
            raise ValueError(
                f"a data worker has died: {str(error).strip()} Is there enough memory? Lower data.num_workers; "
                "data.num_workers=0 loads in the training process, where an error can be seen"
            ) from error
        raise


def keep_best(trainer: L.Trainer, module: BindingModule, monitor: str) -> float:
    """Put the best checkpoint's weights into `module`; the value of `monitor` there."""
    callback = next((c for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint)), None)
    if callback is None or not callback.best_model_path or callback.best_model_score is None:
        log.warning(
            "no checkpoint was scored by %s (was validation switched off?): evaluating the last weights", monitor
        )
        return float("nan")
    module.binder.load_own_state_dict(own_weights(Path(callback.best_model_path)))
    return float(callback.best_model_score)


@contextlib.contextmanager
def one_job_of_a_sweep(run_dir: Path) -> Iterator[None]:
    """Processes that Lightning starts join this job of a sweep, and leave nothing behind for the next one.

    Lightning starts them with this process's command line, which under `-m` is that of the whole sweep.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        yield
        return
    argv, environment = sys.argv, set(os.environ)
    sys.argv = [argv[0], *arguments_of_job()]
    hydra_config: Any = HydraConfig.get()
    with read_write(hydra_config):
        hydra_config.run.dir = str(run_dir)
    try:
        yield
    except Exception as error:
        if "LOCAL_RANK" in os.environ.keys() - environment:
            # Lightning ends this process seconds after one that it started: another job must not begin.
            if not isinstance(error, ValueError):
                traceback.print_exc()
            raise SystemExit(f"error: {error}\nthe rest of the sweep is not run") from error
        raise
    finally:
        sys.argv = argv
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name in {"MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"} - environment:
            os.environ.pop(name, None)
