"""Runs that are stopped, killed, starved of disk or poisoned: what is left of them, what they say, how they go on."""

import csv
import logging
import multiprocessing
import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support import runs
from support.finished import assert_equal, figures_of, weights_of
from support.runs import assigned

from bind.commands.cli import main
from bind.files.locks import LOCK, lock_folder
from bind.losses.temperature import MAX_LOG_SCALE
from bind.runs.directory import is_finished
from bind.runs.jobs import train
from bind.training.callbacks.stop import TrainingStopped
from bind.training.checkpoints import find_checkpoint

pytestmark = pytest.mark.slow

EVERY_STEP = {"callbacks.last.every_n_train_steps": 1}
BY_STEPS = {"trainer.max_epochs": -1, "trainer.max_steps": 6}  # what `recorded_run` does in two epochs


def at(act, **options):
    return {"callbacks.at": {"_target_": "support.mishaps.At", "act": act, **options}}


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def config(recordings, run_dir, *values):
    merged = {key: value for part in values for key, value in part.items()}
    return runs.fused_config(recordings, run_dir, **merged)


def assert_the_same_run(run_dir, other):
    for name in ("last", "best"):
        paths = [folder / "checkpoints" / f"{name}.ckpt" for folder in (run_dir, other)]
        assert_equal(*map(weights_of, paths))
    assert figures_of(run_dir) == figures_of(other)
    # Not only the figures: no row is missing, there twice, or in another place.
    assert (run_dir / "logs" / "metrics.csv").read_text() == (other / "logs" / "metrics.csv").read_text()


