import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.data.transforms.channels import ChannelsTransform, cosines, draw_channels
from bind.data.transforms.imu import ImuTransform
from bind.media.channel_names import read_meanings
from bind.types import Clip, SensorRecording

CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g",) * 3 + ("rad/s",) * 3


def motion(rate_hz=50.0, seconds=4.0, channels=CHANNELS, units=UNITS):
    """Slow waves, one per channel, the same in time at every rate."""
    time_T = (np.arange(round(rate_hz * seconds)) + 0.5) / rate_hz
    values = np.stack([np.sin(2 * np.pi * (1 + c) * time_T / 2) + c / 2 for c in range(len(channels))], axis=1)
    return SensorRecording(values.astype(np.float32), rate_hz, tuple(channels), tuple(units))


def pick(recording, columns):
    channels, units = (tuple(of[c] for c in columns) for of in (recording.channels, recording.units))
    return SensorRecording(recording.values[:, columns], recording.sample_rate_hz, channels, units)


def test_the_squares_of_coefficients_add_up_to_the_mean_square():
    x_T = np.random.default_rng(0).standard_normal(10).astype(np.float32)
    assert np.square(x_T @ cosines(10, 10)).sum() == pytest.approx(np.square(x_T).mean(), rel=1e-5)


@pytest.mark.parametrize("rate_hz", [25.0, 100.0, 200.0, 52.0])
def test_a_motion_gives_the_same_coefficients_at_every_rate_as_far_as_it_holds_them(rate_hz):
    transform = ChannelsTransform()
    expected, given_ = (transform(motion(hz), None) for hz in (50.0, rate_hz))
    num = int(min(expected["num_held"].min(), given_["num_held"].min()))
    torch.testing.assert_close(
        given_["coefficients"][:, 1:-1, : num - 1], expected["coefficients"][:, 1:-1, : num - 1], atol=0.05, rtol=0
    )
    assert given_["num_held"].tolist() == [min(16, round(rate_hz * 0.2))] * 6
    assert not given_["coefficients"][..., int(given_["num_held"][0]) :].any()


def test_units_are_of_no_account():
    a = motion()
    scales = np.float32([9.80665] * 3 + [180 / np.pi] * 3)
    b = SensorRecording(a.values * scales, 50.0, CHANNELS, ("m/s^2",) * 3 + ("deg/s",) * 3)
    torch.testing.assert_close(ChannelsTransform()(a, None), ChannelsTransform()(b, None))


def test_of_pressure_only_its_changes_count():
    recording = motion(channels=("pressure",), units=("hPa",))
    higher = SensorRecording(recording.values + 1000, 50.0, ("pressure",), ("hPa",))
    x, y = (ChannelsTransform()(r, None)["coefficients"] for r in (recording, higher))
    torch.testing.assert_close(x, y, atol=0.01, rtol=0)


def test_batches_hold_files_of_different_channels():
    transform = ChannelsTransform()
    both, acc = transform(motion(), None), transform(pick(motion(), [2, 0]), None)
    batch = transform.collate([both, acc])
    assert batch["is_present"].tolist() == [[True] * 6, [True, True, False, False, False, False]]
    assert torch.equal(batch["coefficients"][1, :2], both["coefficients"][[2, 0]])
    assert torch.equal(batch["channels"][1, :2], both["channels"][[2, 0]])


def test_channels_are_taken_as_far_as_they_are_there():
    transform = ChannelsTransform(channels=["acc_x", "gyro_x"])
    assert len(transform(motion(), None)["channels"]) == 2
    assert len(transform(pick(motion(), [0, 1]), None)["channels"]) == 1
    with pytest.raises(ValueError, match="no channel of acc_x, gyro_x; it has acc_y"):
        transform(pick(motion(), [1]), None)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.99), st.floats(0, 0.99))
