"""Spectrograms by matrix products, for runtimes that have no Fourier transform."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from bind.encoders.mel import KALDI_FLOOR, KALDI_PREEMPHASIS, KaldiFbank, LogMel

CONSTANTS = ("waves_WF", "banks_FM")
"""Buffers that are no weights: rounded to 8 bits they would add noise to every spectrum."""


class MatrixLogMel(nn.Module):
    """`LogMel` without a Fourier transform: (B, T) samples → (B, num_mels, frames), equal but for rounding."""

    waves_WF: Tensor
    banks_FM: Tensor

    def __init__(self, mel: LogMel) -> None:
        super().__init__()
        window_W, banks_FM = mel.constants(torch.device("cpu"))
        # torch.stft puts a window that is shorter than the transform into its middle: what is beside it counts nothing.
        self.before = (mel.fft - mel.window) // 2
        self.margin = mel.fft // 2
        self.window, self.hop, self.floor = mel.window, mel.hop, mel.floor
        self.per_clip, self.mean, self.std = mel.per_clip, mel.mean, mel.std
        self.register_buffer("waves_WF", fourier_matrix(window_W, mel.fft), persistent=False)
        self.register_buffer("banks_FM", banks_FM, persistent=False)

    def forward(self, wave_BT: Tensor) -> Tensor:
        padded_BT = nn.functional.pad(wave_BT.float()[:, None], (self.margin, self.margin), mode="reflect")[:, 0]
        after = 2 * self.margin - self.window - self.before
        frames_BTW = padded_BT[:, self.before : padded_BT.shape[1] - after].unfold(1, self.window, self.hop)
        log_BMT = (power(frames_BTW, self.waves_WF) @ self.banks_FM + self.floor).log().transpose(1, 2)
        if self.per_clip:  # torch.std_mean is not among the operators of ExecuTorch
            centred_BMT = log_BMT - log_BMT.mean(dim=(1, 2), keepdim=True)
            num_free = log_BMT.shape[1] * log_BMT.shape[2] - 1
            std = (centred_BMT.square().sum(dim=(1, 2), keepdim=True) / num_free).sqrt()
            return centred_BMT / std.clamp_min(1e-3)
        return (log_BMT - self.mean) / self.std


class MatrixFbank(nn.Module):
    """`KaldiFbank` without a Fourier transform: (B, T) samples → (B, num_mels, frames), equal but for rounding.

    Taking off a frame's mean and the pre-emphasis are linear, and are part of the matrix.
    """

    waves_WF: Tensor
    banks_FM: Tensor

    def __init__(self, fbank: KaldiFbank) -> None:
        super().__init__()
        window_W, banks_FM = fbank.constants(torch.device("cpu"))
        eye_WW = torch.eye(fbank.window, dtype=torch.float64)
        centred_WW = eye_WW - 1 / fbank.window
        previous_WW = torch.cat([centred_WW[:, :1], centred_WW[:, :-1]], dim=1)
        emphasised_WW = centred_WW - KALDI_PREEMPHASIS * previous_WW
        waves_WF = (emphasised_WW @ fourier_matrix(window_W, fbank.fft, dtype=torch.float64)).float()
        self.num_mels, self.window, self.hop = fbank.num_mels, fbank.window, fbank.hop
        self.mean, self.std = fbank.mean, fbank.std
        self.register_buffer("waves_WF", waves_WF, persistent=False)
        self.register_buffer("banks_FM", banks_FM, persistent=False)

    def forward(self, wave_BT: Tensor) -> Tensor:
        frames_BTW = wave_BT.float().unfold(1, self.window, self.hop)
        log_BTM = (power(frames_BTW, self.waves_WF) @ self.banks_FM).clamp_min(KALDI_FLOOR).log()
        return ((log_BTM - self.mean) / self.std).transpose(1, 2)


def fourier_matrix(window_W: Tensor, fft: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Fourier transform of a windowed frame with zeros behind it, cosines then sines: (W, fft // 2 * 2 + 2)."""
    times_W1 = torch.arange(len(window_W), dtype=torch.float64)[:, None]
    bins_F = torch.arange(fft // 2 + 1, dtype=torch.float64)
    angles_WF = 2 * math.pi / fft * (times_W1 * bins_F % fft)
    waves_WF = torch.cat([angles_WF.cos(), angles_WF.sin()], dim=1)
    return (window_W.double()[:, None] * waves_WF).to(dtype)


def power(frames_BTW: Tensor, waves_WF: Tensor) -> Tensor:
    """Power spectra (B, T, F) of frames (B, T, W)."""
    real_BTF, imaginary_BTF = (frames_BTW @ waves_WF).chunk(2, dim=-1)
    return real_BTF.square() + imaginary_BTF.square()


def without_fourier(module: nn.Module) -> nn.Module:
    """A copy of a module in which spectrograms are matrix products.

    Examples:
        >>> mel = LogMel(16_000)
        >>> wave_BT = torch.sin(torch.arange(8000) / 5)[None]
        >>> torch.allclose(without_fourier(mel)(wave_BT), mel(wave_BT), atol=1e-3)
        True
    """
    module = copy.deepcopy(module)
    if isinstance(module, LogMel):
        return MatrixLogMel(module)
    if isinstance(module, KaldiFbank):
        return MatrixFbank(module)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LogMel):
                setattr(parent, name, MatrixLogMel(child))
            elif isinstance(child, KaldiFbank):
                setattr(parent, name, MatrixFbank(child))
    return module
