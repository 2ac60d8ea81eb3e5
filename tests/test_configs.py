"""Every choice composes, names classes that exist and take what it says; every experiment runs for a step."""

import inspect
import json
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import soundfile
import yaml
from omegaconf import OmegaConf
from PIL import Image
from support import runs

from bind.anchors.dual_encoder import PretrainedAnchor
from bind.build import ANY_CLASS, locate_class
from bind.commands.checkout import CONFIG_DIR
from bind.commands.cli import main
from bind.commands.command_table import COMMANDS
from bind.commands.overrides import flat
from bind.runs.jobs import evaluate, train
from bind.training.module import BindingModule

EXPERIMENTS = sorted(path.stem for path in (CONFIG_DIR / "experiment").glob("*.yaml"))
CHOICES = sorted(
    f"{path.parent.relative_to(CONFIG_DIR)}={path.stem}"
    for path in CONFIG_DIR.rglob("*/*.yaml")
    if path.parent.name not in ("experiment", "sweep", "mapper")  # tests/test_sweeps.py, tests/commands/test_bridge.py
    if "${encoder." not in path.read_text()  # transforms that their encoders choose
    and path.stem != "vectors"  # encoder and transform are chosen together: tests/anchors/test_vectors.py
)
CONTRACT = {
    "modalities": ["audio", "imu"],
    "pairs.audio-image.weight": 2,
    "anchor.pretrained": "folder",
    "encoder.audio.num_layers": 5,
    "fusion.inputs": ["audio", "imu"],
    "data.manifest": "my.csv",
    "data.batch_size": 7,
    "trainer.max_epochs": 3,
    "trainer.max_steps": 11,
    "seed": 4,
    "run_dir": "runs/mine",
    "ckpt": "last",
    "init_from": "runs/other",
}


def targets(config, prefix=""):
    """Every part of a config that names a class: its place and its keys."""
    if isinstance(config, dict):
        if "_target_" in config:
            yield prefix, config
        for key, value in config.items():
            yield from targets(value, f"{prefix}.{key}")


def refuse_wrong_keys(config):
    for place, part in targets(config):
        cls = locate_class(part["_target_"], trust=ANY_CLASS)
        not_its_own = {"_target_", "share", "train", "lora", "head"} if place.startswith(".encoder.") else {"_target_"}
        arguments = {key: value for key, value in part.items() if key not in not_its_own}
        try:
            inspect.signature(cls).bind_partial(**arguments)
        except TypeError as error:
            raise AssertionError(f"{place}: {error}") from error


def resolved(*choices, **values):
    made = runs.config(*choices, **{"run_dir": "runs/mine", **values})
    for key in [key for key in made.data if OmegaConf.is_missing(made.data, key)]:
        made.data[key] = "mine"
    return OmegaConf.to_container(made, resolve=True)


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_composes_and_its_classes_take_its_keys(choice):
    config = resolved(choice)
    refuse_wrong_keys(config)
    assert set(config["trainer"]) <= set(inspect.signature(L.Trainer).parameters)
    inspect.signature(BindingModule).bind(None, None, **config["optimizer"])


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("debug", [(), ("debug=tiny",)], ids=["", "tiny"])
def test_an_experiment_composes_also_in_tiny(experiment, debug):
    config = resolved(f"experiment={experiment}", *debug)
    refuse_wrong_keys(config)
    assert all(source["_target_"] for source in config["data"]["sources"].values())
    encodable = {*config["modalities"], "image", "text"}
    assert all(m in config["encoder"] and m in config["transform"] for m in config["modalities"])
    active = [name for name, pair in config["pairs"].items() if pair["weight"] > 0]
    assert any(set(name.split("-")) <= encodable for name in active)


def test_tiny_leaves_encoders_as_they_are_chosen():
    """A size of one encoder is an unknown key, or a wrong one, for another: pretrained ones, copies of a tower."""
    sets = yaml.safe_load((CONFIG_DIR / "debug" / "tiny.yaml").read_text())
    assert not {"encoder", "transform", "anchor", "head", "fusion"} & set(sets)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["audio", "imu"])
def test_every_encoder_composes_in_tiny(modality):
    for choice in sorted(path.stem for path in (CONFIG_DIR / "encoder" / modality).glob("*.yaml")):
        width = {f"transform.{modality}.width": 8} if choice == "vectors" else {}
        more = [f"transform/{modality}=vectors"] if width else []
        refuse_wrong_keys(resolved("debug=tiny", f"encoder/{modality}={choice}", *more, **width))


def test_what_several_configs_share_is_no_choice():
    assert {path.name for path in CONFIG_DIR.rglob("_*.yaml")} == {"_command.yaml", "_data.yaml"}
    assert not [choice for choice in CHOICES if "=_" in choice]


@pytest.mark.slow
def test_a_wrong_key_would_be_seen():
    with pytest.raises(AssertionError, match=r"\.encoder\.imu: .*'widht'"):
        refuse_wrong_keys(resolved(**{"encoder.imu.widht": 3}))


@pytest.mark.slow
def test_the_keys_that_others_rely_on_can_be_set():
    choices = ["anchor=clip", "data=manifest", "encoder/audio=imagebind", "fusion=attention", "trainer=cpu"]
    values = [f"{key}={json.dumps(value)}".replace('"', "").replace(" ", "") for key, value in CONTRACT.items()]
    made = runs.config(*choices, *values)
    for key, value in CONTRACT.items():
        assert OmegaConf.select(made, key) == value, key
    assert made.anchor._target_ == "bind.anchors.dual_encoder.PretrainedAnchor"
    assert made.encoder.audio.patch == 16
    assert made.trainer.accelerator == "cpu"