def test_one_channel_always_stays(seed, drop_sensors, drop_channels):
    meanings = read_meanings(CHANNELS, UNITS, "a")
    kept = draw_channels(meanings, drop_sensors, drop_channels, np.random.default_rng(seed))
    assert kept
    assert kept == sorted(set(kept))
    if not drop_channels:
        assert kept in ([0, 1, 2], [3, 4, 5], [0, 1, 2, 3, 4, 5])


def test_training_is_a_function_of_the_generator_and_evaluation_of_the_window_alone():
    transform = ChannelsTransform(drop_sensors=0.5, rotation_degrees=30, scale_range=(0.5, 2))
    first, again, other = (transform(motion(), np.random.default_rng(seed)) for seed in (3, 3, 4))
    torch.testing.assert_close(first, again)
    assert first["coefficients"].shape != other["coefficients"].shape or not torch.equal(
        first["coefficients"], other["coefficients"]
    )
    torch.testing.assert_close(transform(motion(), None), transform(motion(), None))


def test_lower_frequencies_alone_are_as_of_a_lower_rate():
    transform = ChannelsTransform(drop_sensors=0, drop_channels=0, drop_frequencies=0.999)
    drawn = transform(motion(), np.random.default_rng(0))
    num_held = int(drawn["num_held"][0])
    assert 4 <= num_held <= 10
    assert not drawn["coefficients"][..., num_held:].any()


@pytest.mark.parametrize("transform", [ChannelsTransform, ImuTransform])
def test_align_turns_a_file_that_was_worn_otherwise_into_the_same_windows(tmp_path, transform):
    rng = np.random.default_rng(0)
    x_TC = rng.normal(0, 0.3, (3000, 6)).astype(np.float32)
    x_TC[:, 2] += 1 + rng.exponential(0.5, 3000)
    x_TC[:, 0] += rng.exponential(0.5, 3000)
    turn = np.float32([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    for name, values in (("a", x_TC), ("b", np.concatenate([x_TC[:, :3] @ turn.T, x_TC[:, 3:] @ turn.T], axis=1))):
        np.save(tmp_path / f"{name}.npy", values)
        about = {"channels": CHANNELS, "units": UNITS, "sample_rate_hz": 50}
        (tmp_path / f"{name}.json").write_text(json.dumps(about))
    a, b = (transform(align="gravity")(Clip(tmp_path / f"{name}.npy", 4.0, 8.0), None) for name in "ab")
    torch.testing.assert_close(a, b, atol=2e-3, rtol=0)
    plain_a, plain_b = (transform()(Clip(tmp_path / f"{name}.npy", 4.0, 8.0), None) for name in "ab")
    with pytest.raises(AssertionError):
        torch.testing.assert_close(plain_a, plain_b, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_seconds": 2.5}, "no multiple of patch_seconds=0.2: set window_seconds=2.4"),
        ({"num_coefficients": 0}, "give 1 or more"),
        ({"align": "north"}, "choose gravity or null"),
        ({"drop_sensors": 1.0}, "transform.imu.drop_sensors=1.0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ChannelsTransform(**options)


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        (motion(seconds=1.0), "1 s are shorter than the window of 2 s"),
        (SensorRecording(np.ones((200, 1), np.float32), 50.0, ("acc_x",), ("g",)), "every channel is constant"),
        (motion(channels=("force",), units=("N",)), "what force measures is not known"),
        (SensorRecording(np.full((200, 1), np.nan), 50.0, ("acc_x",), ("g",)), "NaN"),
    ],
)
def test_recordings_that_cannot_be_taken_are_refused(recording, message):
    with pytest.raises(ValueError, match=message):
        ChannelsTransform()(recording, None)


def test_a_span_that_rounding_leaves_one_frame_short_is_taken():
    whole, short = motion(25.0, 2.0), motion(25.0, 1.96)
    x, y = (ChannelsTransform()(recording, None)["coefficients"] for recording in (whole, short))
    assert torch.equal(x[:, :-1], y[:, :-1])
    with pytest.raises(ValueError, match="shorter than the window"):
        ChannelsTransform()(motion(25.0, 1.92), None)
