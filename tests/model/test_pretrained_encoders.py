"""Pretrained encoders in a Binder, from the command line's choice to a folder that loads where their files are not."""

import json
import shutil

import pytest
import torch
from omegaconf import OmegaConf
from support import pretrained, runs, videos

from bind.anchors.dual_encoder import PretrainedAnchor
from bind.model.binder import Binder
from bind.model.frozen import frozen_encoder_of
from bind.runs.jobs import train
from bind.runs.parts import binder_config

VALUES = {
    "whisper": {},
    "clap": {},
    "ast": {},
    "wav2vec2": {"transform.audio.window_seconds": 0.6},
    "pe_av": {"transform.audio.window_seconds": 0.6},
    "depth": {},
    "thermal": {},
    "video": {"encoder.video.num_frames": pretrained.NUM_FRAMES},
}
"""Case → what is set besides the choice of its encoder."""
CHOICES = {"depth": "vision", "thermal": "vision"}
"""Names of choices that are not those of their cases."""


def composed(name, folder, *choices, **values):
    """The config of a training with one pretrained encoder, chosen as on the command line."""
    modality = pretrained.CASES[name].modality
    choice = f"encoder/{modality}={CHOICES.get(name, name)}"
    values = {"modalities": [modality], f"encoder.{modality}.pretrained": folder, "run_dir": "runs/mine"} | values
    return runs.config(choice, *choices, **VALUES[name] | values)


@pytest.fixture
def folder(tmp_path):
    """A function from the name of a case to the folder of its model."""
    return lambda name: pretrained.write(pretrained.CASES[name].family, tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whisper", "clap", "wav2vec2", "depth", "video"])
def test_a_saved_binder_loads_where_the_files_are_not(folder, tmp_path, name):
    source, case = folder(name), pretrained.CASES[name]
    config = OmegaConf.to_container(composed(name, source), resolve=True)
    binder = Binder.from_config(binder_config(config))
    assert not any(p.requires_grad for p in binder.encoders.parameters())  # train: head
    values = [videos.three_colours(tmp_path / "a.mp4")] if name == "video" else case.values()
    z_BD = binder.embed(case.modality, values)
    saved = binder.save(tmp_path / "binder")
    shutil.rmtree(source)
    assert source not in (saved / "binder.json").read_text()
    loaded = Binder.load(saved)
    assert torch.equal(loaded.embed(case.modality, values), z_BD)
    again = loaded.save(tmp_path / "again")
    assert json.loads((again / "binder.json").read_text()) == json.loads((saved / "binder.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("part", ["encoder", "transform"])
def test_a_place_that_is_not_there_is_named_by_its_whole_key(folder, part):
    values = {f"{part}.audio.pretrained": "/models/none"}
    config = OmegaConf.to_container(composed("whisper", folder("whisper"), **values), resolve=True)
    with pytest.raises(ValueError, match=rf"^{part}\.audio\.pretrained=/models/none: there is no such folder"):
        Binder.from_config(binder_config(config))
    with pytest.raises(ValueError, match=rf"^{part}\.audio\.pretrained=/models/none: there is no such folder"):
        frozen_encoder_of(config, "audio", PretrainedAnchor("toy"))


@pytest.mark.slow
@pytest.mark.parametrize("name", VALUES)
def test_an_encoder_brings_its_transform_along(name):
    config = composed(name, "a/folder")
    modality = pretrained.CASES[name].modality
    assert config.transform[modality]._target_.startswith("bind.data.transforms.pretrained.")
    assert config.transform[modality].pretrained == "a/folder"


@pytest.mark.slow
def test_a_transform_of_ones_choice_goes_before():
    config = composed("whisper", "a/folder", "transform/audio=imagebind")
    assert config.transform.audio._target_ == "bind.data.transforms.audio.AudioTransform"


@pytest.mark.slow
def test_a_modality_of_another_name_has_encoder_and_transform_chosen():
    choices = ["+encoder/audio@encoder.speech=whisper", "+transform/audio@transform.speech=whisper"]
    own = ["transform/audio=default", "transform.speech.pretrained=${encoder.speech.pretrained}"]
    own += ["transform.speech.window_seconds=${encoder.speech.max_seconds}"]
    config = runs.config(*choices, *own, **{"encoder.speech.pretrained": "a/folder", "encoder.speech.max_seconds": 2.5})
    assert config.transform.audio._target_ == "bind.data.transforms.audio.AudioTransform"
    assert config.transform.speech.pretrained == "a/folder"
    assert config.transform.speech.window_seconds == 2.5


@pytest.mark.slow
def test_an_experiment_keeps_its_augmentation():
    config = composed("whisper", "a/folder", "experiment=digits", **{"encoder.audio.max_seconds": 2.5})
    assert config.transform.audio._target_ == "bind.data.transforms.pretrained.whisper.WhisperTransform"
    assert config.transform.audio.speed_range == [0.8, 1.25]
    assert config.transform.audio.window_seconds == 2.5


@pytest.mark.slow
def test_training_a_head_on_whisper(folder, recordings, tmp_path, no_pictures):
    of_run = {
        "data.manifest": str(recordings),
        "data.batch_size": 4,
        "run_dir": str(tmp_path / "run"),
        "trainer.max_epochs": 2,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": False,
        "callbacks.early_validation": None,
        "evaluation.num_gallery_queries": 0,
        "evaluation.num_scatter_samples": 0,
        "encoder.audio.max_seconds": 0.5,
        "transform.audio.gain_db_range": [-6.0, 6.0],
    }
    source = folder("whisper")
    train(composed("whisper", source, "data=manifest", **of_run))
    shutil.rmtree(source)
    loaded = Binder.load(tmp_path / "run")
    fresh = pretrained.CASES["whisper"].encoder(pretrained=folder("whisper"), max_seconds=0.5)
    for name, x in fresh.trunk.state_dict().items():
        assert torch.equal(loaded.encoders["audio"].trunk.state_dict()[name], x), name
    files = sorted(recordings.parent.glob("*.wav"))[:3]
    assert loaded.embed("audio", files).shape == (3, loaded.dim)