def logged_rows(run_dir):
    with (run_dir / "logs" / "metrics.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


# Killed


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """A shell's background job, as the tests may be one, starts with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("hook", "time", "values"),
    [
        ("on_train_batch_start", 3, EVERY_STEP),  # in mid-epoch, the step before not yet in the file of the log
        ("on_validation_start", 1, EVERY_STEP),  # after the last step of an epoch
        ("on_train_epoch_start", 2, BY_STEPS),  # an epoch has ended, and Lightning counts steps
        ("on_train_batch_start", 6, {**EVERY_STEP, **BY_STEPS, "data.num_workers": 2}),
    ],
)
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    hook, time, values, recordings, recorded_run, tmp_path, no_pictures
):
    with pytest.raises(runs.PulledPlugError):
        train(config(recordings, tmp_path, values, at("kill", hook=hook, time=time)))
    (tmp_path / "checkpoints" / ".other.ckpt.0123abcd.partial").write_bytes(b"half")
    with (tmp_path / "logs" / "metrics.csv").open("a") as log:
        log.write("4,0.12")
    train(config(recordings, tmp_path, values, {"ckpt": "auto"}))
    assert_the_same_run(tmp_path, recorded_run)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("values", "hook", "time"),
    [
        ({"trainer.val_check_interval": 2}, "on_train_batch_start", 4),
        # Between the two batches of the second step; then in that step, and after it.
        ({"trainer.val_check_interval": 3, "trainer.accumulate_grad_batches": 2}, "on_train_batch_start", 4),
        ({"trainer.val_check_interval": 3, "trainer.accumulate_grad_batches": 2}, "on_train_batch_start", 6),
    ],
)
def test_a_validation_in_mid_epoch_stands_in_the_log_once(values, hook, time, recordings, tmp_path, no_pictures):
    values = {**values, "data.batch_size": 2, "trainer.max_epochs": 1}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(config(recordings, whole, values))
    with pytest.raises(runs.PulledPlugError):
        train(config(recordings, killed, values, at("kill", hook=hook, time=time)))
    train(config(recordings, killed, values, {"ckpt": "auto"}))
    assert_the_same_run(killed, whole)
    assert sum("val/mean_R@1" in row for row in logged_rows(whole)) == 2 + (values["trainer.val_check_interval"] == 2)


def test_a_checkpoint_in_mid_epoch_holds_what_ends_the_step(recordings, tmp_path):
    """A temperature that has run over its bound is brought back after the step."""
    overshoots = at("overshoot", hook="on_train_batch_end", time=2)
    with pytest.raises(TrainingStopped):
        train(config(recordings, tmp_path, overshoots, {"callbacks.then": at("SIGTERM", time=3)["callbacks.at"]}))
    last = weights_of(tmp_path / "checkpoints" / "last.ckpt")
    assert last["global_step"] == 2
    scales = [x.item() for name, x in last["state_dict"].items() if name.endswith("log_scale")]
    assert max(scales) == pytest.approx(MAX_LOG_SCALE)


def test_auto_goes_on_where_there_is_something_to_go_on_from(recorded_run, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "bind"):
        assert find_checkpoint("auto", tmp_path) is None
    assert f"no checkpoint in {tmp_path} yet" in caplog.text
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    shutil.copy(recorded_run / "checkpoints" / "last.ckpt", last)
    assert find_checkpoint("auto", tmp_path) == find_checkpoint("last", tmp_path) == last


def test_a_finished_run_is_written_over_with_overwrite_only(recordings, recorded_run, tmp_path):
    run_dir = shutil.copytree(recorded_run, tmp_path / "run")
    before = runs.tree(run_dir)
    with pytest.raises(ValueError, match=r"holds a finished run: .*overwrite=true"):
        train(config(recordings, run_dir))
    assert runs.tree(run_dir) == before


def test_a_folder_that_another_process_writes_is_refused(recordings, tmp_path):
    with lock_folder(tmp_path, "wait"):
        refused = run_python("from support import runs; from bind.runs.jobs import train; "
                             f"train(runs.config(run_dir={str(tmp_path)!r}))")  # fmt: skip
        assert refused.returncode
        assert f"is in use by process {os.getpid()} on {socket.gethostname()}" in refused.stderr
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_a_fresh_start_leaves_no_older_checkpoint_to_go_on_from(recordings, recorded_run, tmp_path):
    run_dir = shutil.copytree(recorded_run, tmp_path / "run")
    with pytest.raises(runs.PulledPlugError):
        train(config(recordings, run_dir, at("kill", time=2), {"overwrite": True}))
    assert find_checkpoint("auto", run_dir) is None
    assert not is_finished(run_dir)
    assert (run_dir / "checkpoints" / "last.ckpt.earlier").is_file()


# TrainingStopped by a signal


@pytest.mark.parametrize(
    ("name", "hook", "time", "step", "num_workers"),
    [
        ("SIGTERM", "on_train_batch_start", 2, 1, 0),
        ("SIGUSR1", "on_train_batch_end", 3, 3, 0),  # the last step of an epoch: validation is not waited for
        ("SIGINT", "on_validation_batch_start", 1, 3, 2),  # loader processes have begun what is not the next epoch
        ("SIGTERM", "on_train_epoch_end", 2, 6, 0),
    ],
)
def test_a_signal_saves_says_how_to_go_on_and_exits_with_0(
    name, hook, time, step, num_workers, recordings, recorded_run, tmp_path, capfd, no_pictures
):
    values = {"data.num_workers": num_workers}
    handler = signal.getsignal(getattr(signal, name))
    with pytest.raises(SystemExit) as stopped:
        train(config(recordings, tmp_path, values, at(name, hook=hook, time=time)))
    assert stopped.value.code == 0
    assert signal.getsignal(getattr(signal, name)) == handler
    out, err = capfd.readouterr()
    assert f"{name}: stopping" in err
    assert f"stopped by {name} after step {step}; go on with: python" in out.splitlines()[-1]
    assert out.endswith(f"run_dir={tmp_path} ckpt=last\n")
    assert weights_of(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == step
    assert not (tmp_path / "metrics.json").exists()

    train(config(recordings, tmp_path, values, {"ckpt": "last"}))
    assert_the_same_run(tmp_path, recorded_run)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_second_signal_stops_at_once(name, recordings, tmp_path):
    twice = {"callbacks.again": at(name, time=2)["callbacks.at"]}
    with pytest.raises(SystemExit) as stopped:
        train(config(recordings, tmp_path, twice, at(name, time=2)))
    assert stopped.value.code == 1
    assert not (tmp_path / "checkpoints").exists()


def test_a_signal_before_the_training_ends_the_run_at_once(recordings, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(
        "bind.runs.parts.Parts.fill_cache", lambda *args, **options: os.kill(os.getpid(), signal.SIGTERM)
    )
    with pytest.raises(SystemExit) as stopped:
        train(config(recordings, tmp_path))
    assert stopped.value.code == 0
    line = capfd.readouterr().out.splitlines()[-1]
    assert line.startswith("stopped by SIGTERM; go on with: python ")
    assert line.endswith(f"run_dir={tmp_path}"), "there is no checkpoint yet"


def test_a_signal_in_the_evaluation_finds_a_trained_binder_and_the_command_evaluates_it(
    recordings, tmp_path, monkeypatch, as_command, capfd, no_pictures
):
    with monkeypatch.context() as patched:
        patched.setattr("bind.runs.jobs.evaluate_run", lambda *args, **options: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit) as stopped:
            train(config(recordings, tmp_path))
    assert stopped.value.code == 0
    told, _, command = capfd.readouterr().out.splitlines()[-1].partition(", evaluate it with: ")
    assert told == "stopped by SIGTERM in the evaluation; training has finished and the binder is saved"
    assert not (tmp_path / "metrics.json").exists()
    assert as_command(main, *shlex.split(command)[1:]) == 0
    assert (tmp_path / "metrics.json").exists()


def test_a_signal_ends_the_whole_sweep_and_the_printed_command_goes_on(
    recordings, tmp_path, as_command, capfd, monkeypatch, no_pictures
):
    values = runs.RECORDED | {"data.manifest": str(recordings), "trainer.max_epochs": 1}
    plug = "+callbacks.at={_target_: support.mishaps.At, act: SIGTERM, time: 2}"
    choices = ["-m", "data=manifest", "optimizer.lr=1e-3,2e-3", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    assert as_command(main, "train", *choices, *assigned(values), plug) == 0
    line = next(line for line in capfd.readouterr().out.splitlines() if line.startswith("stopped by"))
    told, _, command = line.partition("; go on with: ")
    assert told == "stopped by SIGTERM after step 1 in job 0 of the sweep, before 1 (optimizer.lr=0.002)"
    assert not list((tmp_path / "sweep").rglob("metrics.json"))
    assert not (tmp_path / "sweep" / "1").exists()

    program, script, *arguments = shlex.split(command)
    assert (program, Path(script).name) == ("python", "train.py")
    assert as_command(main, "train", *(a for a in arguments if a != plug)) == 0
    for job in ("0", "1"):
        steps = torch.load(tmp_path / "sweep" / job / "checkpoints" / "last.ckpt")["global_step"]
        assert (steps, (tmp_path / "sweep" / job / "metrics.json").exists()) == (3, True)


# Broken


def test_a_full_disk_leaves_the_checkpoint_before_and_says_so(recordings, recorded_run, tmp_path, no_pictures):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    last = tmp_path / "checkpoints" / "last.ckpt"
    try:
        with pytest.raises(ValueError, match="could not be written: File too large; the one that was there") as error:
            train(config(recordings, tmp_path, EVERY_STEP, at("fill_disk", time=4)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(error.value).startswith(str(last))
    assert f"after step 3, is {last}; go on with\npython " in str(error.value)
    assert weights_of(last)["global_step"] == 3
    train(config(recordings, tmp_path, EVERY_STEP, {"ckpt": "last"}))
    assert_the_same_run(tmp_path, recorded_run)


def test_a_disk_that_is_full_for_other_files_ends_the_run_likewise(recordings, tmp_path):
    told = r": No space left on device; make room, or choose another place\nThe last good checkpoint, after step 3"
    with pytest.raises(ValueError, match=told):
        train(config(recordings, tmp_path, at("lack_space")))


@pytest.mark.parametrize("values", [{}, EVERY_STEP], ids=["", "before the checkpoint that follows"])
def test_a_loss_that_is_not_a_number_ends_the_run(values, recordings, tmp_path):
    pattern = (
        r"the loss of pairs\.imu-image is nan at step 4 of the log\. Lower optimizer\.lr(.|\n)*after step (\d), is "
    )
    with pytest.raises(ValueError, match=pattern):
        train(config(recordings, tmp_path, values, at("poison_loss", time=5)))
    last = weights_of(tmp_path / "checkpoints" / "last.ckpt")
    assert last["global_step"] == (4 if values else 3)
    assert all(x.isfinite().all() for x in last["state_dict"].values())


def test_weights_that_are_not_finite_are_not_saved(recordings, tmp_path):
    """The last step of an epoch can spoil them without a loss that shows it."""
    with pytest.raises(ValueError, match=r"binder\.encoders\.imu\.\S+ is not finite after 6 steps"):
        train(config(recordings, tmp_path, at("poison", hook="on_train_batch_end", time=6)))
    assert weights_of(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 3


def test_a_loader_process_that_dies_ends_the_run(recordings, tmp_path):
    with pytest.raises(ValueError, match=r"a data worker has died: .*Lower data\.num_workers"):
        train(config(recordings, tmp_path, {"data.num_workers": 1}, at("kill_worker")))


def test_a_loader_process_that_is_stopped_ends_the_run_in_time(recordings, tmp_path):
    values = {"data.num_workers": 1, "timeout_seconds": 3}
    with pytest.raises(
        ValueError, match=r"within timeout_seconds=3: worker 0 \(\d+\) is stopped: find what has stopped"
    ):
        train(config(recordings, tmp_path, values, at("stop_worker", time=2)))
    assert not [process for process in multiprocessing.active_children() if process.daemon]


# Several processes


@pytest.mark.ranks
def test_processes_stop_together_go_on_together_and_fail_with_the_error_of_one(
    recordings, tmp_path, as_command, capfd, monkeypatch
):
    """This process is the first one: another start would cost more than all that happens here."""
    # After the grace the first process is ended, and with it all tests.
    monkeypatch.setattr("bind.training.callbacks.processes.GRACE_SECONDS", 60.0)
    values = runs.RECORDED | {"data.manifest": str(recordings), "data.batch_size": 2}
    choices = ["-m", "data=manifest", "trainer=ddp", "trainer.devices=2", "hydra.sweep.dir=sweep", *assigned(values)]
    last = tmp_path / "sweep" / "0" / "checkpoints" / "last.ckpt"
    assert (
        as_command(main, "train", *choices, "+callbacks.at={_target_: support.mishaps.At, act: SIGTERM, rank: 1}") == 0
    )
    assert "stopped by a signal to another process after step 3 in job 0 of the sweep" in capfd.readouterr().out
    assert weights_of(last)["global_step"] == 3

    again = "+callbacks.at={_target_: support.mishaps.At, act: fail, time: 3, rank: 1}"
    told = as_command(main, "train", *choices, "ckpt=last", "callbacks.last.every_n_train_steps=1", again)
    assert told.startswith("error: process 1: a file is broken\n")
    assert f"after step 4, is {last}; go on with\n" in told
    assert "Traceback" not in capfd.readouterr().err
