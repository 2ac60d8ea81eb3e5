import json

import numpy as np
import pytest
import torch

from bind.data.transforms.imu import ImuTransform, random_rotation
from bind.types import Clip, SensorRecording

CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g", "g", "g", "rad/s", "rad/s", "rad/s")


def recording(num_frames=200, rate_hz=100.0, channels=CHANNELS, units=UNITS, seed=0):
    values = np.random.default_rng(seed).standard_normal((num_frames, len(channels))).astype(np.float32)
    return SensorRecording(values, rate_hz, channels, units)


def test_evaluation_gives_the_channels_as_they_are():
    value = recording()
    y = ImuTransform(rotation_degrees=30, scale_range=(0.5, 2), noise_std=0.1)(value, None)
    assert y.dtype == torch.float32
    np.testing.assert_array_equal(y, value.values.T)


def test_channels_are_picked_by_name_and_units_converted():
    value = recording(channels=("time", "gyro_z", "acc_x"), units=("s", "deg/s", "m/s^2"))
    transform = ImuTransform(channels=("acc_x", "gyro_z"), units=("g", "rad/s"))
    y = transform(value, None).numpy()
    np.testing.assert_allclose(y[0], value.values[:, 2] / 9.80665, rtol=1e-5)
    np.testing.assert_allclose(y[1], np.deg2rad(value.values[:, 1]), rtol=1e-5)
    back = ImuTransform(channels=("acc_x", "gyro_z"), units=("m/s²", "°/s"))(value, None).numpy()
    np.testing.assert_allclose(back, value.values[:, [2, 1]].T, rtol=1e-5)


def test_a_long_recording_gives_its_middle_and_any_part_in_training():
    value = recording(num_frames=600)
    transform = ImuTransform()
    np.testing.assert_array_equal(transform(value, None), value.values[200:400].T)
    firsts = {float(transform(value, np.random.default_rng(i))[0, 0]) for i in range(10)}
    assert firsts <= set(value.values[:401, 0].tolist())
    assert len(firsts) > 5


def test_another_rate_is_resampled_without_aliasing_and_gravity_stays():
    time = np.arange(400) / 200
    slow = np.sin(2 * np.pi * 3 * time) + 1.0
    fast = np.sin(2 * np.pi * 80 * time)
    value = SensorRecording(np.stack([slow, fast], 1).astype(np.float32), 200.0, ("acc_x", "acc_y"), ("g", "g"))
    y = ImuTransform(channels=("acc_x", "acc_y"), units=("g", "g"))(value, None).numpy()
    assert y.shape == (2, 200)
    np.testing.assert_allclose(y[0, 15:-15], slow[::2][15:-15], atol=5e-3)
    assert np.abs(y[1, 15:-15]).max() < 0.01
    assert np.abs(y[0, [0, -1]] - slow[::2][[0, -1]]).max() < 0.1


def test_a_span_of_a_file_is_read(tmp_path):
    value = recording(num_frames=500, rate_hz=50.0)
    np.save(tmp_path / "a.npy", value.values)
    (tmp_path / "a.json").write_text(json.dumps({"channels": CHANNELS, "units": UNITS, "sample_rate_hz": 50}))
    transform = ImuTransform(sample_rate_hz=50, window_seconds=2.56)
    y = transform(Clip(tmp_path / "a.npy", 4.98, 7.54), None)
    np.testing.assert_array_equal(y, value.values[249 : 249 + 128].T)


@pytest.mark.parametrize("rate_hz", [50.0, 100.0, 200.0])
def test_a_span_that_rounding_leaves_one_frame_short_is_taken(rate_hz):
    num_frames = round(2 * rate_hz)
    whole = recording(num_frames=num_frames, rate_hz=rate_hz)
    short, shorter = (SensorRecording(whole.values[:-lost], rate_hz, whole.channels, whole.units) for lost in (1, 3))
    x, y = (ImuTransform()(value, None) for value in (whole, short))
    assert x.shape == y.shape
    if rate_hz == 100:  # the others are filtered over their end
        assert torch.equal(x[:, :-1], y[:, :-1])
        assert torch.equal(y[:, -1], y[:, -2])
    with pytest.raises(ValueError, match="shorter than the window of 2 s"):
        ImuTransform()(shorter, None)


def test_rotation_turns_both_triads_alike_and_keeps_lengths():
    values = recording(seed=1).values
    values[:, 3:] = values[:, :3]
    value = SensorRecording(values, 100.0, CHANNELS, UNITS)
    y = ImuTransform(rotation_degrees=20)(value, np.random.default_rng(3)).numpy()
    np.testing.assert_allclose(y[:3], y[3:], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(y[:3], axis=0), np.linalg.norm(values[:, :3], axis=1), rtol=1e-4)
    assert not np.allclose(y[:3], values[:, :3].T, atol=1e-3)


def test_rotations_are_proper_and_within_their_angle():
    rng = np.random.default_rng(0)
    for _ in range(50):
        rotation = random_rotation(15.0, rng)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        assert np.degrees(np.arccos((np.trace(rotation) - 1) / 2)) <= 15.0 + 1e-6


def test_scale_and_noise_have_the_size_of_the_options_and_the_file_is_untouched():
    value = recording()
    before = value.values.copy()
    y = ImuTransform(scale_range=(2, 2))(value, np.random.default_rng(0)).numpy()
    np.testing.assert_allclose(y, 2 * before.T, rtol=1e-6)
    noise = ImuTransform(noise_std=[0.5] * 3 + [0.0] * 3)(value, np.random.default_rng(0)).numpy() - before.T
    assert noise[:3].std() == pytest.approx(0.5, rel=0.1)
    assert not noise[3:].any()
    ImuTransform(rotation_degrees=90)(value, np.random.default_rng(0))
    np.testing.assert_array_equal(value.values, before)


def flat(value):
    return SensorRecording(np.full_like(value.values, 0.3), value.sample_rate_hz, value.channels, value.units)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (recording(channels=CHANNELS[:3], units=UNITS[:3]), "no channel gyro_x, gyro_y, gyro_z; it has acc_x, acc_y"),
        (recording(units=("m",) * 6), "acc_x is in 'm' and cannot become 'g'"),
        (recording(units=UNITS[::-1]), "acc_x is in 'rad/s' and cannot become 'g'"),
        (recording(num_frames=150), r"1.5 s are shorter than the window of 2 s\. Give a recording"),
        (flat(recording()), "every channel is constant"),
    ],
)
def test_a_bad_recording_is_refused_by_name(value, message):
    with pytest.raises(ValueError, match=message):
        ImuTransform()(value, None)


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match=r"transform\.imu\.channels names 2, transform\.imu\.units has 1"):
        ImuTransform(channels=("a", "b"), units=("g",))
    with pytest.raises(ValueError, match="rotation_degrees needs the channels"):
        ImuTransform(channels=("force",), units=("N",), rotation_degrees=5)


def test_any_sensor_works_and_collate_stacks():
    transform = ImuTransform(channels=("force",), units=("N",), sample_rate_hz=10, window_seconds=1)
    y = transform(recording(num_frames=10, rate_hz=10.0, channels=("force",), units=("N",)), None)
    assert transform.collate([y, y]).shape == (2, 1, 10)
