import logging

import numpy as np
import pytest
import soundfile
import torch

from bind.data.transforms.audio import AudioTransform
from bind.media import notices
from bind.types import Clip, Waveform

RATE_HZ = 16_000


def sine(hz, rate_hz=RATE_HZ, seconds=1.0):
    return np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz).astype(np.float32)


def pitch_hz(x):
    return float(np.argmax(np.abs(np.fft.rfft(x, n=RATE_HZ))))


def test_evaluation_is_deterministic_and_keeps_the_samples():
    x = np.random.default_rng(0).uniform(-1, 1, RATE_HZ).astype(np.float32)
    transform = AudioTransform(
        speed_range=(0.8, 1.25), gain_db_range=(-6, 6), noise_snr_db_range=(10, 20), tilt_db_range=(-3, 3)
    )
    y = transform(Waveform(x, RATE_HZ), None)
    assert y.dtype == torch.float32
    np.testing.assert_array_equal(y, x)


def test_a_short_sound_is_padded_at_its_end_and_at_random_in_training():
    x = np.ones(4000, dtype=np.float32)
    transform = AudioTransform()
    y = transform(Waveform(x, RATE_HZ), None)
    np.testing.assert_array_equal(y, np.pad(x, (0, 12_000)))
    starts = {int(transform(Waveform(x, RATE_HZ), np.random.default_rng(i)).argmax()) for i in range(8)}
    assert len(starts) > 4


def test_a_long_sound_gives_its_middle_and_any_part_in_training():
    x = np.arange(5 * RATE_HZ, dtype=np.float32) / 2**17  # exact, and below full scale
    transform = AudioTransform()
    y = transform(Waveform(x, RATE_HZ), None)
    np.testing.assert_array_equal(y, x[2 * RATE_HZ : 3 * RATE_HZ])
    starts = [2**17 * float(transform(Waveform(x, RATE_HZ), np.random.default_rng(i))[0]) for i in range(50)]
    assert min(starts) < RATE_HZ < 3 * RATE_HZ < max(starts)


def test_training_follows_its_generator():
    transform = AudioTransform(speed_range=(0.8, 1.25), gain_db_range=(-6, 6), noise_snr_db_range=(10, 20))
    first, again, other = (transform(Waveform(sine(440), RATE_HZ), np.random.default_rng(i)) for i in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_speed_moves_pitch_and_length(speed):
    transform = AudioTransform(speed_range=(speed, speed))
    y = transform(Waveform(sine(500, seconds=0.5), RATE_HZ), np.random.default_rng(0))
    assert pitch_hz(y) == pytest.approx(500 * speed, abs=2)
    loud = np.flatnonzero(np.abs(y.numpy()) > 0.05)
    assert loud[-1] - loud[0] == pytest.approx(RATE_HZ * 0.5 / speed, rel=0.01)


def test_gain_and_noise_have_the_levels_of_the_options():
    x = Waveform(sine(500), RATE_HZ)
    quiet = AudioTransform(gain_db_range=(-20, -20))(x, np.random.default_rng(0)).numpy()
    np.testing.assert_allclose(quiet, 0.1 * x.samples, atol=1e-6)
    noise = AudioTransform(noise_snr_db_range=(20, 20))(x, np.random.default_rng(0)).numpy() - x.samples
    assert 20 * np.log10(x.samples.std() / noise.std()) == pytest.approx(20, abs=0.3)


def test_tilt_shifts_energy_between_octaves_and_keeps_it():
    x = Waveform((sine(500) + sine(4000)).astype(np.float32), RATE_HZ)
    y = AudioTransform(tilt_db_range=(3, 3))(x, np.random.default_rng(0)).numpy()
    spectrum = np.abs(np.fft.rfft(y))
    assert 20 * np.log10(spectrum[4000] / spectrum[500]) == pytest.approx(9, abs=0.1)
    assert np.square(y).sum() == pytest.approx(np.square(x.samples).sum(), rel=1e-3)


def test_other_rates_and_channels_are_converted_and_logged_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(notices, "_warned", set())
    stereo = np.stack([sine(440, 8000), np.zeros(8000, dtype=np.float32)], axis=1)
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, stereo, 8000)
    with caplog.at_level(logging.WARNING, "bind.data"):
        y, _ = (AudioTransform()(Clip(tmp_path / name), None) for name in ("a.wav", "b.wav"))
    np.testing.assert_allclose(y[2000:-2000], sine(440)[2000:-2000] / 2, atol=2e-3)
    assert [record.getMessage() for record in caplog.records] == [
        f"sound at 8000 Hz is resampled to 16000 Hz (first: {tmp_path / 'a.wav'}; not repeated)",
        f"sound with 2 channels is averaged to one (first: {tmp_path / 'a.wav'}; not repeated)",
    ]


def test_nan_in_a_sound_is_named(tmp_path):
    x = sine(440)
    x[5] = np.nan
    soundfile.write(tmp_path / "a.wav", x, RATE_HZ, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"a\.wav: 1 of 16000 values are NaN"):
        AudioTransform()(Clip(tmp_path / "a.wav"), None)


def test_a_file_without_samples_is_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE_HZ)
    with pytest.raises(ValueError, match=r"a\.wav: there are no samples in it"):
        AudioTransform()(Clip(tmp_path / "a.wav"), None)


def test_collate_stacks():
    assert AudioTransform(window_seconds=0.5).collate([torch.zeros(8000)] * 3).shape == (3, 8000)


@pytest.mark.parametrize(
    "options", [{"window_seconds": 0}, {"speed_range": (0, 1)}, {"gain_db_range": (3, -3)}, {"tilt_db_range": (1, 0)}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options)) if "range" in str(options) else "empty window"):
        AudioTransform(**options)


def test_several_windows_run_from_start_to_end():
    x = Waveform(np.arange(10 * RATE_HZ, dtype=np.float32) / 2**18, RATE_HZ)
    three = AudioTransform(window_seconds=2.0, num_clips=3)(x, None)
    assert [(len(y), 2**18 * float(y[0])) for y in three] == [(2 * RATE_HZ, start * RATE_HZ) for start in (0, 4, 8)]
    tiled = AudioTransform(window_seconds=3.0, num_clips=None)(x, None)
    assert [2**18 * float(y[0]) / RATE_HZ for y in tiled] == pytest.approx([0, 7 / 3, 14 / 3, 7], abs=1e-3)
    assert AudioTransform(window_seconds=3.0, num_clips=None)(x, np.random.default_rng(0)).shape == (3 * RATE_HZ,)
    assert AudioTransform(window_seconds=20.0, num_clips=3)(x, None).shape == (20 * RATE_HZ,)


def test_windows_at_another_rate_are_those_of_the_whole_resampled():
    x = Waveform(sine(300, 8000, 5.0), 8000)
    windows = AudioTransform(window_seconds=2.0, num_clips=2)(x, None)
    for y, start in zip(windows, (0, 3), strict=True):
        expected = sine(300, RATE_HZ, 5.0)[start * RATE_HZ : (start + 2) * RATE_HZ]
        np.testing.assert_allclose(y[500:-500], expected[500:-500], atol=3e-3)
