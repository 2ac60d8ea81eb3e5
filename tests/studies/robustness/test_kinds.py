import numpy as np
import pytest
import torch

from bind.data.sources.toy.world import ToySource
from bind.data.transforms.audio import AudioTransform
from bind.data.transforms.channels import ChannelsTransform
from bind.data.transforms.depth import DepthTransform
from bind.data.transforms.imu import ImuTransform
from bind.data.transforms.thermal import ThermalTransform
from bind.studies.robustness.kinds import KINDS, choose_kinds, read_sensor, select_possible_levels
from bind.studies.robustness.source import DisturbedSource
from bind.types import SensorRecording

TRANSFORMS = {
    "speech": AudioTransform(),
    "watch": ImuTransform(),
    "barometer": ImuTransform(channels=["pressure"], units=["hPa"]),
    "thermal": ThermalTransform(),
}


def test_a_modality_is_disturbed_by_what_fits_its_transform_whatever_its_name():
    found = choose_kinds(None, list(TRANSFORMS), TRANSFORMS)
    assert found == [
        *(("speech", kind) for kind in ("audio_snr_db", "audio_pink_snr_db")),
        *(("watch", kind) for kind in ("imu_bias", "imu_rotation_degrees", "imu_gaps", "imu_dead_channels")),
        *(("barometer", kind) for kind in ("imu_bias", "imu_gaps")),
    ]
    asked = choose_kinds(["imu_gaps"], list(TRANSFORMS), TRANSFORMS)
    assert asked == [("watch", "imu_gaps"), ("barometer", "imu_gaps")]
    assert choose_kinds([], list(TRANSFORMS), TRANSFORMS) == []


def test_a_transform_of_any_channels_is_disturbed_in_those_that_a_recording_has():
    transform = ChannelsTransform(window_seconds=1.0, patch_seconds=0.5, channels=["acc_x", "acc_y", "gyro_z"])
    kinds = choose_kinds(None, ["watch"], {"watch": transform})
    assert kinds == [("watch", k) for k in ("imu_bias", "imu_rotation_degrees", "imu_gaps", "imu_dead_channels")]
    assert select_possible_levels("imu_dead_channels", [1, 7], transform) == [1, 7]
    values = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    recording = SensorRecording(values, 50.0, ("acc_y", "steps", "acc_x"), ("g", "1", "g"))
    taken = read_sensor(recording, transform)
    assert taken.channels == ("acc_y", "acc_x")
    dead = KINDS["imu_dead_channels"].disturb(taken, 1, np.random.default_rng(0))
    clean, broken = (transform(value, None)["coefficients"] for value in (taken, dead))
    assert sorted((clean == broken).flatten(1).all(1).tolist()) == [False, True]


def test_a_sensor_keeps_a_channel(caplog):
    three = ImuTransform(channels=["acc_x", "acc_y", "acc_z"], units=["g"] * 3)
    with caplog.at_level("INFO", logger="bind"):
        assert select_possible_levels("imu_dead_channels", [1, 2, 3], three) == [1, 2]
    assert "levels.imu_dead_channels: 3 left out, the sensor has 3 channels" in caplog.text
    assert select_possible_levels("imu_gaps", [0.5], three) == [0.5]
    with pytest.raises(ValueError, match="the sensor has 3 channels; give counts below that"):
        select_possible_levels("imu_dead_channels", [3, 4], three)


def test_channels_that_the_transform_leaves_out_are_not_disturbed():
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    recording = SensorRecording(values, 50.0, ("acc_y", "steps", "acc_x"), ("g", "1", "m/s^2"))
    found = read_sensor(recording, ImuTransform(channels=["acc_x", "acc_y"], units=["g", "g"]))
    assert found.channels == ("acc_y", "acc_x")
    assert found.units == ("g", "m/s^2")
    assert (found.values == values[:, [0, 2]]).all()


@pytest.mark.slow
def test_a_source_is_disturbed_in_one_modality_alone():
    toy, transform = ToySource(), DepthTransform()
    half = DisturbedSource(toy, "depth", "depth_holes", 0.5, transform=transform)
    [clean], [holed] = (source.fetch("test", [3], ["depth", "imu"], None) for source in (toy, half))
    assert np.array_equal(clean["imu"][0].values, holed["imu"][0].values)
    assert np.count_nonzero(holed["depth"][0]) == -(-np.count_nonzero(clean["depth"][0]) // 2)
    assert transform(holed["depth"][0], None).shape == (1, 64, 64)
    assert half.content_hash("test", "depth") != toy.content_hash("test", "depth")
    assert half.content_hash("test", "imu") == toy.content_hash("test", "imu")
    assert half.samples("val") == toy.samples("val")


@pytest.mark.slow
def test_noise_is_of_the_same_shape_at_every_level():
    toy = ToySource()
    quiet, loud = (
        DisturbedSource(toy, "audio", "audio_snr_db", db, transform=AudioTransform()).fetch(
            "test", [7], ["audio"], None
        )[0]
        for db in (20.0, 0.0)
    )
    clean = toy.fetch("test", [7], ["audio"], None)[0]["audio"][0].samples[:, None]
    a, b = (torch.from_numpy(found["audio"][0].samples - clean).flatten() for found in (quiet, loud))
    assert torch.cosine_similarity(a, b, dim=0) > 0.9999


def test_levels_go_from_mild_to_bad_whatever_their_order():
    assert KINDS["audio_snr_db"].ordered("audio_snr_db", [0, 30, 10, 10]) == [30, 10, 0]
    assert KINDS["imu_gaps"].ordered("imu_gaps", [0.5, 0.1]) == [0.1, 0.5]
