from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.studies.robustness.disturb.sensor import bias, dead_channels, gaps, rotation, triples
from bind.types import SensorRecording

CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g",) * 3 + ("rad/s",) * 3


def recording(num_frames=400, channels=CHANNELS, units=UNITS, rate_hz=100.0, seed=0):
    values = np.random.default_rng(seed).standard_normal((num_frames, len(channels))).astype(np.float32)
    return SensorRecording(values, rate_hz, channels, units)


def rng():
    return np.random.default_rng(5)


@pytest.mark.slow
@settings(max_examples=25)
@given(degrees=st.floats(0.1, 180), seed=st.integers(0, 99))
def test_a_rotation_keeps_lengths_and_angles_between_sensors(degrees, seed):
    clean = recording(50, seed=seed)
    turned = rotation(clean, degrees, np.random.default_rng(seed)).values
    acc, gyro = clean.values[:, :3], clean.values[:, 3:]
    np.testing.assert_allclose(np.linalg.norm(turned[:, :3], axis=1), np.linalg.norm(acc, axis=1), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(turned[:, 3:], axis=1), np.linalg.norm(gyro, axis=1), rtol=1e-5)
    np.testing.assert_allclose((turned[:, :3] * turned[:, 3:]).sum(1), (acc * gyro).sum(1), atol=1e-5)
    # The trace of a rotation by an angle is 1 + 2 cos.
    matrix = np.linalg.lstsq(acc.astype(np.float64), turned[:, :3].astype(np.float64), rcond=None)[0]
    assert np.trace(matrix) == pytest.approx(1 + 2 * np.cos(np.radians(degrees)), abs=1e-5)


def test_other_channels_are_not_turned_and_some_have_no_triple():
    clean = recording(10, ("acc_z", "temperature", "acc_x", "acc_y"), ("g", "K", "g", "g"))
    turned = rotation(clean, 90, rng()).values
    assert (turned[:, 1] == clean.values[:, 1]).all()
    assert (turned[:, 0] != clean.values[:, 0]).all()
    assert triples(clean.channels) == [[2, 3, 0]]
    with pytest.raises(ValueError, match="nothing to rotate among the channels acc_x, acc_y"):
        rotation(recording(10, ("acc_x", "acc_y"), ("g", "g")), 90, rng())


def test_a_bias_is_of_one_size_in_any_unit():
    clean = recording(20, ("a", "b", "c", "d", "e"), ("g", "m/s^2", "rad/s", "deg/s", "uT"))
    shift = bias(clean, 0.5, rng()).values - clean.values
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-6)
    np.testing.assert_allclose(np.abs(shift[0]), [0.5, 0.5 * 9.80665, 0.5, np.degrees(0.5), 0.5], rtol=1e-5)


@pytest.mark.slow
@settings(max_examples=40)
@given(share=st.floats(0.01, 0.99), num_frames=st.integers(2, 700), rate_hz=st.sampled_from([5.0, 50.0, 104.0]))
def test_gaps_lose_their_share_and_hold_the_last_value(share, num_frames, rate_hz):
    counting = recording(num_frames, ("a",), ("V",), rate_hz)
    counting = replace(counting, values=np.arange(num_frames, dtype=np.float32)[:, None])
    found = gaps(counting, share, rng()).values[:, 0]
    kept = np.unique(found).astype(int)
    stretch = 10 * max(1, round(0.1 * rate_hz))
    lost = [int(share * min(stretch, num_frames - start)) for start in range(0, num_frames, stretch)]
    assert num_frames - len(kept) == sum(lost)
    held = np.maximum.accumulate(np.where(np.isin(np.arange(num_frames), kept), np.arange(num_frames), kept[0]))
    assert (found == held).all()


def test_what_is_lost_at_one_share_is_lost_at_a_larger():
    counting = replace(recording(400), values=np.repeat(np.arange(400, dtype=np.float32)[:, None], 6, axis=1))
    few, many = (set(np.unique(gaps(counting, share, rng()).values)) for share in (0.9, 0.25))
    assert few < many


def test_dead_channels_read_zero_and_add_up():
    clean = recording()
    for count in (1, 2, 5):
        dead = ~dead_channels(clean, count, rng()).values.any(axis=0)
        assert dead.sum() == count
        assert dead_channels(clean, 5, rng()).values[:, dead].any() == np.False_
    with pytest.raises(ValueError, match="6 dead channels of 6 leave none"):
        dead_channels(clean, 6, rng())


def test_the_recording_itself_stays_as_it_is():
    clean = recording()
    before = clean.values.copy()
    for disturb, level in ((bias, 1.0), (rotation, 90.0), (gaps, 0.5), (dead_channels, 2)):
        assert (disturb(clean, level, rng()).values != before).any()
        assert (clean.values == before).all()
