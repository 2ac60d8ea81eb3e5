"""Sweeps and several processes, through the command line: a start costs seconds, so one of each."""

import contextlib
import csv
import json
import math
import os
import signal
import subprocess
import sys

import pytest
import runs

from bind.cli import HOME, main
from bind.run import train

UNMASKED = {
    "encoder.audio.dropout": 0.0,
    "encoder.audio.num_time_masks": 0,
    "encoder.audio.num_mel_masks": 0,
    "encoder.imu.dropout": 0.0,
}


def assigned(values):
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def column(run_dir, name):
    with (run_dir / "logs" / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def start(arguments, folder):
    """Exit status, stdout and stderr of `python train.py`; no process of it is left behind."""
    command = [sys.executable, str(HOME / "train.py"), *arguments]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, cwd=folder, **options) as process:
        try:
            out, err = process.communicate(timeout=250)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, err


def test_two_processes_in_a_sweep_train_each_job_as_one_process_would(recordings, tmp_path, no_pictures):
    values = runs.RECORDED | UNMASKED | {"data.manifest": str(recordings), "trainer.max_epochs": 1}
    choices = ["data=manifest", "trainer=ddp", "trainer.devices=2", "seed=0,1", f"hydra.sweep.dir={tmp_path}"]
    status, out, err = start(["-m", *choices, *assigned(values), "data.batch_size=2"], tmp_path)
    assert status == 0, err[-3000:]
    jobs = [tmp_path / "0", tmp_path / "1"]
    for job in jobs:
        figures = json.loads((job / "metrics.json").read_text())["retrieval"]["audio_to_text"]
        assert (figures["queries"], figures["pool"]) == (5, 12), "one process has to evaluate the whole split"
        assert out.count(f"run directory: {job}\n") == 1
        assert all(math.isfinite(value) for value in column(job, "val/audio_to_image/R@1"))
    assert len(list(tmp_path.rglob("metrics.json"))) == 2
    assert column(jobs[0], "train/loss") != column(jobs[1], "train/loss")

    alone = tmp_path / "alone"
    train(runs.config("data=manifest", **values, run_dir=str(alone)))  # batches of four in one process
    for name in ("train/loss/audio-image", "train/loss/imu-image"):
        together, one = column(jobs[0], name), column(alone, name)
        assert len(together) == len(one) == 3
        assert together[0] == pytest.approx(one[0], abs=1e-5)
        assert together == pytest.approx(one, abs=1e-3)  # after two steps the gradients were equal too
    assert column(jobs[0], "val/mean_R@1") == column(alone, "val/mean_R@1")


def test_jobs_of_a_sweep_have_their_own_folders_and_logs(recordings, tmp_path, as_command, capfd, no_pictures):
    values = runs.RECORDED | {"data.manifest": str(recordings), "trainer.max_steps": 1, "logger.wandb.offline": True}
    choices = ["-m", "data=manifest", "logger=wandb", f"hydra.sweep.dir={tmp_path / 'sweep'}", "optimizer.lr=1e-3,2e-3"]
    assert as_command(main, "train", *choices, *assigned(values)) == 0
    for number, lr in enumerate((1e-3, 2e-3)):
        job = tmp_path / "sweep" / str(number)
        assert json.loads((job / "metrics.json").read_text())["retrieval"]
        assert f"lr: {lr}" in (job / "config.yaml").read_text()
        assert len(column(job, "train/loss")) == 1
        assert column(job, "lr-AdamW/pg1") == [lr]
        assert len(list((job / "wandb").glob("offline-run-*"))) == 1, "the jobs share a W&B run"
    assert f"run directory: {tmp_path / 'sweep' / '1'}" in capfd.readouterr().out
    assert not (tmp_path / "runs").exists()
    assert "LOCAL_RANK" not in os.environ


def test_a_job_that_is_refused_does_not_stop_the_others(recordings, tmp_path, as_command, capfd, no_pictures):
    values = runs.RECORDED | {"data.manifest": str(recordings), "trainer.max_steps": 0}
    choices = ["-m", "data=manifest", f"hydra.sweep.dir={tmp_path / 'sweep'}", "loss.temperature=5,0.1"]
    assert as_command(main, "train", *choices, *assigned(values)) == 1
    assert not (tmp_path / "sweep" / "0" / "metrics.json").exists()
    assert (tmp_path / "sweep" / "1" / "metrics.json").exists()
    printed = capfd.readouterr().err
    assert "error: temperature=5" in printed
    assert "loss.temperature=5" in printed.partition("Error executing job with overrides: ")[2]
    assert "Traceback" not in printed


def test_a_job_that_fails_with_other_processes_ends_the_sweep(recordings, tmp_path, as_command, capfd, monkeypatch):
    """Lightning would end this process while the next job runs."""

    def fit(*args):
        monkeypatch.setenv("LOCAL_RANK", "0")  # what Lightning sets when it starts processes
        raise ValueError("a file is broken")

    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr("bind.run.fit", fit)
    values = runs.RECORDED | {"data.manifest": str(recordings)}
    stopped = as_command(main, "train", "-m", "data=manifest", "hydra.sweep.dir=sweep", "seed=0,1", *assigned(values))
    assert stopped == "error: a file is broken\nthe rest of the sweep is not run"
    assert [path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()] == ["0"]
    assert "LOCAL_RANK" not in os.environ
