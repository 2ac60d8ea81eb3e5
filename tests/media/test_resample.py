from fractions import Fraction

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.media.recording import Recording
from bind.media.resample import rate_ratio, read_resampled, read_resampled_by_torchaudio, resample


def sine(hz, rate_hz, seconds=1.0):
    time = np.arange(round(rate_hz * seconds)) / rate_hz
    return np.sin(2 * np.pi * hz * time, dtype=np.float64).astype(np.float32)[:, None]


@pytest.mark.parametrize(
    ("source_hz", "target_hz"), [(8000, 16_000), (44_100, 16_000), (48_000, 16_000), (11_025, 16_000)]
)
def test_a_tone_keeps_its_pitch_and_level(source_hz, target_hz):
    y = resample(sine(440, source_hz), rate_ratio(target_hz, source_hz, "a"))
    assert y.shape == (target_hz, 1)
    assert y.dtype == np.float32
    inner = slice(target_hz // 10, -target_hz // 10)
    np.testing.assert_allclose(y[inner], sine(440, target_hz)[inner], atol=2e-3)


def test_what_the_new_rate_cannot_hold_is_filtered_out():
    y = resample(sine(7000, 16_000), rate_ratio(8000, 16_000, "a"))
    assert np.abs(y[200:-200]).max() < 0.01


def test_a_constant_stays_constant_to_its_ends_along_the_line():
    x = np.full((100, 1), 9.81, dtype=np.float32)
    np.testing.assert_allclose(resample(x, Fraction(2), "line"), 9.81, rtol=1e-4)
    assert abs(resample(x, Fraction(2))[-1, 0] - 9.81) > 1


@pytest.mark.slow
@given(
    num_frames=st.integers(50, 300),
    ratio=st.sampled_from([Fraction(1), Fraction(2), Fraction(1, 3), Fraction(160, 441), Fraction(200, 81)]),
    data=st.data(),
)
@settings(max_examples=60)
def test_a_window_equals_the_whole_resampled_and_cut(num_frames, ratio, data):
    x = np.random.default_rng(num_frames).standard_normal((num_frames, 2)).astype(np.float32)
    whole = resample(x, ratio)
    start = data.draw(st.integers(0, (num_frames - 1) // ratio.denominator)) * ratio.denominator
    first = start * ratio
    num_out = data.draw(st.integers(1, len(whole) - int(first)))
    reads = []

    def read(begin, end):
        reads.append((begin, end))
        return x[begin:end]

    window = read_resampled(Recording("x", 100.0, num_frames, read), start, num_out, ratio)
    np.testing.assert_allclose(window, whole[int(first) : int(first) + num_out], atol=1e-5)
    assert all(0 <= begin < end <= num_frames for begin, end in reads)


def test_only_the_window_is_read():
    x = sine(440, 8000, 60.0)
    reads = []

    def read(begin, end):
        reads.append(end - begin)
        return x[begin:end]

    recording = Recording("x", 8000.0, len(x), read)
    assert read_resampled(recording, 100_000, 16_000, Fraction(2)).shape == (16_000, 1)
    assert reads == [8020]


@pytest.mark.slow
@given(st.floats(20, 20_000), st.floats(20, 20_000))
def test_ratios_are_close_and_short(target_hz, source_hz):
    ratio = rate_ratio(target_hz, source_hz, "a")
    assert float(ratio) == pytest.approx(target_hz / source_hz, rel=1e-3)
    assert min(ratio.numerator, ratio.denominator) <= 1000


def test_rates_that_are_absurdly_far_apart_are_refused():
    with pytest.raises(ValueError, match=r"odd\.wav: cannot resample 8000 Hz to 0\.5 Hz"):
        rate_ratio(0.5, 8000, "odd.wav")


@pytest.mark.slow
@given(
    num_frames=st.integers(50, 2000),
    ratio=st.sampled_from([Fraction(1), Fraction(2), Fraction(1, 3), Fraction(160, 441), Fraction(20, 9)]),
    data=st.data(),
)
@settings(max_examples=40)
def test_a_window_equals_what_torchaudio_makes_of_the_whole(num_frames, ratio, data):
    x = np.random.default_rng(num_frames).standard_normal((num_frames, 2)).astype(np.float32)
    whole = torchaudio.functional.resample(torch.from_numpy(x.T.copy()), ratio.denominator, ratio.numerator).T
    start = data.draw(st.integers(0, len(whole) - 1))
    num_out = data.draw(st.integers(1, 2 * len(whole)))
    window = read_resampled_by_torchaudio(Recording("x", 100.0, num_frames, lambda a, b: x[a:b]), start, num_out, ratio)
    np.testing.assert_allclose(window, whole[start : start + num_out], atol=1e-6)
