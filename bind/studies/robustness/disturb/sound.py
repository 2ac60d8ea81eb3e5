"""Sound with noise: as decoded, before any transform."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bind.types import Waveform


def white_noise(sound: Waveform, snr_db: float, rng: np.random.Generator) -> Waveform:
    """`sound` with white noise at `snr_db`, the ratio of their mean powers over the whole clip and its whole band.

    All channels hear the same noise. Nothing is clipped, so the ratio is exact, and a silent clip stays silent.
    """
    return _added(sound, rng.standard_normal(len(sound.samples)), snr_db)


def pink_noise(sound: Waveform, snr_db: float, rng: np.random.Generator) -> Waveform:
    """As `white_noise`, with equal power in every octave, as in most rooms and streets."""
    spectrum = np.fft.rfft(rng.standard_normal(len(sound.samples)))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0.0
    return _added(sound, np.fft.irfft(spectrum, n=len(sound.samples)), snr_db)


def _added(sound: Waveform, noise_T: np.ndarray, snr_db: float) -> Waveform:
    samples = sound.samples.astype(np.float64)
    noise_power = np.mean(np.square(noise_T))
    if noise_power == 0:  # pink noise has no mean, which is all that one frame could have
        return sound
    wanted = np.mean(np.square(samples)) * 10 ** (-snr_db / 10)
    noise_T = noise_T * np.sqrt(wanted / noise_power)
    noisy = samples + noise_T.reshape(-1, *[1] * (samples.ndim - 1))
    return replace(sound, samples=noisy.astype(np.float32))
