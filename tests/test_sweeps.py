"""Sweeps and several processes, through the command line: a start costs seconds, so one of each."""

import contextlib
import csv
import json
import math
import os
import signal
import subprocess
import sys
from datetime import datetime

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.conf import ConfigSourceInfo
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict, read_write
from support import rank_config, runs
from support.runs import assigned

from bind.commands.checkout import CONFIG_DIR, TRAIN_SCRIPT
from bind.commands.cli import main
from bind.commands.sweeping import SWEEP_PLUGINS, run_as_train_script
from bind.files.locks import lock_folder
from bind.runs.jobs import train
from bind.studies.sweeps.jobs import read_jobs, run_recorded
from bind.training.callbacks.stop import TrainingStopped


def column(run_dir, name):
    with (run_dir / "logs" / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def table(folder):
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def start(arguments, folder):
    """Exit status, stdout and stderr of `python train.py`; no process of it is left behind."""
    command = [sys.executable, str(TRAIN_SCRIPT), *arguments]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, cwd=folder, **options) as process:
        try:
            out, err = process.communicate(timeout=250)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, err


@pytest.mark.ranks
def test_two_processes_in_a_sweep_train_each_job_as_one_process_would(recordings, tmp_path, no_pictures):
    values = runs.RECORDED | runs.UNMASKED | {"data.manifest": str(recordings), "trainer.max_epochs": 1}
    choices = ["data=manifest", "trainer=ddp", "trainer.devices=2", "seed=0,1", f"hydra.sweep.dir={tmp_path}"]
    choices.append(rank_config.WriteConfig.override())
    status, out, err = start(["-m", *choices, *assigned(values), "data.batch_size=2"], tmp_path)
    assert status == 0, err[-3000:]
    jobs = [tmp_path / "0", tmp_path / "1"]
    for seed, job in enumerate(jobs):
        first, second = rank_config.written(job)
        assert first == second
        assert (first["seed"], first["run_dir"]) == (seed, str(job))
        figures = json.loads((job / "metrics.json").read_text())["retrieval"]["audio_to_text"]
        assert (figures["queries"], figures["pool"]) == (5, 12), "one process has to evaluate the whole split"
        assert out.count(f"run directory: {job}\n") == 1
        assert all(math.isfinite(value) for value in column(job, "val/audio_to_image/R@1"))
    assert len(list(tmp_path.rglob("metrics.json"))) == 2
    assert [row["status"] for row in table(tmp_path)] == ["done", "done"]
    assert out.endswith(f"sweep directory: {tmp_path}\n")
    assert out.count("sweep directory") == 1
    assert column(jobs[0], "train/loss") != column(jobs[1], "train/loss")

    alone = tmp_path / "alone"
    train(runs.config("data=manifest", **values, run_dir=str(alone)))  # batches of four in one process
    for name in ("train/loss/audio-image", "train/loss/imu-image"):
        together, one = column(jobs[0], name), column(alone, name)
        assert len(together) == len(one) == 3
        assert together[0] == pytest.approx(one[0], abs=1e-5)
        assert together == pytest.approx(one, abs=1e-3)  # after two steps the gradients were equal too
    assert column(jobs[0], "val/mean_R@1") == column(alone, "val/mean_R@1")


@pytest.mark.ranks
def test_two_processes_train_what_optuna_chose(recordings, tmp_path):
    pytest.importorskip("optuna", reason='pip install "bindspace[optuna]"')
    values = runs.RECORDED | {"data.manifest": str(recordings), "trainer.max_epochs": 1, "hydra.sweeper.n_trials": 2}
    choices = ["data=manifest", "sweep=optuna", "trainer=ddp", "trainer.devices=2", f"hydra.sweep.dir={tmp_path}"]
    choices += [rank_config.WriteConfig.override(), "encoder.audio.width=choice(8,16)", "optimizer.weight_decay=0.1"]
    values.pop("encoder.audio.width")
    status, _, err = start(["-m", *choices, *assigned(values)], tmp_path)
    assert status == 0, err[-3000:]
    study = yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())
    chosen = {}
    for job in read_jobs(tmp_path):
        first, second = rank_config.written(tmp_path / job.name)
        assert first == second
        assert first["optimizer"]["weight_decay"] == 0.1, "what the command line fixes is not searched"
        chosen[first["optimizer"]["lr"]] = job.score
        assert first["optimizer"]["lr"] == float(job.overrides["optimizer.lr"])
    assert len(chosen) == 2
    assert max(chosen.values()) == study["best_value"]
    assert (tmp_path / "study.db").stat().st_size > 0


