"""What `test_devices` trains on two processes, started as srun starts them: every strategy in one start."""

import contextlib
import json
import shutil
import sys
import unittest.mock
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.distributed.tensor import DTensor

import bind.runs.evaluation
import bind.runs.jobs
from bind.data.sources.content import hash_generated
from bind.data.sources.toy.world import ToySource
from bind.distributed import rank
from bind.training.callbacks.forecast import ForecastCosts
from bind.types import Sample, stable_id
from support import runs

WORLD_SIZE = 2
GLOBAL_BATCH = 16
STEPS = 24
PULLED_AT = 17  # five steps after the checkpoint
ONE_TRUNK_PULLED_AT = 13


class Patchy:
    """The toy world under a name, where only a share of the samples has a modality."""

    def __init__(self, name: str, shares: Mapping[str, float]) -> None:
        self.name = name
        self.shares = shares
        self.made: dict[str, list[Sample]] = {}
        self.world = ToySource(
            num_train=64, num_val_queries=1, num_test_queries=1, fresh=(), modalities=("image", *shares)
        )

    def modalities(self):
        return self.world.modalities()

    def samples(self, split):
        if split not in self.made:
            self.made[split] = [self._named(sample) for sample in self.world.samples(split)]
        return self.made[split]

    def _named(self, sample):
        key = f"{self.name}/{sample.key}"
        return replace(sample, key=key, owners=(key,), values={m: () for m in sample.values if self._has(m, sample)})

    def content_hash(self, split, modality):
        return hash_generated(self, split, modality, sorted(self.shares.items()))

    def fetch(self, split, indices, modalities, rngs):
        fetched = self.world.fetch(split, indices, modalities, rngs)
        for index, values in zip(indices, fetched, strict=True):
            for modality in modalities:
                if not self._has(modality, self.world.samples(split)[index]):
                    values[modality] = []
        return fetched

    def _has(self, modality, sample):
        return stable_id(f"{modality} {sample.key}") % 1000 < 1000 * self.shares.get(modality, 1.0)


SOURCES = {
    # Often a process has no sound among its eight rows, and at times none of them has.
    "both": {"_target_": "support.two_trainers.Patchy", "name": "both", "shares": {"audio": 0.08, "imu": 0.7}},
    "felt": {"_target_": "support.two_trainers.Patchy", "name": "felt", "shares": {"imu": 0.9}},
}
CHOICES = ("fusion=attention", "encoder/imu=imagebind")
VALUES: dict[str, Any] = runs.QUICK | {
    "data.sources": SOURCES,
    "data.steps_per_epoch": STEPS // 2,
    "trainer.max_epochs": 2,
    "pairs.audio-imu": {"weight": 0.5, "temperature": 0.07, "learn_temperature": True},
    "fusion.inputs": ["audio", "imu"],
    "fusion.modality_dropout": 0.0,
    "encoder.audio.dropout": 0.0,
    "encoder.audio.num_time_masks": 0,
    "encoder.audio.num_mel_masks": 0,
    "encoder.imu.num_heads": 2,
    "encoder.imu.drop_path": 0.0,
    "encoder.imu.feature_dropout": 0.0,
}
TRANSFORMERS = ("encoder/audio=transformer", "encoder/imu=transformer")
ONE_TRUNK_VALUES: dict[str, Any] = {name: x for name, x in runs.QUICK.items() if not name.startswith("encoder.")} | {
    # One of the two uses the trunk at a step, seldom both.
    "data.sources": {
        "heard": {"_target_": "support.two_trainers.Patchy", "name": "heard", "shares": {"audio": 0.9}},
        "felt": {"_target_": "support.two_trainers.Patchy", "name": "felt", "shares": {"imu": 0.9}},
        "both": {"_target_": "support.two_trainers.Patchy", "name": "both", "shares": {"audio": 0.5, "imu": 0.5}},
    },
    "data.weights": {"both": 0.2},
    "data.steps_per_epoch": 10,
    "trainer.max_epochs": 2,
    "encoder.audio.share": "imu",
    "encoder.audio.num_time_masks": 0,
    "encoder.audio.num_mel_masks": 0,
    "encoder.imu.feature_dropout": 0.0,
    **{f"encoder.{m}.{name}": size for m in ("audio", "imu") for name, size in (("width", 16), ("num_layers", 2))},
}
PARTS_VALUES: dict[str, Any] = ONE_TRUNK_VALUES | {
    "encoder.audio.share": None,
    "encoder.audio.train": "head",
    "encoder.imu.train": "lora",
    "encoder.imu.lora.r": 4,
    "pairs.imu-imu": {"weight": 0.5, "temperature": 0.07, "learn_temperature": True},
    "objective.masked.imu": {"weight": 0.5, "share": 0.5},
    "transform.imu.noise_std": 0.1,
    "trainer.max_epochs": 1,
}
KINDS: dict[str, tuple[tuple[str, ...], dict[str, Any], int]] = {
    "fused": (CHOICES, VALUES, PULLED_AT),
    "one_trunk": (TRANSFORMERS, ONE_TRUNK_VALUES, ONE_TRUNK_PULLED_AT),
    "parts": (TRANSFORMERS, PARTS_VALUES, ONE_TRUNK_PULLED_AT),
}
"""Choices and values of a config, and the step at which the plug is pulled."""
FORECAST = {"callbacks.forecast.min_steps": 1}
STRATEGIES: dict[str, tuple[str, dict[str, Any]]] = {
    "ddp": ("trainer=slurm", {"trainer.accelerator": "cpu"}),
    "fsdp": ("trainer=fsdp", {"trainer.num_nodes": WORLD_SIZE, "trainer.devices": 1}),
}
"""The two processes are two nodes with one task each."""
EVALUATED = ("one", "ddp", "fsdp")
"""The others are compared by their weights and logs: evaluating takes as long as training them."""


