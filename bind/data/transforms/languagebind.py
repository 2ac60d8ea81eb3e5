"""Transforms of sound, depth maps, thermal pictures and videos as LanguageBind's published loaders make them."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torchaudio.compliance import kaldi

from bind.data.transforms.depth import DepthTransform
from bind.data.transforms.thermal import ThermalTransform
from bind.data.transforms.video import VideoTransform
from bind.media.audio import open_audio
from bind.media.notices import warn_once
from bind.media.pictures import read_pixels
from bind.media.recording import Recording
from bind.media.resample import frames_at, rate_ratio, read_resampled_by_torchaudio
from bind.media.video import ROUNDING_SECONDS, open_video
from bind.types import Clip, Waveform

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
NUM_CHANNELS = 3


class LanguageBindAudioTransform:
    """A sound file, a span of one, or a `Waveform` → LanguageBind's input, float32 (3, `num_mels`, `num_frames`).

    The channels are filter banks of three parts of the sound, one in each third of the places where a part can begin:
    in evaluation the first place of each third, in training a random one. A shorter sound is repeated as often as it
    fits whole, and then silence follows; its three channels are equal. Of several channels of the sound the first one
    is taken. What the sound lacks to the last frames is padded with the value 0 before it is standardised.

    Args:
        mean: of the filter bank's values, subtracted.
        std: of the filter bank's values, divided by.

    Raises:
        ValueError: a file that is missing, corrupt, empty or holds NaN, named in the message.

    Examples:
        >>> tone = Waveform(np.sin(np.arange(320_000) / 10).astype(np.float32), sample_rate_hz=16_000)
        >>> LanguageBindAudioTransform()(tone, None).shape
        torch.Size([3, 126, 1036])

    Source: the audio processor of LanguageBind (Zhu et al. 2023).
    """

    def __init__(
        self,
        *,
        sample_rate_hz: int = 16_000,
        num_mels: int = 126,
        num_frames: int = 1036,
        mean: float = -4.2677393,
        std: float = 4.5689974,
    ) -> None:
        if num_frames < 4 or num_mels < 1 or std <= 0:
            raise ValueError("audio needs num_frames >= 4, num_mels >= 1 and std > 0")
        self.sample_rate_hz = sample_rate_hz
        self.num_mels, self.num_frames = num_mels, num_frames
        self.mean, self.std = mean, std
        self.num_samples = num_frames * sample_rate_hz // 100
        self.frame_samples, self.hop_samples = sample_rate_hz * 25 // 1000, sample_rate_hz // 100

    def __call__(self, value: Clip | Waveform, rng: np.random.Generator | None) -> Tensor:
        with open_audio(value) as recording:
            ratio = rate_ratio(self.sample_rate_hz, recording.sample_rate_hz, recording.name)
            if ratio != 1:
                source_rate = f"{recording.sample_rate_hz:g} Hz"
                warn_once(f"sound at {source_rate} is resampled to {self.sample_rate_hz} Hz", recording.name)
            num_samples = frames_at(ratio, recording.num_frames)
            if num_samples <= self.num_samples:
                part_T = self._read(recording, 0, num_samples, ratio)
                repeated_T = part_T.repeat(self.num_samples // max(1, len(part_T)))
                mel_MT = self._mel(pad(repeated_T, (0, self.num_samples - len(repeated_T))))
                mel_CMT = mel_MT.expand(NUM_CHANNELS, -1, -1)
            else:
                length = (self.num_frames - 1) * self.hop_samples + self.frame_samples
                starts = [i * self.hop_samples for i in self._first_frames(num_samples, rng)]
                mel_CMT = torch.stack([self._mel(self._read(recording, start, length, ratio)) for start in starts])
        return (mel_CMT - self.mean) / self.std

    def collate(self, items: list[Tensor]) -> Tensor:
        """B_m inputs (3, M, T) → (B_m, 3, M, T)."""
        return torch.stack(items)

    def _first_frames(self, num_samples: int, rng: np.random.Generator | None) -> list[int]:
        """The frame that each channel begins with, of a sound longer than the input."""
        num_all = (num_samples - self.frame_samples) // self.hop_samples + 1
        places = np.arange(max(1, num_all - self.num_frames + 1))
        thirds = [third if len(third) else places[:1] for third in np.array_split(places, NUM_CHANNELS)]
        return [int(third[0] if rng is None else rng.choice(third)) for third in thirds]

    def _read(self, recording: Recording, start: int, num_samples: int, ratio: Fraction) -> Tensor:
        x_TC = read_resampled_by_torchaudio(recording, start, num_samples, ratio)
        if x_TC.shape[1] > 1:
            warn_once(f"of sound with {x_TC.shape[1]} channels the first one is taken", recording.name)
        return torch.from_numpy(np.ascontiguousarray(x_TC[:, 0]))

    def _mel(self, wave_T: Tensor) -> Tensor:
        """The filter bank (M, `num_frames`), padded with 0."""
        mel_TM = kaldi.fbank(
            wave_T[None] - wave_T.mean(),
            sample_frequency=self.sample_rate_hz,
            num_mel_bins=self.num_mels,
            window_type="hanning",
            htk_compat=True,
            dither=0.0,
        )
        return pad(mel_TM.T, (0, self.num_frames - len(mel_TM)))


class LanguageBindDepthTransform(DepthTransform):
    """A depth map → LanguageBind's input, float32 (3, S, S): metres over `max_metres`, scaled as CLIP's photographs.

    Depth is clipped to [min_metres, max_metres]; what was not measured, 0, is as near as can be. The picture is scaled
    bicubically to its shorter side, and its middle kept. Files and errors are those of `DepthTransform`.

    Args:
        size_px: S.
        antialias: whether shrinking smooths, as torchvision does since 0.17; with older versions it did not.

    Source: the depth processor of LanguageBind (Zhu et al. 2023).
    """

    def __init__(
        self,
        *,
        size_px: int = 224,
        min_metres: float = 0.01,
        max_metres: float = 10.0,
        unit_metres: float = 0.001,
        encoding: Literal["plain", "sun_rgbd"] = "plain",
        antialias: bool = False,
    ) -> None:
        super().__init__(
            size_px=size_px, min_metres=min_metres, max_metres=max_metres, unit_metres=unit_metres, encoding=encoding
        )
        self.antialias = antialias

    def __call__(self, value: Clip | np.ndarray, rng: np.random.Generator | None) -> Tensor:
        name = str(value) if isinstance(value, Clip) else "a depth map in memory"
        depth_HW = torch.from_numpy(self._metres(read_pixels(value) if isinstance(value, Clip) else value, name))
        share_HW = depth_HW.clamp(self.min_metres, self.max_metres) / self.max_metres
        return clip_picture(share_HW, self.size_px, antialias=self.antialias)


class LanguageBindThermalTransform(ThermalTransform):
    """A thermal picture → LanguageBind's input, float32 (3, S, S): intensity from 0 to 1, scaled as CLIP's photographs.

    The picture is scaled bicubically to its shorter side, and its middle kept. Files and errors are those of
    `ThermalTransform`.

    Args:
        size_px: S.
        antialias: whether shrinking smooths, as torchvision does since 0.17; with older versions it did not.

    Source: the thermal processor of LanguageBind (Zhu et al. 2023).
    """

    def __init__(
        self, *, size_px: int = 224, low: float = 0.0, high: float | None = None, antialias: bool = False
    ) -> None:
        super().__init__(size_px=size_px, low=low, high=high)
        self.antialias = antialias

    def __call__(self, value: Clip | np.ndarray, rng: np.random.Generator | None) -> Tensor:
        return clip_picture(self.intensity(value), self.size_px, antialias=self.antialias)


class LanguageBindVideoTransform(VideoTransform):
    """A video file, or a span of one → LanguageBind's input, float32 (T, 3, S, S), scaled as CLIP's photographs.

    T = `num_frames` frames from the first to the last, evenly spread over the whole, also in training. Each is
    normalised, scaled bilinearly to its shorter side, and its middle is kept. LanguageBind mirrors half of all videos,
    whenever it reads one; here it is done in training alone.

    Args:
        size_px: S.

    Source: the video processor of LanguageBind (Zhu et al. 2023).
    """

    def __init__(self, *, num_frames: int = 8, size_px: int = 224) -> None:
        super().__init__(num_frames=num_frames, size_px=size_px)

    def __call__(self, value: Clip, rng: np.random.Generator | None) -> Tensor:
        with open_video(value) as video:
            last = max(0.0, video.seconds - max(video.frame_seconds, 2 * ROUNDING_SECONDS))
            frames = video.frames(np.linspace(0.0, last, self.num_frames).tolist())
        x_TCHW = normalised(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255)
        height, width = frames[0].shape[:2]
        size = [max(self.size_px, self.size_px * side // min(height, width)) for side in (height, width)]
        x_TCHW = centre(interpolate(x_TCHW, size=size, mode="bilinear"), self.size_px)
        return x_TCHW.flip(-1) if rng is not None and rng.random() < 0.5 else x_TCHW


def clip_picture(x_HW: Tensor, size_px: int, *, antialias: bool) -> Tensor:
    """(H, W) between 0 and 1 → (3, S, S), resized and cut as torchvision does, and normalised as CLIP's photographs.

    Examples:
        >>> clip_picture(torch.zeros(48, 64), 32, antialias=False).shape
        torch.Size([3, 32, 32])
    """
    height, width = x_HW.shape
    shorter = min(height, width)
    size = [size_px * height // shorter, size_px * width // shorter]
    x_1HW = x_HW[None]
    if size != [height, width]:
        x_1HW = interpolate(x_1HW[None], size=size, mode="bicubic", antialias=antialias)[0]
    return normalised(centre(x_1HW, size_px))


def centre(x: Tensor, size_px: int) -> Tensor:
    """(…, H, W) → the square (…, S, S) in its middle, as torchvision cuts it."""
    top, left = (round((side - size_px) / 2) for side in x.shape[-2:])
    return x[..., top : top + size_px, left : left + size_px]


def normalised(x: Tensor) -> Tensor:
    """(…, 1 or 3, H, W) between 0 and 1 → (…, 3, H, W), as CLIP's photographs."""
    return (x - torch.tensor(CLIP_MEAN)[:, None, None]) / torch.tensor(CLIP_STD)[:, None, None]
