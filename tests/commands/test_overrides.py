"""Overrides that Hydra refuses, or takes although nothing reads them, and what the user is told."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import bind
from bind.commands.checkout import CONFIG_DIR, TRAIN_SCRIPT
from bind.commands.cli import main
from bind.commands.overrides import BufferedStderr, meant, suggestions, unread

KNOWN = ["data", "data.batch_size", "optimizer", "optimizer.lr", "optimizer.betas", "optimizer.lr_end_fraction", "seed"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("data.batchsize", "did you mean data.batch_size?"),
        ("batch_size", "did you mean data.batch_size?"),
        ("optimiser.lr", "did you mean optimizer.lr?"),
        ("sede", "did you mean seed?"),
        ("optimizer.learning_rate", "no such key; optimizer has lr, betas, lr_end_fraction"),
        ("xyz", "no such key; --help lists those there are"),
    ],
)
def test_what_was_meant_is_beside_it_or_of_its_name_or_like_it(key, said):
    assert meant(key, KNOWN) == said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "anchor=clpi"], ["error: anchor=clpi: did you mean anchor=clip? There are clap, clip, "]),
        (["train", "encoder/audio=nothing_like_it"], ["error: encoder/audio=nothing_like_it: There are "]),
        (
            ["train", "data.batchsize=3", "optimizer.learning_rate=1"],
            [
                "error: data.batchsize: did you mean data.batch_size?",
                "error: optimizer.learning_rate: no such key; optim",
            ],
        ),
        (
            ["train", "logger=null", "encoder/audio=3"],
            [
                "error: logger=null: a choice is a name, one of csv, wandb",
                "error: encoder/audio=3: a choice is a name, one of ",
            ],
        ),
        (["evaluate", "prompts=esc5", "run=here"], ["error: prompts=esc5: did you mean prompts=esc50? There are "]),
    ],
)
def test_the_users_mistake_is_all_that_is_said(arguments, said, as_command, capsys):
    assert as_command(main, *arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(said)
    assert all(line.startswith(start) for line, start in zip(lines, said, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "pairs.imu-text.weight=1"], "pairs.imu-text.weight: write +pairs.imu-text.weight=1 for a new one"),
        (
            ["train", "pairs.audio-imgae.weight=2"],
            "pairs.audio-imgae.weight: did you mean pairs.audio-image.weight? "
            "If not, write +pairs.audio-imgae.weight=2 for a new one",
        ),
        (["train", "data.manifests.third=x.csv"], "data.manifests.third: write +data.manifests.third=x.csv for a new"),
        (["train", "data.weights.motion=2"], "data.weights.motion: write +data.weights.motion=2 for a new one"),
        (["train", "trainer.max_steps", "seed=1"], "trainer.max_steps: write trainer.max_steps=VALUE"),
        (["train", "+pairs.imu-text.weight"], "+pairs.imu-text.weight: write +pairs.imu-text.weight=VALUE"),
        (["train", "seed"], "seed: write seed=VALUE"),
        (["leakage", "runs/b"], "runs/b: write KEY=VALUE; did you mean run=runs/b?"),
        (["leakage", "run=runs/a", "runs/b"], "runs/b: write KEY=VALUE"),
    ],
)
def test_a_new_name_or_a_value_that_is_missing_is_shown_as_it_is_written(arguments, said, as_command, capsys):
    assert as_command(main, *arguments) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}")


@pytest.mark.slow
def test_what_is_no_misspelling_keeps_hydras_words(as_command, capsys):
    assert as_command(main, "train", "data.batch_size=[") == 1
    assert "no viable alternative at input" in capsys.readouterr().err


@pytest.mark.slow
def test_in_a_sweep_it_stands_behind_hydras_words(as_command, capsys):
    assert as_command(main, "train", "-m", "data.batchsize=3,4") == 1
    err = capsys.readouterr().err
    assert err.index("Could not override") < err.index("error: data.batchsize: did you mean data.batch_size?")


def test_stderr_is_held_until_the_job_and_never_lost(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bindspace"])  # pytest's own may hold -m
    before = sys.stderr
    with suggestions(CONFIG_DIR, "train"):
        log = sys.stderr
        print("one", file=log)
        assert capsys.readouterr().err == ""
    assert sys.stderr is before
    print("two", file=log)
    held = BufferedStderr(before, is_through=True)
    print("three", file=held)
    assert capsys.readouterr().err == "one\ntwo\nthree\n"
    held.end()
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+data.batchsize=3", "did you mean data.batch_size?"),
        ("+cach.dir=here", "did you mean cache?"),
        ("+data.default=3", "no such key; data has"),  # the defaults list of a file is no key
        ("+evaluation.xyz=3", "no such key; evaluation has"),
        ("+data.manifests.mine=my.csv", None),  # of data=mixture
        ("+data.zero_shot.mine={}", None),
        ("+pairs.audio-text.weight=1", None),
        ("+trainer.fast_dev_run=1", None),  # refused by the trainer where it does not know it
        ("+encoder/tactile=mine", None),
        ("+experiment=digits", None),
        ("data.batch_size=3", None),
    ],
)
def test_a_key_that_nothing_reads_is_named(override, said):
    found = unread(CONFIG_DIR, "train", [override])
    assert found == {} if said is None else next(iter(found.values())).startswith(said)


@pytest.mark.slow
def test_such_a_key_is_a_warning(as_command, capsys):
    assert as_command(main, "evaluate", "run=nowhere", "+splt=val") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "warning: +splt: nothing in bind reads it; did you mean split?"
    assert second.startswith("error: run=nowhere: no config.yaml there")


@pytest.mark.slow
@pytest.mark.parametrize("command", [[str(TRAIN_SCRIPT)], ["-m", "bind", "cache"]])
def test_ctrl_c_while_loading_is_one_line_and_dies_of_the_signal(command, tmp_path):
    (tmp_path / "torch.py").write_text("raise KeyboardInterrupt\n")
    environment = {name: value for name, value in os.environ.items() if name != "LOCAL_RANK"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(Path(bind.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=200,
        check=False,
    )
    assert done.stderr == "stopped by SIGINT\n"
    assert done.returncode == -signal.SIGINT