class Witness(L.Callback):
    """Writes what a process saw to `folder/seen{rank}.json`."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.sources: list[str] = []
        self.steps_without_sound = 0
        self.steps_clipped = 0

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.sources.append(batch.source)
        self.steps_without_sound += "audio" in batch.modalities and "audio" not in batch.rows

    def on_before_optimizer_step(self, trainer, module, optimizer):
        norm = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
        self.steps_clipped += _whole(norm).item() > trainer.gradient_clip_val

    def on_train_end(self, trainer, module):
        trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
        moments = [trainer.optimizers[0].state[p]["exp_avg"] for p in trainable.values()]
        seen = {
            "sources": self.sources,
            "steps_without_sound": self.steps_without_sound,
            "steps_clipped": self.steps_clipped,
            "batch_size": trainer.datamodule.batch_size,
            "forecast": (forecast := trainer_forecast(trainer)) and forecast.num_steps,
            "scales": {n: x.item() for n, x in trainer.callback_metrics.items() if n.startswith("train/scale/")},
            "trainable": sorted(trainable),
            "sharded": sorted(name for name, p in module.named_parameters() if isinstance(p, DTensor)),
            "moments": sum(x.numel() for x in moments),
            "moments_here": sum((x.to_local() if isinstance(x, DTensor) else x).numel() for x in moments),
        }
        (self.folder / f"seen{trainer.global_rank}.json").write_text(json.dumps(seen))


def trainer_forecast(trainer):
    return next(c.forecast for c in trainer.callbacks if isinstance(c, ForecastCosts))


def _whole(x: torch.Tensor) -> torch.Tensor:
    return x.full_tensor() if isinstance(x, DTensor) else x


def train(run_dir: Path, strategy: str | None = None, pulled: bool = False, kind: str = "fused", **values: Any) -> None:
    """One training of `GLOBAL_BATCH` rows a step: in this process alone, or as one of two under `strategy`."""
    run_dir.mkdir(exist_ok=True)
    choice, chosen = STRATEGIES[strategy] if strategy else ("trainer=cpu", {})
    own = {
        "run_dir": str(run_dir),
        "data.batch_size": GLOBAL_BATCH // (WORLD_SIZE if strategy else 1),
        "callbacks.witness": {"_target_": "support.two_trainers.Witness", "folder": str(run_dir)},
    }
    choices, defaults, pulled_at = KINDS[kind]
    if pulled:
        own["callbacks.plug"] = {"_target_": "support.runs.PullPlug", "step": pulled_at}
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(runs.PulledPlugError))
        if run_dir.name not in EVALUATED:
            stack.enter_context(unittest.mock.patch.object(bind.runs.jobs, "evaluate_run"))
        bind.runs.jobs.train(runs.config(*choices, choice, **defaults | chosen | own | values))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    bind.runs.evaluation.draw_run = lambda *args, **kwargs: {}
    train(folder / "ddp", "ddp")
    train(folder / "fsdp", "fsdp")
    train(folder / "ddp_then_fsdp", "ddp", pulled=True)
    train(folder / "ddp_then_fsdp", "fsdp", ckpt="last")
    train(folder / "fsdp_twice", "fsdp", pulled=True)
    if rank() == 0:
        shutil.copytree(folder / "fsdp_twice", folder / "fsdp_then_one")
    train(folder / "fsdp_twice", "fsdp", ckpt="last", **FORECAST)
    train(folder / "ddp_auto", "ddp", **FORECAST, **{"data.batch_size": "auto", "data.chunk_size": "auto"})
    train(folder / "one_trunk_ddp", "ddp", kind="one_trunk")
    train(folder / "one_trunk_fsdp", "fsdp", kind="one_trunk")
    train(folder / "one_trunk_fsdp_twice", "fsdp", kind="one_trunk", pulled=True)
    train(folder / "one_trunk_fsdp_twice", "fsdp", kind="one_trunk", ckpt="last")
    train(folder / "parts_ddp", "ddp", kind="parts")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
