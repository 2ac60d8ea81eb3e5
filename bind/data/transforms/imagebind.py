"""Transform of sound as ImageBind's published loader makes it: filter banks of evenly spread clips."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor
from torchaudio.compliance import kaldi

from bind.media.audio import open_audio
from bind.media.notices import warn_once
from bind.media.recording import Recording
from bind.media.resample import frames_at, rate_ratio, read_resampled_by_torchaudio
from bind.media.windows import checked_num_clips
from bind.types import Clip, Waveform


class ImageBindAudioTransform:
    """A sound file, a span of one, or a `Waveform` → ImageBind's input, float32 (1, `num_mels`, `num_frames`).

    In evaluation it is a list of `num_clips` such, evenly spread from the start on, whose embeddings are averaged; in
    training one at a random place. What differs from `AudioTransform`: of several channels the first one is taken;
    other rates are resampled by torchaudio's default filter; the filter bank itself, not the sound, is padded, with the
    value 0 before it is standardised; a sound shorter than a clip gives one clip, where the published loader gives the
    same one three times.

    Args:
        num_clips: windows in evaluation; None: as many as cover the sound.
        reaches_end: whether the last clip ends with the sound, else one more would. The published loader leaves this to
            pytorchvideo, of which some versions stop before the end, and others reach it.

    Raises:
        ValueError: a file that is missing, corrupt, empty or holds NaN, or is shorter than 25 ms, named in the message.

    Examples:
        >>> tone = Waveform(np.sin(np.arange(80_000) / 10).astype(np.float32), sample_rate_hz=16_000)
        >>> clips = ImageBindAudioTransform()(tone, None)
        >>> len(clips), clips[0].shape
        (3, torch.Size([1, 128, 204]))

    Source: the audio loader of ImageBind (Girdhar et al. 2023).
    """

    def __init__(
        self,
        *,
        sample_rate_hz: int = 16_000,
        window_seconds: float = 2.0,
        num_clips: int | None = 3,
        reaches_end: bool = False,
        num_mels: int = 128,
        num_frames: int = 204,
        mean: float = -4.268,
        std: float = 9.138,
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.window_seconds = window_seconds
        self.num_samples = round(sample_rate_hz * window_seconds)
        self.num_clips = checked_num_clips(num_clips)
        self.reaches_end = reaches_end
        self.num_frames = num_frames
        self.mean, self.std = mean, std
        self.num_mels = num_mels
        if not 0 <= self.num_samples - self.frame_samples <= (num_frames - 1) * sample_rate_hz // 100:
            raise ValueError(
                f"window_seconds={window_seconds:g} is not from one to num_frames={num_frames} frames of 10 ms: change "
                "one of them"
            )

    @property
    def frame_samples(self) -> int:
        """Samples under the window of one frame, of 25 ms."""
        return self.sample_rate_hz * 25 // 1000

    def __call__(self, value: Clip | Waveform, rng: np.random.Generator | None) -> Tensor | list[Tensor]:
        with open_audio(value) as recording:
            ratio = rate_ratio(self.sample_rate_hz, recording.sample_rate_hz, recording.name)
            if ratio != 1:
                source_rate = f"{recording.sample_rate_hz:g} Hz"
                warn_once(f"sound at {source_rate} is resampled to {self.sample_rate_hz} Hz", recording.name)
            num_samples = frames_at(ratio, recording.num_frames)
            clips = [self._clip(recording, start, ratio) for start in self.starts_of(num_samples, rng)]
        return clips if len(clips) > 1 else clips[0]

    def collate(self, items: list[Tensor]) -> Tensor:
        """B_m filter banks (1, M, T) → (B_m, 1, M, T)."""
        return torch.stack(items)

    def starts_of(self, num_samples: int, rng: np.random.Generator | None = None) -> list[int]:
        """First samples of the clips of a sound, rounded as the published loader rounds them."""
        spare = num_samples - self.num_samples
        if spare <= 0:
            return [0]
        if rng is not None:
            return [int(rng.integers(spare + 1))]
        num_clips = self.num_clips or math.ceil(num_samples / self.num_samples)
        num_steps = max(1, num_clips - 1) if self.reaches_end or self.num_clips is None else num_clips
        step_seconds = Fraction(num_samples / self.sample_rate_hz - self.window_seconds) / num_steps
        return [int(step_seconds * i * self.sample_rate_hz) for i in range(num_clips)]

    def _clip(self, recording: Recording, start: int, ratio: Fraction) -> Tensor:
        x_TC = read_resampled_by_torchaudio(recording, start, self.num_samples, ratio)
        if x_TC.shape[1] > 1:
            warn_once(f"of sound with {x_TC.shape[1]} channels the first one is taken", recording.name)
        if len(x_TC) < self.frame_samples:
            raise ValueError(f"{recording.name}: shorter than the 25 ms of one frame. Drop its row")
        wave_1T = torch.from_numpy(np.ascontiguousarray(x_TC[:, 0]))[None]
        mel_TM = kaldi.fbank(
            wave_1T - wave_1T.mean(),
            sample_frequency=self.sample_rate_hz,
            num_mel_bins=self.num_mels,
            window_type="hanning",
            htk_compat=True,
            dither=0.0,
        )
        mel_1MT = torch.nn.functional.pad(mel_TM.T[None], (0, self.num_frames - len(mel_TM)))
        return (mel_1MT - self.mean) / self.std