@pytest.mark.slow
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
        [wandb_run] = (job / "wandb").glob("offline-run-*")  # the jobs do not share one
        logged = b"".join(path.read_bytes() for path in wandb_run.glob("*.wandb"))
        for key in (b"batch_size", b"optimizer", b"warmup_fraction", b"num_time_layers", b"seed"):
            assert key in logged, "the config of the run is not there"
    assert f"run directory: {tmp_path / 'sweep' / '1'}" in capfd.readouterr().out
    assert not (tmp_path / "runs").exists()
    assert "LOCAL_RANK" not in os.environ


@pytest.mark.slow
def test_a_sweep_that_starts_when_another_has_its_name_by_the_time_takes_the_next(
    recordings, tmp_path, as_command, capfd, no_pictures
):
    values = runs.RECORDED | {"data.manifest": str(recordings), "trainer.max_steps": 1}
    by_time = "hydra.sweep.dir=sweeps/${now:%Y}/lr\\=1"  # the same for all sweeps of a year
    choices = ["-m", "data=manifest", by_time, "seed=0,1", *assigned(values)]
    first = tmp_path / "sweeps" / f"{datetime.now():%Y}" / "lr=1"
    with lock_folder(first, "wait"):  # as another sweep does
        (first / "0").mkdir()
        assert as_command(main, "train", *choices) == 0
        assert [path.name for path in first.iterdir() if path.is_dir()] == ["0"]
        assert not list(first.glob("*/*"))
    second = first.with_name("lr=1-2")
    assert capfd.readouterr().out.endswith(f"sweep directory: {second}\n")
    assert all((second / job / "metrics.json").is_file() for job in ("0", "1"))
    assert [row["status"] for row in table(second)] == ["done", "done"]


@pytest.mark.slow
def test_a_run_directory_may_have_an_equals_sign(recordings, tmp_path, as_command, capfd, no_pictures):
    values = runs.RECORDED | {"data.manifest": str(recordings), "trainer.max_steps": 1}
    assert as_command(main, "train", "data=manifest", "run_dir=runs/lr=1", *assigned(values)) == 0
    run_dir = tmp_path / "runs" / "lr=1"
    assert capfd.readouterr().out.endswith(f"run directory: {run_dir}\n")
    assert (run_dir / "metrics.json").is_file()
    assert as_command(main, "evaluate", "run=runs/lr=1", "split=val") == 0
    assert (run_dir / "metrics_val.json").is_file()


@pytest.mark.slow
def test_a_job_that_is_refused_does_not_stop_the_others(recordings, tmp_path, as_command, capfd, no_pictures):
    values = runs.RECORDED | {"data.manifest": str(recordings), "trainer.max_epochs": 1}
    choices = ["-m", "data=manifest", f"hydra.sweep.dir={tmp_path / 'sweep'}", "loss.temperature=5,0.1"]
    assert as_command(main, "train", *choices, *assigned(values)) == 1
    assert not (tmp_path / "sweep" / "0" / "metrics.json").exists()
    assert (tmp_path / "sweep" / "1" / "metrics.json").exists()
    printed = capfd.readouterr().err
    assert "error: temperature=5" in printed
    assert "loss.temperature=5" in printed.partition("Error executing job with overrides: ")[2]
    assert "Traceback" not in printed
    done, failed = table(tmp_path / "sweep")
    assert (done["rank"], done["job"], done["loss.temperature"], done["status"]) == ("1", "1", "0.1", "done")
    assert (failed["rank"], failed["job"], failed["status"]) == ("", "0", "failed")
    assert failed["error"].startswith("temperature=5")


@pytest.mark.slow
def test_a_job_that_fails_with_other_processes_ends_the_sweep(recordings, tmp_path, as_command, capfd, monkeypatch):
    """Lightning would end this process while the next job runs."""

    def fit(*args, **options):
        monkeypatch.setenv("LOCAL_RANK", "0")  # what Lightning sets when it starts processes
        raise ValueError("a file is broken")

    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr("bind.runs.jobs.fit", fit)
    values = runs.RECORDED | {"data.manifest": str(recordings)}
    stopped = as_command(main, "train", "-m", "data=manifest", "hydra.sweep.dir=sweep", "seed=0,1", *assigned(values))
    assert stopped == "error: a file is broken\nthe rest of the sweep is not run"
    assert [path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()] == ["0"]
    assert "LOCAL_RANK" not in os.environ
    job, rest = table(tmp_path / "sweep")
    assert (job["status"], job["error"]) == ("failed", "a file is broken")
    assert (rest["job"], rest["seed"], rest["status"]) == ("1", "1", "not started")


# Choices of configs/sweep


