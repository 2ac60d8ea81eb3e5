"""What a user gets wrong: one message that names the file or the key and what to do, no frames, exit status 1."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support import runs

import bind.runs.jobs
from bind.commands.checkout import TRAIN_SCRIPT
from bind.commands.cli import main
from bind.commands.embed import embed
from bind.commands.failures import JobFailed
from bind.commands.running import run_job
from bind.runs.directory import prepare_run_dir

NO_TRAINING = {"trainer.max_steps": 0}


@pytest.fixture
def own_recordings(recordings, tmp_path):
    """A manifest to spoil, with its recordings beside it."""
    return shutil.copytree(recordings.parent, tmp_path / "recordings") / recordings.name


@pytest.fixture
def refused(capsys, monkeypatch):
    """Runs a job as the commands do and gives its one message."""
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(job, config):
        with pytest.raises(JobFailed) as stopped:
            run_job(job, config)
        assert stopped.value.code == 1
        printed = capsys.readouterr().err
        assert "Traceback" not in printed
        assert printed.count("error: ") == 1
        return printed.partition("error: ")[2].strip()

    return run


def change_rows(manifest, change):
    rows = [dict(row) for row in runs.read_manifest(manifest)]
    return runs.write_manifest(manifest, [row for row in rows if change(row) is not False])


def drop(name, split=None):
    def change(row):
        if split in (None, row["split"]):
            row.pop(name, None)

    return change


# Data


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_corrupt_wav_names_the_file_also_from_a_worker(num_workers, own_recordings, tmp_path, refused):
    for path in own_recordings.parent.glob("train*.wav"):
        path.write_bytes(b"RIFF, but nothing like it")
    config = runs.fused_config(own_recordings, tmp_path / "run", **{"data.num_workers": num_workers})
    message = refused(bind.runs.jobs.train, config)
    assert "train" in message
    assert ".wav: not readable as sound" in message
    assert "Replace the file, convert it (ffmpeg -i FILE NEW.flac) or drop its row" in message
    assert "\n" not in message


@pytest.mark.slow
def test_stereo_at_another_rate_is_converted_and_said(own_recordings, tmp_path, caplog, monkeypatch, no_pictures):
    monkeypatch.setattr("bind.media.notices._warned", set())
    for path in own_recordings.parent.glob("*.wav"):
        soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, (22_050 // 2, 2)), 22_050)
    with caplog.at_level(logging.WARNING, "bind.data"):
        bind.runs.jobs.train(runs.fused_config(own_recordings, tmp_path / "run", **NO_TRAINING))
    assert "22050 Hz is resampled to 16000 Hz (first: " in caplog.text
    assert "2 channels is averaged to one" in caplog.text


def wrong_count(path):
    np.save(path, np.load(path)[:, :5])


def missing_channel(path):
    runs.write_motion(path, 2.0, np.random.default_rng(0), channels=runs.CHANNELS[:5])


def not_a_number(path):
    values = np.load(path)
    values[:, 2] = np.nan
    np.save(path, values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (wrong_count, "values (100, 5) are not (time, 6 channels)"),
        (missing_channel, "no channel gyro_z; it has acc_x, acc_y, acc_z, gyro_x, gyro_y"),
        (not_a_number, "values are NaN or infinite"),
    ],
)
def test_a_spoilt_sensor_file_is_named(spoil, said, own_recordings, tmp_path, refused):
    for path in own_recordings.parent.glob("train*.npy"):
        spoil(path)
    message = refused(bind.runs.jobs.train, runs.fused_config(own_recordings, tmp_path / "run"))
    assert "train" in message
    assert ".npy" in message
    assert said in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            drop("audio"),
            ["pairs.audio-image: no sample in split 'train' of ", "manifest.jsonl has audio", "imu, text"],
            id="without the column of a pair",
        ),
        pytest.param(
            drop("imu", "val"),
            ["pairs.imu-image: no sample in split 'val'", "has imu"],
            id="a split without a modality",
        ),
        pytest.param(
            lambda row: row.update(owner="person:x") if row["key"] in ("train0", "test0") else None,
            ["1 owner(s) occur in more than one split: 'person:x' (train: key 'train0', test: key 'test0')"],
            id="an owner in two splits",
        ),
        pytest.param(
            lambda row: row["split"] != "val",
            ["no samples of the split 'val': ", "manifest.jsonl has train 12, test 6. ", "limit_val_batches=0"],
            id="no validation",
        ),
        pytest.param(
            lambda row: row["split"] != "test",
            ["no samples of the split 'test': ", "manifest.jsonl has train 12, val 6. Set evaluation.split"],
            id="nothing to evaluate on",
        ),
        pytest.param(
            lambda row: row.update(audio="gone.wav") if row["key"] == "val1" else None,
            ["manifest.jsonl: 1 of ", "files do not exist: ", "gone.wav (audio of key 'val1')"],
            id="a file that is not there",
        ),
    ],
)
def test_a_wrong_manifest_says_what_and_where(change, said, own_recordings, tmp_path, refused):
    manifest = change_rows(own_recordings, change)
    message = refused(bind.runs.jobs.train, runs.fused_config(manifest, tmp_path / "run"))
    for part in said:
        assert part in message
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.slow
def test_pairs_that_never_meet_in_a_row(own_recordings, tmp_path, refused):
    change_rows(own_recordings, lambda row: drop("image" if "audio" in row else "audio")(row))
    message = refused(bind.runs.jobs.train, runs.fused_config(own_recordings, tmp_path / "run"))
    assert "pairs.audio-image: no sample in split 'train'" in message
    assert "put what belongs together in one row" in message


# Keys and values


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"data.manifest": "gone.jsonl"}, ["gone.jsonl: no such manifest", "check the path"]),
        ({"data.manifest": "???"}, ["not set: data.manifest; pass data.manifest=VALUE"]),
        ({"data.batch_size": 99}, ["data.batch_size=99 is larger than the 12 training samples", "data.batch_size=12"]),
        ({"data.batch_size": 0}, ["data.batch_size=0: give a number of rows"]),
        ({"data.num_workers": "all"}, ["data.num_workers=all: give a number of processes"]),
        ({"modalities": ["audoi"]}, ["modalities=['audoi']: audoi has no encoder; did you mean audio?"]),
        ({"modalities": "audoi"}, ["modalities=['audoi']: audoi has no encoder; did you mean audio?"]),
        ({"modalities": ["audio"]}, ["fusion.inputs", "imu"]),
        ({"fusion.inputs": ["audio"]}, ["fusion.inputs needs at least two modalities"]),
        ({"evaluation.modalities": ["audio", "imgae"]}, ["evaluation.modalities: imgae", "'image', 'text', 'audio'"]),
        ({"evaluation.modalities": ["text", "imu"]}, ["evaluation.modalities=['text', 'imu'] holds both sides of no"]),
        ({"evaluation.split": "tset"}, ["no samples of the split 'tset'", "train 12, val 6, test 6"]),
        ({"pairs.audio-imgae": {"weight": 1.0}}, ["pairs.audio-imgae: nothing embeds 'imgae'; did you mean 'image'?"]),
        ({"pairs.audio-image": {"wieght": 1.0}}, ["pairs.audio-image: give weight, temperature", "'wieght'"]),
        ({"pairs.audio": {"weight": 1.0}}, ["pairs.audio: name a pair A-B"]),
        ({"loss.temperature": 5.0}, ["temperature=5.0: choose a value from 0.01 to 1"]),
        ({"loss.same_group": "postive"}, ["postive", "ignore", "positive"]),
        ({"optimizer.lr": "abc"}, ["optimizer.lr=abc: give a number above 0"]),
        ({"seed": "abc"}, ["seed=abc: give a whole number"]),
        ({"optimizer.learning_rate": 1.0}, ["optimizer: ", "'learning_rate'", "configs/train.yaml"]),
        ({"encoder.audio.widht": 3}, ["AudioCNN", "'widht'", "width"]),
        ({"encoder.audio._target_": "bind.encoders.Audio"}, ["bind.encoders.Audio can't be imported"]),
        ({"trainer.max_epoch": 3}, ["trainer: ", "'max_epoch'"]),
        ({"trainer.accelerator": "abacus"}, ["abacus"]),
        ({"monitor": "val/mean_R@2"}, ["val/mean_R@2", "val/mean_R@1"]),
        ({"anchor.pretrained": "./nowhere"}, ["anchor.pretrained=./nowhere: there is no such folder", "ORG/NAME"]),
        ({"anchor.train": ["sound"]}, ["anchor.train=['sound']", "image", "text"]),
        ({"ckpt": "last"}, ["ckpt=last: ", "last.ckpt does not exist", "set run_dir="]),
        ({"ckpt": "gone.ckpt"}, ["ckpt=gone.ckpt: gone.ckpt does not exist"]),
        ({"init_from": "gone.ckpt"}, ["gone.ckpt: no such checkpoint"]),
        ({"init_from": "/gone/run"}, ["/gone/run: no such folder"]),
        ({"init_parts": "encoders.imu.trunk"}, ["init_parts=encoders.imu.trunk: give parts here", "or null"]),
        ({"init_parts": {}}, ["init_parts={}: give parts here"]),
        ({"init_parts": {"heads.imu": 3}}, ["init_parts={'heads.imu': 3}: give parts here"]),
        ({"init_parts": {"heads.imu": "heads.audio"}}, ["init_parts names parts of init_from: set init_from="]),
    ],
    ids=lambda case: "+".join(f"{key}={value}" for key, value in case.items()) if isinstance(case, dict) else "",
)
def test_a_wrong_value_names_its_key_and_what_to_do(values, said, recordings, tmp_path, refused):
    message = refused(bind.runs.jobs.train, runs.fused_config(recordings, tmp_path / "run", **values))
    for part in said:
        assert part in message


@pytest.mark.slow
def test_one_name_is_a_list_of_one(tmp_path):
    values = {"modalities": "audio", "evaluation.modalities": "image", "anchor.train": "text"}
    _, config = prepare_run_dir(runs.config(run_dir=str(tmp_path), **values))
    assert config["modalities"] == ["audio"]
    assert config["evaluation"]["modalities"] == ["image"]
    assert config["anchor"]["train"] == ["text"]


@pytest.mark.slow
def test_a_modality_whose_encoder_is_not_chosen_is_left_out_and_that_is_said(recordings, tmp_path, caplog, no_pictures):
    with caplog.at_level(logging.DEBUG, "bind"):
        bind.runs.jobs.train(runs.fused_config(recordings, tmp_path, **NO_TRAINING))
    assert "pairs.depth-image is left out: depth not in modalities=['audio', 'imu']" in caplog.text


def test_a_damaged_checkpoint_is_refused(recordings, recorded_run, tmp_path, refused):
    damaged = tmp_path / "damaged.ckpt"
    whole = (recorded_run / "checkpoints" / "last.ckpt").read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    for key in ("ckpt", "init_from"):
        message = refused(bind.runs.jobs.train, runs.fused_config(recordings, tmp_path / "run", **{key: str(damaged)}))
        assert f"{damaged}: not a whole checkpoint" in message
        assert "use another one" in message


@pytest.mark.slow
def test_a_file_that_is_no_checkpoint_is_refused(recordings, tmp_path, refused):
    other = tmp_path / "other.ckpt"
    torch.save({"weights": torch.ones(2)}, other)
    message = refused(bind.runs.jobs.train, runs.fused_config(recordings, tmp_path / "run", ckpt=str(other)))
    assert f"{other}: no checkpoint of a training; for weights alone pass init_from=" in message


@pytest.mark.parametrize("key", ["ckpt", "init_from"])
def test_a_checkpoint_of_another_architecture_is_refused(key, recordings, recorded_run, tmp_path, refused):
    last = str(recorded_run / "checkpoints" / "last.ckpt")
    config = runs.fused_config(recordings, tmp_path / "run", **{key: last, "encoder.imu.width": 16})
    message = refused(bind.runs.jobs.train, config)
    assert f"{last}: these weights belong to another architecture" in message
    assert "encoders.imu" in message


# The other commands


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"run": "gone"}, "run=gone: no config.yaml there; pass a run directory"),
        ({"run": "???"}, "not set: run; pass run=VALUE"),
        ({"split": "tset"}, "no samples of the split 'tset'"),
    ],
)
def test_evaluate_refuses(values, said, recorded_run, refused):
    assert said in refused(
        bind.runs.jobs.evaluate, runs.config(name="evaluate", **{"run": str(recorded_run), **values})
    )


def test_a_run_that_did_not_finish_can_not_be_evaluated(recorded_run, tmp_path, refused):
    shutil.copy(recorded_run / "config.yaml", tmp_path)
    message = refused(bind.runs.jobs.evaluate, runs.config(name="evaluate", run=str(tmp_path)))
    assert f"{tmp_path} holds no binder.json: pass a run directory that finished" in message


def test_a_run_of_another_version_is_refused(recorded_run, tmp_path, refused):
    text = (recorded_run / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("version: 3\n", "version: 99\n", 1))
    message = refused(bind.runs.jobs.evaluate, runs.config(name="evaluate", run=str(tmp_path)))
    assert "config.yaml has version 99, this bind reads 3" in message


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"out": "vectors.csv"}, "out=vectors.csv: choose a name that ends in .parquet"),
        ({"manifest": "gone.csv"}, "gone.csv: no such manifest"),
        ({"run": "gone"}, "run=gone: no config.yaml there"),
        ({"modalities": ["audoi"]}, "modalities: audoi unknown to "),
        ({"modalities": ["depth"]}, "modalities: depth unknown to "),
        ({"modalities": "depth"}, "modalities: depth unknown to "),
    ],
)
def test_embed_refuses(values, said, recordings, recorded_run, tmp_path, refused):
    asked = {"run": str(recorded_run), "manifest": str(recordings), "out": str(tmp_path / "out.parquet")}
    assert said in refused(embed, runs.config(name="embed", **asked | values))
    assert not list(tmp_path.iterdir())


def test_embed_refuses_a_manifest_without_anything_it_knows(recorded_run, tmp_path, refused):
    (tmp_path / "heat.npy").write_bytes(b"")
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(json.dumps({"key": "a", "split": "test", "thermal": "heat.npy"}))
    asked = {"run": str(recorded_run), "manifest": str(manifest), "out": str(tmp_path / "out.parquet")}
    message = refused(embed, runs.config(name="embed", **asked))
    assert f"{manifest}: no row has the modality 'image'" in message
    assert "It has thermal" in message


# The command line


@pytest.mark.slow
def test_a_mistake_of_ours_keeps_its_frames(monkeypatch):
    def job(cfg):
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        run_job(job, runs.config("data=toy"))


@pytest.mark.slow
def test_the_frames_are_there_when_asked_for(monkeypatch):
    def job(cfg):
        raise ValueError("wrong")

    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="wrong"):
        run_job(job, runs.config("data=toy"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "override", "said"),
    [
        ("train", "data.batchsize=3", "data.batchsize: did you mean data.batch_size?"),
        ("train", "batch_size=3", "batch_size: did you mean data.batch_size?"),
        ("train", "pairs.audio-imgae.weight=2", "did you mean pairs.audio-image.weight?"),
        ("train", "expriment=digits", "expriment: did you mean experiment?"),
        ("train", "experiment=digit", "digits"),
        ("train", "anchor=clipp", "clip"),
        ("evaluate", "rnu=here", "rnu: did you mean run?"),
        ("embed", "manfest=my.csv", "manfest: did you mean manifest?"),
    ],
)
def test_a_misspelt_key_is_named_with_the_closest_one(command, override, said, as_command, capsys):
    assert as_command(main, command, override) == 1
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed


@pytest.mark.slow
def test_a_key_of_a_chosen_group_is_known(as_command, capsys):
    """`manifest` is a key of data=manifest only."""
    assert as_command(main, "train", "data=manifest", "data.manfest=my.csv") == 1
    assert "data.manfest: did you mean data.manifest?" in capsys.readouterr().err


def test_an_unknown_command_says_which_there_are(as_command, capsys):
    assert as_command(main, "tarin") == 2
    assert "unknown command 'tarin'; did you mean train?" in capsys.readouterr().err


@pytest.mark.slow
def test_a_misspelt_key_fails_before_the_heavy_imports(tmp_path):
    done = start([str(TRAIN_SCRIPT), "data.batchsize=3"], tmp_path, "-X", "importtime")
    assert done.returncode == 1
    assert "data.batchsize: did you mean data.batch_size?" in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert "hydra" in imported
    assert not imported & {"torch", "transformers", "lightning"}
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_wrong_value_fails_with_one_message_and_status_1(tmp_path):
    done = start(["-m", "bind", "train", "modalities=[audoi]", f"run_dir={tmp_path / 'run'}"], tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: modalities=['audoi']: audoi has no encoder")
    assert "Traceback" not in done.stderr


def start(arguments: list[str], folder: Path, *flags: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(Path(bind.__file__).parents[1])}
    command = [sys.executable, *flags, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, timeout=200, check=False
    )
