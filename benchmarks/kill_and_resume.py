"""Kills a training again and again and compares what it becomes with the one that was left alone.

    python benchmarks/kill_and_resume.py --kills 20

Each run is a real `python train.py`: two sources with different modalities, shuffled, augmented, with dropout and two
loader processes, a checkpoint after every step. SIGKILL goes to the whole process group at a random moment of start-up
or training; then the same command is given again, with `ckpt=auto`, until it ends by itself. Exit status 1 where
weights, figures or log differ in a single bit.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning as L

HERE = Path(__file__).parent
OVERRIDES = [
    "modalities=[audio,imu]", "+pairs.audio-text.weight=0.5", "seed=3",
    "data.num_train=512", "data.num_val_queries=2", "data.num_test_queries=1", "data.batch_size=32",
    "data.num_workers=2",
    "transform.audio.gain_db_range=[-6,6]", "transform.imu.noise_std=0.1", "head.dropout=0.1",
    "encoder.audio.width=8", "encoder.audio.num_layers=2", "encoder.imu.width=8", "encoder.imu.num_layers=2",
    "trainer.accelerator=cpu", "trainer.max_epochs=6", "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false", "evaluation.num_gallery_queries=0", "callbacks.last.every_n_train_steps=1",
]  # fmt: skip
SPOKEN = "+data.sources.spoken={{_target_:bind.data.sources.manifest.ManifestSource,manifest:{}}}"
WHERE = "+callbacks.where={{_target_:kill_and_resume.Where,path:{}}}"


class Where(L.Callback):
    """Keeps what the run is doing in a file, for the table."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        self.path.write_text(f"step {trainer.global_step}")

    def on_validation_start(self, *args: Any) -> None:
        self.path.write_text("validation")

    def on_fit_end(self, *args: Any) -> None:
        self.path.write_text("evaluation")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, help="keep the two run directories there")
    options = parser.parse_args()
    folder = (options.out or Path(tempfile.mkdtemp(prefix="kill_and_resume"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    manifest = write_spoken_captions(folder / "spoken")
    alone, killed = folder / "alone", folder / "killed"

    started = time.monotonic()
    process = start(alone, manifest)
    seconds_until_fit = wait_for_step(process, alone)
    assert process.wait() == 0, f"{alone}: the training that is left alone failed"
    seconds_of_fit = time.monotonic() - started - seconds_until_fit
    print(f"left alone: {seconds_until_fit:.1f} s until the first step, then {seconds_of_fit:.1f} s")

    rng = random.Random(options.seed)
    print(f"{'kill':>4}  {'after':>8}  {'in':<16}{'last.ckpt':>12}  half-written")
    for kill in range(1, options.kills + 1):
        process, begun = start(killed, manifest), time.monotonic()
        if kill % 4 == 0:
            wait(process, rng.uniform(0, seconds_until_fit))
        else:
            wait_for_step(process, killed)
            wait(process, rng.uniform(0, 1.6 * seconds_of_fit / options.kills))
        if process.poll() is not None:
            print(f"the run has ended by itself after {kill - 1} kills")
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        where = phase(killed).read_text() if phase(killed).exists() else "start-up"
        half = ", ".join(path.name for path in killed.rglob("*.partial"))
        print(f"{kill:>4}  {time.monotonic() - begun:>6.1f} s  {where:<16}{step_of(killed):>12}  {half}")
    process = start(killed, manifest)
    assert process.wait() == 0, f"{killed}: the training failed after the last kill"

    found = {run_dir: facts(run_dir) for run_dir in (alone, killed)}
    print(f"\n{'':<28}{'left alone':<20}{'killed':<20}equal")
    for name, value in found[alone].items():
        print(f"{name:<28}{value:<20}{found[killed][name]:<20}{'yes' if value == found[killed][name] else 'NO'}")
    if options.out is None:
        shutil.rmtree(folder)
    raise SystemExit(found[alone] != found[killed])


def write_spoken_captions(folder: Path) -> Path:
    """A second source, with sound and text only: noise that has nothing to say, in files."""
    import numpy as np
    import soundfile

    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    with (folder / "spoken.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["key", "split", "owner", "audio", "text"])
        for split, num_rows in (("train", 96), ("val", 32), ("test", 32)):
            for index in range(num_rows):
                key = f"{split}{index}"
                soundfile.write(folder / f"{key}.wav", 0.1 * rng.standard_normal(16_000), 16_000)
                rows.writerow([key, split, key, f"{key}.wav", f"noise number {index}"])
    return folder / "spoken.csv"


def phase(run_dir: Path) -> Path:
    return run_dir.with_suffix(".phase")


def start(run_dir: Path, manifest: Path) -> subprocess.Popen:
    phase(run_dir).unlink(missing_ok=True)
    added = [SPOKEN.format(manifest), WHERE.format(phase(run_dir)), f"run_dir={run_dir}", "ckpt=auto"]
    command = [sys.executable, str(HERE.parent / "train.py"), *OVERRIDES, *added]
    search = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    with run_dir.with_suffix(".log").open("ab") as log:
        environment = {**os.environ, "PYTHONPATH": search}
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)


def wait_for_step(process: subprocess.Popen, run_dir: Path) -> float:
    """Seconds until the run trains, or ends."""
    started = time.monotonic()
    while not phase(run_dir).exists() and process.poll() is None:
        time.sleep(0.005)
    return time.monotonic() - started


def wait(process: subprocess.Popen, seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)


def step_of(run_dir: Path) -> str:
    import torch

    path = run_dir / "checkpoints" / "last.ckpt"
    return f"step {torch.load(path, weights_only=True)['global_step']}" if path.is_file() else "none yet"


def facts(run_dir: Path) -> dict[str, str]:
    """What has to be equal: a hash of every bit of it."""
    import torch

    found = {}
    for name in ("last.ckpt", "best.ckpt"):
        checkpoint = torch.load(run_dir / "checkpoints" / name, weights_only=True)
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
            found[f"{name}: {part}"] = hashed(checkpoint[part])
    metrics = json.loads((run_dir / "metrics.json").read_text())
    found["metrics.json"] = hashed({name: value for name, value in metrics.items() if name != "seconds"})
    for file in ("binder/model.safetensors", "logs/metrics.csv"):
        found[file] = hashlib.sha256((run_dir / file).read_bytes()).hexdigest()[:16]
    return found


def hashed(value: Any) -> str:
    import torch

    digest = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, dict):
            for key in sorted(part, key=str):
                digest.update(str(key).encode())
                add(part[key])
        elif isinstance(part, list):
            for item in part:
                add(item)
        elif isinstance(part, torch.Tensor):
            digest.update(part.contiguous().numpy().tobytes())
        else:
            digest.update(repr(part).encode())

    add(value)
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    main()
