"""Log-mel spectrograms of whole batches, on the device of the waveforms and always in fp32."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torchaudio
from torch import Tensor, nn
from torchaudio.compliance import kaldi

KALDI_FLOOR = torch.finfo(torch.float32).eps
KALDI_LOW_HZ = 20.0
KALDI_PREEMPHASIS = 0.97


class LogMel(nn.Module):
    """Batched log-mel spectrogram, (B, T) samples in [-1, 1] → (B, num_mels, frames), standardised.

    Frames are centred, so there are `1 + T // hop` of them. With `per_clip` every clip is brought to mean 0 and
    standard deviation 1 by itself, which takes the recording's gain out; else `(x - mean) / std`.

    Raises:
        ValueError: the clip is shorter than half a spectrum, the bands reach past the Nyquist frequency, or
            windows hold no sample.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        *,
        num_mels: int = 64,
        window_ms: float = 25.0,
        hop_ms: float = 10.0,
        low_hz: float = 20.0,
        high_hz: float | None = None,
        per_clip: bool = True,
        mean: float = 0.0,
        std: float = 1.0,
        floor: float = 1e-6,
    ) -> None:
        super().__init__()
        self.sample_rate_hz = sample_rate_hz
        self.num_mels = num_mels
        self.window = round(sample_rate_hz * window_ms / 1000)
        self.hop = round(sample_rate_hz * hop_ms / 1000)
        self.low_hz = low_hz
        self.high_hz = high_hz if high_hz is not None else sample_rate_hz / 2
        self.per_clip = per_clip
        self.mean = mean
        self.std = std
        self.floor = floor
        if min(self.window, self.hop) < 1:
            raise ValueError(
                f"windows of {window_ms:g} ms every {hop_ms:g} ms hold no sample at sample_rate_hz={sample_rate_hz}: "
                "raise what is too small"
            )
        if not 0 <= self.low_hz < self.high_hz <= sample_rate_hz / 2:
            raise ValueError(
                f"mel bands from {low_hz} to {self.high_hz} Hz do not fit a sample rate of {sample_rate_hz} Hz: "
                f"keep low_hz < high_hz <= {sample_rate_hz / 2:g}"
            )
        self.fft = _fft_that_fills_all_bands(sample_rate_hz, num_mels, self.window, self.low_hz, self.high_hz)

    def forward(self, wave_BT: Tensor) -> Tensor:
        _check_waveform(wave_BT, minimum=self.fft // 2 + 1)
        if wave_BT.shape[0] == 0:
            return wave_BT.new_zeros((0, self.num_mels, 1 + wave_BT.shape[1] // self.hop), dtype=torch.float32)
        with torch.autocast(wave_BT.device.type, enabled=False):
            window, banks_FM = self.constants(wave_BT.device)
            spectrum = torch.stft(
                wave_BT.float(), self.fft, self.hop, self.window, window, center=True, return_complex=True
            )
            power_BFT = spectrum.real.square() + spectrum.imag.square()
            log_BMT = (banks_FM.T @ power_BFT + self.floor).log()
            if self.per_clip:
                std, mean = torch.std_mean(log_BMT, dim=(1, 2), keepdim=True)
                return (log_BMT - mean) / std.clamp_min(1e-3)
            return (log_BMT - self.mean) / self.std

    def constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Window (window,) and mel bands (fft // 2 + 1, num_mels)."""
        return _mel_constants(
            self.sample_rate_hz, self.num_mels, self.window, self.fft, self.low_hz, self.high_hz, device
        )


class KaldiFbank(nn.Module):
    """Kaldi's log filter bank as ImageBind and AST use it, (B, T) samples in [-1, 1] → (B, num_mels, frames).

    Hanning windows without padding, each with its mean removed and a pre-emphasis of 0.97; bands from 20 Hz to the
    Nyquist frequency; then `(x - mean) / std`. Equals `torchaudio.compliance.kaldi.fbank(htk_compat=True,
    window_type="hanning", dither=0)` of each waveform. Defaults: ImageBind's 16 kHz, 128 bands, 25 / 10 ms,
    mean -4.268, std 9.138; 2 s give 198 frames.

    Raises:
        ValueError: the clip is shorter than one window.
    """

    def __init__(
        self,
        sample_rate_hz: int = 16000,
        *,
        num_mels: int = 128,
        window_ms: float = 25.0,
        hop_ms: float = 10.0,
        mean: float = -4.268,
        std: float = 9.138,
    ) -> None:
        super().__init__()
        self.sample_rate_hz = sample_rate_hz
        self.num_mels = num_mels
        self.window = int(sample_rate_hz * window_ms / 1000)
        self.hop = int(sample_rate_hz * hop_ms / 1000)
        self.fft = _next_power_of_two(self.window)
        self.mean = mean
        self.std = std

    def num_frames(self, num_samples: int) -> int:
        """How many frames a waveform of `num_samples` gives; 0 where it is shorter than one window."""
        return max(0, 1 + (num_samples - self.window) // self.hop)

    def forward(self, wave_BT: Tensor) -> Tensor:
        _check_waveform(wave_BT, minimum=self.window)
        with torch.autocast(wave_BT.device.type, enabled=False):
            window, banks_FM = self.constants(wave_BT.device)
            frames_BTW = wave_BT.float().unfold(1, self.window, self.hop)
            if wave_BT.shape[0] == 0:
                return wave_BT.new_zeros((0, self.num_mels, frames_BTW.shape[1]), dtype=torch.float32)
            frames_BTW = frames_BTW - frames_BTW.mean(dim=-1, keepdim=True)
            previous_BTW = torch.cat([frames_BTW[..., :1], frames_BTW[..., :-1]], dim=-1)
            frames_BTW = (frames_BTW - KALDI_PREEMPHASIS * previous_BTW) * window
            power_BTF = torch.fft.rfft(frames_BTW, n=self.fft).abs().square()
            log_BTM = (power_BTF @ banks_FM).clamp_min(KALDI_FLOOR).log()
            mel_BTM: Tensor = (log_BTM - self.mean) / self.std
            return mel_BTM.transpose(1, 2)

    def constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Window (window,) and mel bands (fft // 2 + 1, num_mels)."""
        return _kaldi_constants(self.sample_rate_hz, self.num_mels, self.window, self.fft, device)


class SpecAugment(nn.Module):
    """Masks bands and stretches of time of a standardised spectrogram (B, M, T), in training mode only.

    Every row draws its own masks: widths uniform in [0, max], positions uniform; what is masked becomes 0, the mean.
    Source: Park et al. 2019, without the time warp.
    """

    def __init__(
        self,
        *,
        num_time_masks: int = 1,
        max_time_share: float = 0.15,
        num_mel_masks: int = 1,
        max_mel_share: float = 0.15,
    ) -> None:
        super().__init__()
        self.num_time_masks = num_time_masks
        self.max_time_share = max_time_share
        self.num_mel_masks = num_mel_masks
        self.max_mel_share = max_mel_share

    def forward(self, mel_BMT: Tensor) -> Tensor:
        if not self.training:
            return mel_BMT
        num_rows, num_mels, num_frames = mel_BMT.shape
        bands_BM = _stripes(num_rows, num_mels, self.num_mel_masks, self.max_mel_share, mel_BMT.device)
        times_BT = _stripes(num_rows, num_frames, self.num_time_masks, self.max_time_share, mel_BMT.device)
        return mel_BMT.masked_fill(bands_BM[:, :, None] | times_BT[:, None, :], 0.0)


def _stripes(num_rows: int, size: int, num_masks: int, max_share: float, device: torch.device) -> Tensor:
    """(num_rows, size) booleans: True inside one of `num_masks` stripes of each row."""
    draws = torch.rand(2, num_rows, num_masks, 1, device=device)
    widths = (draws[0] * (int(max_share * size) + 1)).floor()
    starts = (draws[1] * (size - widths + 1)).floor()
    positions = torch.arange(size, device=device)
    return ((positions >= starts) & (positions < starts + widths)).any(dim=1)


def _check_waveform(wave_BT: Tensor, minimum: int) -> None:
    if wave_BT.ndim != 2:
        raise ValueError(f"expected mono waveforms (B, T), got {tuple(wave_BT.shape)}: mix the channels down first")
    if wave_BT.shape[1] < minimum:
        raise ValueError(
            f"a clip of {wave_BT.shape[1]} samples is too short for this spectrogram: give at least {minimum}"
        )


def _next_power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _fft_that_fills_all_bands(sample_rate_hz: int, num_mels: int, window: int, low_hz: float, high_hz: float) -> int:
    """The window's next power of two, doubled until even the narrowest mel band holds a bin of the spectrum."""
    low_mel, high_mel = (2595 * math.log10(1 + hz / 700) for hz in (low_hz, high_hz))
    narrowest_hz = (700 + low_hz) * (10 ** ((high_mel - low_mel) / (num_mels + 1) / 2595) - 1)
    fft = _next_power_of_two(window)
    while sample_rate_hz / fft > 2 * narrowest_hz:
        fft *= 2
    return fft


# Window and filter bank are functions of the settings, not buffers: a model cast to bf16 keeps them exact.


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _mel_constants(
    sample_rate_hz: int, num_mels: int, window: int, fft: int, low_hz: float, high_hz: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    banks_FM = torchaudio.functional.melscale_fbanks(
        fft // 2 + 1, low_hz, high_hz, num_mels, sample_rate_hz, norm=None, mel_scale="htk"
    )
    return torch.hann_window(window).to(device), banks_FM.to(device)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _kaldi_constants(
    sample_rate_hz: int, num_mels: int, window: int, fft: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    banks_MF, _ = kaldi.get_mel_banks(
        num_mels, fft, float(sample_rate_hz), KALDI_LOW_HZ, 0.0, vtln_low=100.0, vtln_high=-500.0, vtln_warp_factor=1.0
    )
    # Kaldi's banks leave out the bin at the Nyquist frequency.
    banks_FM = torch.nn.functional.pad(banks_MF.T, (0, 0, 0, 1))
    return torch.hann_window(window, periodic=False).to(device), banks_FM.to(device)
