import csv
import json
import os

import numpy as np
import pytest
from omegaconf import OmegaConf
from support import pretrained, runs

from bind.cache.lookup import AnchorCache
from bind.commands.cache import cache
from bind.commands.cli import main
from bind.runs.jobs import train

SMALL = ["data.num_train=40", "data.num_val_queries=1", "batch_size=16"]


def overrides(folder, *more):
    return [*SMALL, f"cache.dir={folder}", *more]


def about(folder):
    described = [json.loads(path.read_text()) for path in sorted(folder.glob("*/*/about.json"))]
    return {f"{each['split']} {each['modality']}": each for each in described}


@pytest.mark.slow
def test_the_command_says_what_it_wrote_and_where(tmp_path, as_command, capsys):
    assert as_command(main, "cache", *overrides(tmp_path / "vectors", "cache.views=2")) == 0
    shown = capsys.readouterr().out
    found = about(tmp_path / "vectors")
    assert set(found) == {"train image", "train text", "val image", "val text"}
    assert [found[place]["num_views"] for place in sorted(found)] == [2, 1, 1, 1]
    for path in (tmp_path / "vectors").glob("*/*"):
        assert str(path) in shown.replace("\n", "")
    assert "train image" in shown
    assert "Anchor cache of toy" in shown


@pytest.mark.slow
def test_a_training_finds_what_the_command_wrote(tmp_path, no_pictures):
    cache(runs.config(*overrides(tmp_path / "vectors", "split=[train]", "modalities=[image]"), name="cache"))
    assert set(about(tmp_path / "vectors")) == {"train image"}
    values = {
        "data.num_train": 40,
        "data.num_val_queries": 1,
        "data.num_test_queries": 1,
        "data.batch_size": 8,
        "trainer.limit_val_batches": 0,
        "trainer.max_steps": 1,
        "run_dir": str(tmp_path / "run"),
        "cache.dir": str(tmp_path / "vectors"),
        "cache.build": False,
    }
    train(runs.config(**runs.QUICK | values))
    larger = runs.config(**runs.QUICK | values | {"data.num_train": 41, "overwrite": True})
    with pytest.raises(ValueError, match=r"cache\.build=false"):
        train(larger)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["cache.dir=null"], r"cache\.dir=null keeps nothing"),
        (["modalities=[audio]"], r"nothing to cache: the anchor embeds image, text.*asked for are audio"),
        (["anchor.train=[image,text]"], r"towers that train \(anchor\.train=\['image', 'text'.*are not kept"),
        (["split=elsewhere"], r"not 'elsewhere'"),
        (["cache.views=0"], r"cache\.views=0"),
    ],
)
def test_what_can_not_be_cached_is_reported(tmp_path, more, message):
    with pytest.raises(ValueError, match=message):
        cache(runs.config(*overrides(tmp_path, *more), name="cache"))


@pytest.mark.slow
def test_help_explains(as_command, capsys):
    assert as_command(main, "cache", "--help") == 0
    shown = capsys.readouterr().out
    assert "Embed pictures and texts with the frozen anchor, once" in shown
    assert "cache.views=4" in shown
    assert "views: 1" in shown


@pytest.mark.slow
def test_both_configs_agree_on_the_cache():
    ours, trainings = (OmegaConf.to_container(runs.config(name=name).cache) for name in ("cache", "train"))
    assert ours == {key: value for key, value in trainings.items() if key not in ("build", "features")}


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["vectors", None])
def test_losses_with_the_cache_are_those_with_the_towers(recordings, tmp_path, no_pictures, monkeypatch, folder):
    def losses(name):
        values = {"cache.dir": folder and str(tmp_path / folder)}
        train(runs.fused_config(recordings, tmp_path / name, **values))
        with (tmp_path / name / "logs" / "metrics.csv").open() as file:
            return np.array([float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]])

    cached = losses("cached")
    monkeypatch.setattr("bind.runs.parts.Parts.fill_cache", lambda *args, **options: AnchorCache({}))
    with_towers = losses("towers")
    assert len(cached) == 6
    assert np.abs(cached - with_towers).max() < 1e-3


@pytest.mark.slow
def test_the_environment_moves_the_cache(monkeypatch):
    assert runs.config().cache.dir == f"{os.environ['BINDSPACE_CACHE']}/anchors", "a folder of these tests"
    monkeypatch.delenv("BINDSPACE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/large disk")
    assert runs.config().cache.dir == "/large disk/bindspace/anchors"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert runs.config().cache.dir == "~/.cache/bindspace/anchors"


@pytest.mark.slow
def test_features_of_a_frozen_encoder_are_kept_beside(tmp_path, recordings, as_command, capsys):
    own = [f"data.manifest={recordings}", f"encoder.audio.pretrained={pretrained.write_speech(tmp_path / 'model')}"]
    choices = ["data=manifest", "encoder/audio=wav2vec2", "transform.audio.window_seconds=0.6"]
    folder = f"cache.dir={tmp_path / 'vectors'}"
    assert as_command(main, "cache", *choices, *own, folder, "cache.views=2") == 0
    assert "Anchor cache of Wav2Vec2AudioEncoder" in capsys.readouterr().out
    audio = about(tmp_path / "vectors")["train audio"]
    assert (audio["dtype"], audio["dim"], audio["num_views"]) == ("<f4", 16, 2)


@pytest.mark.slow
def test_an_encoder_without_weights_of_its_own_has_no_features_to_keep(recordings):
    choices = ["data=manifest", f"data.manifest={recordings}", "encoder.imu.train=head"]
    with pytest.raises(ValueError, match=r"encoder\.imu\.train=head: ImuCNN has no weights of its own"):
        cache(runs.config(*choices, name="cache"))
