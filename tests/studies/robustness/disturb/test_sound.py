import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.studies.robustness.disturb.sound import pink_noise, white_noise
from bind.types import Waveform


def sound(num_samples=8000, num_channels=0, seed=0, level=0.1):
    shape = (num_samples, num_channels) if num_channels else (num_samples,)
    return Waveform((level * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32), 8000)


def power(x):
    return float(np.mean(np.square(x.astype(np.float64))))


@pytest.mark.slow
@pytest.mark.parametrize("noise", [white_noise, pink_noise])
@settings(max_examples=25)
@given(
    snr_db=st.floats(-30, 60),
    num_samples=st.integers(2, 3000),
    num_channels=st.integers(0, 2),
    level=st.floats(1e-3, 1),
    seed=st.integers(0, 99),
)
def test_the_ratio_is_the_one_that_was_asked_for(noise, snr_db, num_samples, num_channels, level, seed):
    clean = sound(num_samples, num_channels, seed, level)
    noisy = noise(clean, snr_db, np.random.default_rng(seed + 1))
    assert noisy.samples.dtype == np.float32
    assert noisy.samples.shape == clean.samples.shape
    added = noisy.samples.astype(np.float64) - clean.samples
    # What float32 rounds off the sum is a noise of its own, 144 dB below the sum.
    tolerance = 1e-4 if snr_db < 40 else 1e-2
    assert 10 * np.log10(power(clean.samples) / power(added)) == pytest.approx(snr_db, abs=tolerance)


def test_levels_share_one_noise_and_channels_hear_the_same():
    clean = sound(num_channels=2)
    loud, quiet = (white_noise(clean, db, np.random.default_rng(3)).samples - clean.samples for db in (0, 20))
    np.testing.assert_allclose(loud, 10 * quiet, atol=1e-6)
    np.testing.assert_allclose(loud[:, 0], loud[:, 1], atol=1e-6)


def test_pink_noise_has_as_much_in_every_octave_and_white_noise_twice_as_much():
    silence_with_a_click = Waveform(np.eye(1, 2**16, dtype=np.float32)[0], 2**16)
    for noise, ratio in ((pink_noise, 1.0), (white_noise, 2.0)):
        added = noise(silence_with_a_click, 0.0, np.random.default_rng(0)).samples - silence_with_a_click.samples
        spectrum = np.square(np.abs(np.fft.rfft(added)))
        octaves = [spectrum[2**n : 2 ** (n + 1)].sum() for n in range(8, 15)]
        assert np.diff(np.log2(octaves)).mean() == pytest.approx(np.log2(ratio), abs=0.1)


def test_silence_stays_silent():
    silence = Waveform(np.zeros(100, dtype=np.float32), 8000)
    assert not white_noise(silence, -10.0, np.random.default_rng(0)).samples.any()
    assert not pink_noise(silence, -10.0, np.random.default_rng(0)).samples.any()