@pytest.mark.parametrize("choice", sorted(path.stem for path in (CONFIG_DIR / "sweep").glob("*.yaml")))
def test_a_choice_composes_where_its_extra_is_installed(choice):
    plugin = SWEEP_PLUGINS[choice].replace("-", "_")
    pytest.importorskip(f"hydra_plugins.{plugin}", reason=f'pip install "bindspace[{choice}]"')
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        made = compose("train", overrides=[f"sweep={choice}", "hydra.sweep.dir=here"], return_hydra_config=True)
    parts = OmegaConf.to_container(made.hydra, resolve=False)
    assert plugin in parts["sweeper"]["_target_"] + parts["launcher"]["_target_"]


@pytest.mark.parametrize("chosen", ["optuna", "[joblib,optuna]"])
def test_a_choice_that_is_not_installed_says_how_to_install_it(chosen, as_command, capfd, monkeypatch):
    monkeypatch.setattr("bind.commands.sweeping.SWEEP_PLUGINS", {"optuna": "hydra-no-such-sweeper"})
    assert as_command(main, "train", "-m", f"sweep={chosen}", "seed=0,1") == 1
    assert capfd.readouterr().err == (
        'error: sweep=optuna needs hydra-no-such-sweeper: pip install "bindspace[optuna]"\n'
    )


@pytest.mark.slow
@pytest.mark.parametrize(("more", "message"), [((), "does nothing without -m"), (("ckpt=last",), "ckpt=last: ")])
def test_a_choice_without_m_is_refused_but_for_a_job_that_goes_on(more, message, tmp_path, as_command, capfd):
    (tmp_path / "conf" / "sweep").mkdir(parents=True)
    (tmp_path / "conf" / "sweep" / "mine.yaml").write_text("# @package _global_\nhydra: {sweep: {dir: mine}}\n")
    assert as_command(main, "train", "--config-dir", "conf", "sweep=mine", "run_dir=empty", *more) == 1
    assert message in capfd.readouterr().err


@pytest.fixture(scope="module")
def job_config():
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        made = compose("train", overrides=["seed=3", "hydra.mode=MULTIRUN"], return_hydra_config=True)
    with open_dict(made):
        made.hydra.job.config_name = "train"
        made.hydra.runtime.config_sources = [
            ConfigSourceInfo("/mine/conf", schema="file", provider="command-line"),
            ConfigSourceInfo(str(CONFIG_DIR), schema="file", provider="main"),
        ]
    return made


@pytest.fixture
def in_job(job_config, tmp_path):
    """Hydra's state in a job of a sweep whose folder is `tmp_path`."""
    with read_write(job_config.hydra), open_dict(job_config.hydra):
        job_config.hydra.runtime.output_dir = str(tmp_path)
    HydraConfig.instance().set_config(job_config)
    yield
    HydraConfig.instance().cfg = None


@pytest.mark.slow
def test_a_job_in_a_process_of_a_launcher_starts_train_py_for_its_other_processes(in_job, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/lib/submitit/core/_submit.py", "folder", "--flag"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", "submitit.core._submit")
    run_as_train_script()
    assert sys.argv == [str(TRAIN_SCRIPT), "--config-name=train", "--config-dir=/mine/conf"]
    assert sys.modules["__main__"].__spec__ is None
    monkeypatch.setattr(sys, "argv", [sys.argv[0], "-m", "seed=1,2"])
    run_as_train_script()
    assert sys.argv[1:] == ["-m", "seed=1,2"]


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.5, math.nan])
def test_a_score_that_is_not_a_number_is_none(value, in_job, tmp_path):
    score = None if math.isnan(value) else value
    assert run_recorded(lambda: value, "val/mean_R@1") == score
    (job,) = read_jobs(tmp_path)
    assert (job.status, job.score, job.overrides, job.monitor) == ("done", score, {"seed": "3"}, "val/mean_R@1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ends", "status", "message"),
    [
        (KeyboardInterrupt(), "stopped", "KeyboardInterrupt"),
        (TrainingStopped("SIGTERM", 3), "stopped", "stopped by SIGTERM after step 3"),
        (SystemExit("lost\nmore"), "failed", "lost"),
        (MemoryError("full"), "failed", "full"),
    ],
)
def test_whatever_ends_a_job_is_on_record(ends, status, message, in_job, tmp_path):
    def job():
        (running,) = read_jobs(tmp_path)
        assert running.status == "running"
        raise ends

    with pytest.raises(type(ends)):
        run_recorded(job, "val/mean_R@1")
    (ended,) = read_jobs(tmp_path)
    assert (ended.status, ended.error) == (status, message)
