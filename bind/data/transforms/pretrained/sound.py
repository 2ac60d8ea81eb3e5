"""Sound for pretrained encoders: windows of a recording, through the feature extractor of a family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import FeatureExtractionMixin

from bind.data.transforms.audio import AudioTransform
from bind.data.transforms.options import Range
from bind.data.transforms.pretrained.extractor import load_extractor, settings_of
from bind.media.resample import rate_ratio, resample
from bind.types import Clip, Inputs, Waveform


class ExtractedSound(AudioTransform):
    """A sound → windows, not padded; several of them → inputs of a pretrained encoder, by its feature extractor.

    Windows are cut and augmented as by `AudioTransform`, before the extractor, which may pad but has nothing to cut:
    some cut at random. A family sets `extractor_class` and `longest_seconds`, and extends `collate`.

    Args:
        pretrained: hub id or local folder of the encoder's model.
        extractor: settings of its feature extractor, in place of `pretrained`.
        sample_rate_hz: at which a sound is read and augmented, before it is resampled to the extractor's rate; None:
            that one.
        window_seconds: longest window; None: as long as the extractor takes.

    Raises:
        ValueError: where the extractor can't be loaded, or the window is longer than it takes.
    """

    extractor_class: ClassVar[type[FeatureExtractionMixin]]
    default_seconds: ClassVar[float] = 10.0
    shortest_seconds: ClassVar[float] = 0.0
    """What is shorter has silence behind it, so that there is one frame."""

    def __init__(
        self,
        *,
        pretrained: str | None = None,
        extractor: Mapping[str, Any] | None = None,
        sample_rate_hz: int | None = None,
        window_seconds: float | None = None,
        num_clips: int | None = 1,
        speed_range: Range = (1.0, 1.0),
        gain_db_range: Range = (0.0, 0.0),
        noise_snr_db_range: Range | None = None,
        tilt_db_range: Range = (0.0, 0.0),
    ) -> None:
        self.extractor = load_extractor(self.extractor_class, pretrained, extractor)
        self.extractor_rate_hz: int = self.extractor.sampling_rate
        longest = self.longest_seconds()
        if window_seconds is not None and longest is not None and window_seconds > longest:
            raise ValueError(
                f"window_seconds={window_seconds:g}: {type(self.extractor).__name__} takes {longest:g} s; set at most "
                "that, and num_clips to the number of windows of a longer recording"
            )
        super().__init__(
            sample_rate_hz=sample_rate_hz or self.extractor_rate_hz,
            window_seconds=window_seconds or longest or self.default_seconds,
            num_clips=num_clips,
            speed_range=speed_range,
            gain_db_range=gain_db_range,
            noise_snr_db_range=noise_snr_db_range,
            tilt_db_range=tilt_db_range,
        )
        self.num_extracted = round(self.extractor_rate_hz * self.window_seconds)

    def longest_seconds(self) -> float | None:
        """Of the windows that the extractor takes; None: of any length."""
        return None

    def __call__(self, value: Clip | Waveform, rng: np.random.Generator | None) -> Tensor | list[Tensor]:
        """A window (T,) at the extractor's rate, or several; a sound shorter than the window stays so."""
        windows = [torch.from_numpy(self._at_extractor_rate(x_T)) for x_T in self.read_windows(value, rng, pad=False)]
        return windows if len(windows) > 1 else windows[0]

    def collate(self, items: list[Tensor]) -> Inputs:
        """B_m windows → inputs of the encoder by name."""
        return self.extract([x_T.numpy() for x_T in items])

    def extract(self, windows: list[np.ndarray], **options: Any) -> dict[str, Tensor]:
        """What the feature extractor makes of windows (T,) at its rate, called with `options`."""
        return dict(self.extractor(windows, sampling_rate=self.extractor_rate_hz, return_tensors="pt", **options))

    def saved_arguments(self) -> dict[str, Any]:
        """See `LoadedPart.saved_arguments`: settings take the place of the files."""
        return {"pretrained": None, "extractor": settings_of(self.extractor)}

    def _at_extractor_rate(self, x_T: np.ndarray) -> np.ndarray:
        if self.sample_rate_hz != self.extractor_rate_hz:
            ratio = rate_ratio(self.extractor_rate_hz, self.sample_rate_hz, "the transform's sample_rate_hz")
            x_T = np.ascontiguousarray(resample(x_T[:, None], ratio)[: self.num_extracted, 0])
        num_missing = round(self.shortest_seconds * self.extractor_rate_hz) - len(x_T)
        return np.pad(x_T, (0, num_missing)) if num_missing > 0 else x_T
