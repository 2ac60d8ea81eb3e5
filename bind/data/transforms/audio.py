"""Transform of sound: a mono window at one rate."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from bind.data.transforms.options import Range, checked_range
from bind.media.audio import open_audio
from bind.media.notices import warn_once
from bind.media.recording import Recording
from bind.media.resample import frames_at, rate_ratio, read_resampled
from bind.media.windows import checked_num_clips, window_starts
from bind.types import Clip, Inputs, Waveform


class AudioTransform:
    """A sound file, a span of one, or a `Waveform` → float32 (T,), T = `sample_rate_hz * window_seconds`.

    Other rates are resampled, several channels averaged, and the log names both once. From a longer sound a random
    window is taken in training and the middle one in evaluation, or several as a list of clips; a shorter one is
    padded with zeros at its end, in training on both sides at random. All augmentation is off by default and happens
    in training only.

    Args:
        num_clips: windows in evaluation, evenly spread, whose embeddings are averaged; None: as many as cover all.
        speed_range: playback speed, drawn log-uniformly in steps of 0.01; pitch and formants move along.
        gain_db_range: gain in dB.
        noise_snr_db_range: white noise at this signal-to-noise ratio in dB over the window; None adds none.
        tilt_db_range: spectral tilt in dB per octave around 1 kHz (another microphone, another room).

    Raises:
        ValueError: a file that is missing, corrupt, empty or holds NaN, named in the message.

    Examples:
        >>> tone = Waveform(np.sin(np.arange(24_000) / 10).astype(np.float32), sample_rate_hz=8000)
        >>> transform = AudioTransform(sample_rate_hz=8000, window_seconds=1.0)
        >>> window = transform(tone, None)  # evaluation: the middle second of three
        >>> window.shape, torch.equal(window, torch.from_numpy(tone.samples[8000:16_000]))
        (torch.Size([8000]), True)
        >>> len(AudioTransform(sample_rate_hz=8000, window_seconds=1.0, num_clips=5)(tone, None))
        5
    """

    def __init__(
        self,
        *,
        sample_rate_hz: int = 16_000,
        window_seconds: float = 1.0,
        num_clips: int | None = 1,
        speed_range: Range = (1.0, 1.0),
        gain_db_range: Range = (0.0, 0.0),
        noise_snr_db_range: Range | None = None,
        tilt_db_range: Range = (0.0, 0.0),
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.window_seconds = window_seconds
        self.num_samples = round(sample_rate_hz * window_seconds)
        if self.num_samples < 1:
            raise ValueError(f"{sample_rate_hz} Hz for {window_seconds} s is an empty window; raise one of them")
        self.num_clips = checked_num_clips(num_clips)
        self.speed_range = checked_range("speed_range", speed_range, above=0.0)
        self.gain_db_range = checked_range("gain_db_range", gain_db_range)
        self.noise_snr_db_range = (
            checked_range("noise_snr_db_range", noise_snr_db_range) if noise_snr_db_range else None
        )
        self.tilt_db_range = checked_range("tilt_db_range", tilt_db_range)

    def __call__(self, value: Clip | Waveform, rng: np.random.Generator | None) -> Tensor | list[Tensor]:
        clips = [torch.from_numpy(x_T) for x_T in self.read_windows(value, rng)]
        return clips if len(clips) > 1 else clips[0]

    def read_windows(
        self, value: Clip | Waveform, rng: np.random.Generator | None, *, pad: bool = True
    ) -> list[np.ndarray]:
        """The windows (T,) of a sound, augmented where there is a generator; without `pad` a shorter one stays so."""
        with open_audio(value) as recording:
            if rng is not None:
                x_T = self._random_window(recording, rng)
                return [self._augment(x_T, rng, self.num_samples if pad else len(x_T))]
            ratio = rate_ratio(self.sample_rate_hz, recording.sample_rate_hz, recording.name)
            starts = window_starts(recording.num_frames, frames_at(1 / ratio, self.num_samples), self.num_clips)
            windows = [self._read(recording, int(start), ratio) for start in starts]
        return [_padded(x_T, 0, self.num_samples - len(x_T)) for x_T in windows] if pad else windows

    def collate(self, items: list[Tensor]) -> Inputs:
        """B_m windows (T,) → (B_m, T)."""
        return torch.stack(items)

    def _random_window(self, recording: Recording, rng: np.random.Generator) -> np.ndarray:
        speed = _draw_speed(self.speed_range, rng)
        ratio = rate_ratio(self.sample_rate_hz / speed, recording.sample_rate_hz, recording.name)
        spare = recording.num_frames - frames_at(1 / ratio, self.num_samples)
        return self._read(recording, int(rng.integers(spare + 1)) if spare > 0 else 0, ratio)

    def _read(self, recording: Recording, start: int, ratio: Fraction) -> np.ndarray:
        x_TC = read_resampled(recording, start, self.num_samples, ratio)
        if recording.sample_rate_hz != self.sample_rate_hz:
            source_rate = f"{recording.sample_rate_hz:g} Hz"
            warn_once(f"sound at {source_rate} is resampled to {self.sample_rate_hz} Hz", recording.name)
        if x_TC.shape[1] > 1:
            warn_once(f"sound with {x_TC.shape[1]} channels is averaged to one", recording.name)
        return np.ascontiguousarray(x_TC.mean(axis=1) if x_TC.shape[1] > 1 else x_TC[:, 0])

    def _augment(self, x_T: np.ndarray, rng: np.random.Generator, num_samples: int) -> np.ndarray:
        """Tilt and gain, then a random place within `num_samples`, then noise over all of them."""
        if any(self.tilt_db_range):
            x_T = _tilt(x_T, rng.uniform(*self.tilt_db_range), self.sample_rate_hz)
        if any(self.gain_db_range):
            x_T = x_T * np.float32(10 ** (rng.uniform(*self.gain_db_range) / 20))
        spare = num_samples - len(x_T)
        before = int(rng.integers(spare + 1))
        padded_T = _padded(x_T, before, spare - before)
        if self.noise_snr_db_range is None:
            return padded_T
        rms = np.sqrt(np.mean(np.square(x_T)))
        level = rms * np.float32(10 ** (-rng.uniform(*self.noise_snr_db_range) / 20))
        noisy_T: np.ndarray = padded_T + level * rng.standard_normal(len(padded_T), dtype=np.float32)
        return noisy_T


def _padded(x_T: np.ndarray, before: int, after: int) -> np.ndarray:
    """A copy of `x_T` between zeros: `np.pad` without what it takes to be asked anything else."""
    padded_T = np.zeros(before + len(x_T) + after, dtype=x_T.dtype)
    padded_T[before : before + len(x_T)] = x_T
    return padded_T


def _draw_speed(speed_range: Range, rng: np.random.Generator) -> float:
    low, high = speed_range
    return round(math.exp(rng.uniform(math.log(low), math.log(high))), 2)


def _tilt(x_T: np.ndarray, db_per_octave: float, sample_rate_hz: int) -> np.ndarray:
    """Tilt the spectrum and keep the energy; frequencies under 50 Hz count as 50 Hz."""
    from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

    num_fft = next_fast_len(len(x_T), real=True)
    octaves = np.log2(np.maximum(rfftfreq(num_fft, 1 / sample_rate_hz), 50.0) / 1000.0)
    response = np.power(10.0, db_per_octave * octaves / 20).astype(np.float32)
    tilted: np.ndarray = irfft(rfft(x_T, n=num_fft) * response, n=num_fft)[: len(x_T)]
    energy = float(np.sum(np.square(tilted)))
    gain = math.sqrt(float(np.sum(np.square(x_T))) / energy) if energy > 0 else 1.0
    return tilted * np.float32(gain)
