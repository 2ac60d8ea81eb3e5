import copy
import logging

import pytest
from omegaconf import OmegaConf
from support import runs, tiny

from bind.model.binder import Binder
from bind.runs.jobs import write_config
from bind.runs.run_config import CONFIG_VERSION
from bind.runs.start import warn_of_other_settings

HEADS = "encoder.imu.num_heads: 2 there, 4 here"
IMU = {"_target_": "bind.encoders.imu_transformer.ImuTransformer", "num_steps": 50, "kernel": 10, "width": 16}
IMU |= {"num_layers": 1, "num_heads": 2, "drop_path": 0.0}


@pytest.fixture
def config(tmp_path):
    return tiny.binder_config(
        tiny.write_anchor(tmp_path / "anchor"), modalities=["imu"], encoder=copy.deepcopy({"imu": IMU})
    )


@pytest.fixture
def warned(caplog, config):
    """What is warned of where a training with `changed` options of the encoder of motion starts from a place."""

    def warn(start, parts=None, **changed):
        caplog.clear()
        now = copy.deepcopy(config)
        now["encoder"]["imu"] |= changed
        with caplog.at_level(logging.WARNING, logger="bind"):
            warn_of_other_settings(now, start, parts)
        return caplog.text

    return warn


@pytest.mark.slow
def test_settings_that_weights_do_not_show_are_named(config, warned, tmp_path):
    folder = Binder.from_config(config).save(tmp_path / "saved")
    assert not warned(folder)
    assert not warned(folder, drop_path=0.5, train="head"), "they change nothing of what is computed in use"
    assert f"{folder}: these weights were trained with other settings: {HEADS}" in warned(folder, num_heads=4)
    taken = {"encoders.imu.trunk": "encoders.imu.trunk"}
    assert HEADS in warned(folder, taken, num_heads=4)
    assert not warned(folder, taken, kernel=25), "a part is named for what is alike in it"
    assert not warned(folder, {"heads": "heads"}, num_heads=4)


@pytest.mark.slow
def test_a_checkpoint_is_compared_by_the_config_of_its_run(config, warned, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    checkpoint.touch()
    assert not warned(checkpoint, num_heads=4), "one that lies alone says nothing of its run"
    described = OmegaConf.to_container(runs.config(modalities=["imu"]))
    described["version"] = CONFIG_VERSION
    write_config(tmp_path / "run", {**described, "encoder": config["encoder"], "transform": config["transform"]})
    assert HEADS in warned(checkpoint, num_heads=4)
    assert not warned(checkpoint)
