import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.data.transforms.imu import random_rotation
from bind.media.channel_names import read_meanings
from bind.media.upright import find_rotations, turn_upright
from bind.types import Clip, SensorRecording

CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g",) * 3 + ("rad/s",) * 3
RATE_HZ = 50.0


def day(turn=None, still_seconds=40, moving_seconds=20, seed=0):
    """Standing, walking (skewed sway ahead, more than aside) and lying, gravity along z while upright."""
    rng = np.random.default_rng(seed)
    num_still, num_moving = (round(seconds * RATE_HZ) for seconds in (still_seconds, moving_seconds))
    x_TC = rng.normal(0, 0.01, (2 * num_still + num_moving, 6))
    x_TC[: num_still + num_moving, 2] += 1.0
    x_TC[num_still + num_moving :, 0] += 1.0  # lying on the back
    walk = slice(num_still, num_still + num_moving)
    x_TC[walk, 0] += rng.exponential(0.4, num_moving) - 0.4
    x_TC[walk, 1] += rng.normal(0, 0.1, num_moving)
    x_TC[walk, 3:] += rng.normal(0, 0.5, (num_moving, 3))
    if turn is not None:
        x_TC[:, :3], x_TC[:, 3:] = x_TC[:, :3] @ turn.T, x_TC[:, 3:] @ turn.T
    return SensorRecording(x_TC.astype(np.float32), RATE_HZ, CHANNELS, UNITS)


def turned_upright(recording):
    meanings = read_meanings(recording.channels, recording.units, "a")
    return turn_upright(recording.values, meanings, find_rotations(recording), "a")


def test_who_walks_is_upright_and_who_lies_is_not():
    x_TC = turned_upright(day())
    standing, lying = x_TC[:1000, :3].mean(axis=0), x_TC[-1000:, :3].mean(axis=0)
    np.testing.assert_allclose(standing, [0, 0, 1], atol=0.1)
    np.testing.assert_allclose(lying, [1, 0, 0], atol=0.1)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_a_sensor_that_was_turned_gives_the_same_recording(seed):
    turn = random_rotation(180, np.random.default_rng(seed))
    np.testing.assert_allclose(turned_upright(day(turn)), turned_upright(day()), atol=1e-3)


def test_rotations_keep_lengths_and_handedness():
    rotation = find_rotations(day(random_rotation(180, np.random.default_rng(1))))[""]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_every_place_is_turned_by_its_own_accelerometer(tmp_path):
    here, there = day(), day(random_rotation(180, np.random.default_rng(2)), seed=1)
    names = [f"left_wrist_{name}" for name in CHANNELS] + [f"waist_{name}" for name in CHANNELS]
    np.save(tmp_path / "a.npy", np.concatenate([here.values, there.values], axis=1))
    about = {"channels": names, "units": UNITS * 2, "sample_rate_hz": RATE_HZ}
    (tmp_path / "a.json").write_text(json.dumps(about))
    rotations = find_rotations(Clip(tmp_path / "a.npy", 1.0, 2.0))  # of the whole file, whatever the span
    np.testing.assert_array_equal(rotations["left_wrist"], find_rotations(here)[""])
    np.testing.assert_array_equal(rotations["waist"], find_rotations(there)[""])


def test_what_cannot_be_known_is_refused_with_the_remedy():
    short = day(still_seconds=2, moving_seconds=10)
    still = day(moving_seconds=0)
    half = day()
    half.values[: 50 * 50, 2] *= -1  # turned upside down while walking
    gyro = SensorRecording(day().values[:, 3:], RATE_HZ, CHANNELS[3:], UNITS[3:])
    two_axes = SensorRecording(day().values[:, :2], RATE_HZ, CHANNELS[:2], UNITS[:2])
    for recording, message in (
        (short, "14 s are too short"),
        (still, "nothing moves in it"),
        (half, "turned midway"),
        (gyro, "the sensor of angular rate has no accelerometer beside it"),
        (two_axes, "acc has no three axes"),
    ):
        with pytest.raises(ValueError, match=f"{message}.*transform.imu.align=null"):
            turned_upright(recording)