@pytest.mark.slow
def test_anything_of_the_trainer_can_be_added():
    made = runs.config("+trainer.overfit_batches=2", "trainer.gradient_clip_val=0.5")
    assert (made.trainer.overfit_batches, made.trainer.gradient_clip_val) == (2, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evaluate", "embed", "pack", "cache", "probe", "robustness"])
def test_the_other_commands_compose(name):
    unset = {key for key, value in flat(OmegaConf.to_container(runs.config(name=name))) if value == "???"}
    needed = {name: {"run"} for name in ("probe", "robustness")}
    needed |= {"embed": {"out"}, "pack": {"manifest", "out"}}
    assert unset == needed.get(name, set())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.is_hydra])
def test_help_is_the_commands_own(name, as_command, capsys):
    assert as_command(main, name, "--help") == 0
    shown = capsys.readouterr().out
    assert f"\nbindspace {name} " in shown
    assert "powered by Hydra" not in shown
    values = OmegaConf.to_container(runs.config(name=name))
    assert all(f"\n{key}:" in shown for key in values)


# One step of every experiment


def published_digits(folder):
    (folder / "recordings").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for digit in range(10):
        for speaker in ("george", "lucas", "yweweler"):
            path = folder / "recordings" / f"{digit}_{speaker}_0.wav"
            soundfile.write(path, rng.uniform(-0.5, 0.5, 2400), 8000)
    return "fsdd"


def published_motion(folder):
    raw = folder / "RawData"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    labels = []
    for experiment, user in {1: 1, 2: 18, 3: 22}.items():
        for sensor in ("acc", "gyro"):
            np.savetxt(raw / f"{sensor}_exp{experiment:02d}_user{user:02d}.txt", rng.standard_normal((1200, 3)))
        labels += [f"{experiment} {user} 1 1 600", f"{experiment} {user} 7 601 1000"]
    (raw / "labels.txt").write_text("\n".join(labels))
    names = ["WALKING", "WALKING_UPSTAIRS", "WALKING_DOWNSTAIRS", "SITTING", "STANDING", "LAYING", "STAND_TO_SIT"]
    (folder / "activity_labels.txt").write_text("\n".join(f"{n} {name}" for n, name in enumerate(names, start=1)))
    return "hapt"


def published_stamps(folder):
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"):
        stamp = folder / "letters" / name
        stamp.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(stamp.with_suffix(".png"))
        stamp.with_suffix(".txt").write_text(f"The letter {name}.\n")
        for end in ("", "_desc_fr"):
            soundfile.write(f"{stamp}{end}.ogg", rng.uniform(-0.5, 0.5, 4000), 8000)
    return "tuxpaint_stamps"


GENERATED = {
    "digits": (published_digits, "data/digits"),
    "hapt": (published_motion, "data/hapt"),
    "hapt_channels": (published_motion, "data/hapt"),
    "hapt_continuous": (published_motion, "data/hapt", "--continuous"),
    "tuxpaint": (published_stamps, "data/tuxpaint"),
}
"""Experiment → what writes the published data, the folder of its script's output, and more options of the script."""
SMALL = {
    "toy_anchor": {
        "data.num_train": 32,
        "data.num_val_queries": 1,
        "data.num_test_queries": 1,
        "anchor.image_widths": [8, 8, 8, 8],
        "anchor.text_width": 16,
        "anchor.text_num_heads": 2,
    }
}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_runs_for_a_step_and_can_be_evaluated_again(experiment, tmp_path, monkeypatch, no_pictures):
    monkeypatch.chdir(tmp_path)
    if experiment in GENERATED:
        monkeypatch.syspath_prepend(Path(__file__).parents[1] / "data_scripts")
        publish, out, *options = GENERATED[experiment]
        script = __import__(publish(tmp_path / "published"))
        script.main(["--source", "published", "--out", out, *options])
    small = runs.QUICK | {"data.batch_size": 8, "trainer.max_steps": 1} | SMALL.get(experiment, {})
    train(runs.config(f"experiment={experiment}", **small | {"run_dir": "run"}))

    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    evaluate(runs.config(name="evaluate", run="run"))
    again = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {**again, "seconds": None} == {**metrics, "seconds": None}
    if experiment == "digits":
        assert set(metrics["zero_shot"]) == {"audio", "image"}
        assert metrics["zero_shot"]["audio"]["num_classes"] == 10
        assert metrics["retrieval"]["audio_to_image"]["trained"]
        assert not metrics["retrieval"]["audio_to_text"]["trained"]
    elif experiment.startswith("hapt"):
        assert {name: figures["num_classes"] for name, figures in metrics["zero_shot"].items()} == {
            "imu/basic6": 6,
            "imu/all12": 12,
        }
        assert metrics["retrieval"]["imu_to_text"]["trained"]
    elif experiment == "tuxpaint":
        assert metrics["retrieval"]["speech_to_image"]["trained"]
        assert not metrics["retrieval"]["audio_to_speech"]["trained"]
    elif experiment == "toy_anchor":
        assert set(metrics["retrieval"]) == {"image_to_text", "text_to_image"}
        made = PretrainedAnchor(str(tmp_path / "run" / "anchor"))
        assert made.dim == 64
