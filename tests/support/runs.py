"""Configs composed as the commands do, a few recordings on disk, and a callback that ends a training early."""

import csv
import functools
import json
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from bind.commands.checkout import CONFIG_DIR
from bind.runs.jobs import train

NUM_ROWS = {"train": 12, "val": 6, "test": 6}
AUDIO_RATE_HZ, IMU_RATE_HZ = 16_000, 100
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
CAPTIONS = ["a handwritten {}", "the number {}"]

QUICK = {
    "trainer.accelerator": "cpu",
    "trainer.enable_progress_bar": False,
    "trainer.log_every_n_steps": 1,
    "callbacks.early_validation": None,
    "encoder.audio.width": 8,
    "encoder.audio.num_layers": 2,
    "encoder.audio.num_time_layers": 1,
    "encoder.audio.time_width": 16,
    "encoder.imu.width": 8,
    "encoder.imu.num_layers": 2,
    "evaluation.num_gallery_queries": 0,
    "evaluation.num_scatter_samples": 0,
}
RECORDED = {
    **QUICK,
    "trainer.max_epochs": 2,
    "data.batch_size": 4,
    "transform.audio.window_seconds": 0.25,
    "transform.imu.window_seconds": 0.5,
}
"""Overrides for `data=manifest` on what `write_recordings` wrote: three steps an epoch."""

UNMASKED = {
    "encoder.audio.dropout": 0.0,
    "encoder.audio.num_time_masks": 0,
    "encoder.audio.num_mel_masks": 0,
    "encoder.imu.dropout": 0.0,
}
"""Overrides without which two trainings on the same data see other values."""


@functools.cache
def _composed(name: str, choices: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose(name, overrides=list(choices))


def config(*choices: str, name: str = "train", **values: Any) -> DictConfig:
    """The config of a command: `choices` as on the command line, `values` (dotted keys) changed afterwards.

    Composing takes the better part of a second; the same choices are composed once.
    """
    made = _composed(name, choices).copy()
    for key, value in values.items():
        OmegaConf.update(made, key, value, merge=False, force_add=True)
    return made


def fused_config(manifest: Path, run_dir: Path, fusion: str = "attention", **values: Any) -> DictConfig:
    """Two epochs on `write_recordings` with everything random switched on: dropout, masks, augmentation."""
    choices = ("data=manifest", f"fusion={fusion}")
    made = {"data.manifest": str(manifest), "run_dir": str(run_dir), "fusion.inputs": ["audio", "imu"]}
    augmented = {"transform.audio.gain_db_range": [-6.0, 6.0], "transform.imu.noise_std": 0.1}
    return config(*choices, **RECORDED | made | augmented | values)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_recordings(folder: Path) -> Path:
    """A manifest with sound, motion, pictures and two captions each; some rows lack one of the first three."""
    rng = np.random.default_rng(0)
    rows = []
    for split, num_rows in NUM_ROWS.items():
        for index in range(num_rows):
            key = f"{split}{index}"
            row: dict[str, Any] = {"key": key, "split": split, "owner": f"person:{key}", "label": f"label {index % 2}"}
            row["text"] = [caption.format(key) for caption in CAPTIONS]
            if index % 6 != 3:
                row["audio"] = f"{key}.wav"
                write_sound(folder / f"{key}.wav", 300 + 50 * index, rng)
            if index % 6 != 4:
                row["imu"] = f"{key}.npy"
                write_motion(folder / f"{key}.npy", 1 + index, rng)
            if index % 6 != 5:
                row["image"] = f"{key}.png"
                pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
                Image.fromarray(pixels).save(folder / f"{key}.png")
            rows.append(row)
    return write_manifest(folder / "manifest.jsonl", rows)


def write_sound(path: Path, pitch_hz: float, rng: np.random.Generator, rate_hz: int = AUDIO_RATE_HZ) -> None:
    time = np.arange(rate_hz // 2) / rate_hz
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch_hz * time) + 0.01 * rng.standard_normal(len(time)), rate_hz)


def write_motion(
    path: Path, frequency_hz: float, rng: np.random.Generator, channels: tuple[str, ...] = CHANNELS
) -> None:
    time = np.arange(IMU_RATE_HZ)[:, None] / IMU_RATE_HZ
    values = np.sin(2 * np.pi * frequency_hz * time + np.arange(len(channels))) + 0.1 * rng.standard_normal((100, 1))
    np.save(path, values.astype(np.float32))
    units = ["g" if channel.startswith("acc") else "rad/s" for channel in channels]
    about = {"channels": channels, "units": units, "sample_rate_hz": IMU_RATE_HZ}
    path.with_suffix(".json").write_text(json.dumps(about))


def write_manifest(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_manifest(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class PulledPlugError(Exception):
    """Stands for what ends a training without a word."""


class PullPlug(L.Callback):
    """Ends the training after `step` optimizer steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            raise PulledPlugError


def train_whole_and_in_parts(manifest: Path, folder: Path, **values: Any) -> Path:
    """Train `fused_config` at once, and once more, killed after four steps; both have to log and save the same.

    Returns the run that was trained at once.
    """
    whole, killed = folder / "whole", folder / "killed"
    train(fused_config(manifest, whole, **values))
    plug = {"callbacks.plug": {"_target_": "support.runs.PullPlug", "step": 4}}
    with pytest.raises(PulledPlugError):
        train(fused_config(manifest, killed, **values | plug))
    train(fused_config(manifest, killed, **values, ckpt="last"))
    for name in ("logs/metrics.csv", "binder/model.safetensors"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    return whole


def logged_columns(run_dir: Path) -> set[str]:
    """The names of the figures that a run has logged."""
    with (run_dir / "logs" / "metrics.csv").open(newline="") as file:
        return {name for row in csv.DictReader(file) for name, value in row.items() if value}


def assigned(values):
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def plain_precision():
    """Lightning's precision plugin of full precision."""
    from lightning.pytorch.plugins.precision import Precision

    return Precision()
