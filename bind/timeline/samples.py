"""Windows of samples as a modality's transform takes them: of a sensor's channels, or of sound."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bind.data.transforms.imu import ImuTransform
from bind.model.binder import Binder
from bind.timeline.modalities import require_embedded
from bind.timeline.parameters import window_hop
from bind.timeline.windows import Block, Break, WindowCutter
from bind.types import Modality, SensorRecording, SensorTransform, Waveform

VIDEO_SECONDS = 2.0


class SampledWindows:
    """A `WindowCutter` for the samples of a stream: it checks their shape and picks the transform's channels.

    `window_seconds` and `hop_seconds` are whole samples.
    """

    def __init__(self, cutter: WindowCutter, num_channels: int | None, columns: Sequence[int]) -> None:
        self._cutter = cutter
        self._num_channels = num_channels
        self._columns = list(columns)
        self.window_seconds = cutter.window_frames / cutter.sample_rate_hz
        self.hop_seconds = cutter.hop_frames / cutter.sample_rate_hz

    @classmethod
    def of(
        cls,
        transform: Any,
        modality: Modality,
        *,
        sample_rate_hz: float,
        channels: Sequence[str] | None = None,
        units: Sequence[str] | None = None,
        hop_seconds: float | None = None,
        name: str,
    ) -> SampledWindows:
        """Windows for a modality's transform, of samples at a rate; see `Stream` for the arguments.

        Raises:
            ValueError: for channels that are missing, units that do not fit, or a rate or hop that can't be.
        """
        if not (math.isfinite(sample_rate_hz) and sample_rate_hz > 0):
            raise ValueError(f"{name}: sample_rate_hz is {sample_rate_hz:g}, it must be above 0")
        window_seconds = window_seconds_of(transform, modality)
        window_frames = max(2, round(window_seconds * sample_rate_hz))
        columns: list[int] = []
        num_channels = None
        as_value: Callable[[np.ndarray], Any] = lambda x_TC: Waveform(x_TC, round(sample_rate_hz))  # noqa: E731
        if isinstance(transform, SensorTransform):
            window_frames = transform.frames_of_window(sample_rate_hz, name)
            given, given_units = _channels_of_samples(transform, channels, units, name)
            columns, num_channels = transform.select_channels(given, name), len(given)
            used, used_units = (tuple(of[column] for column in columns) for of in (given, given_units))
            as_value = lambda x_TC: SensorRecording(x_TC, sample_rate_hz, used, used_units)  # noqa: E731
        hop_frames = max(1, round(window_hop(window_seconds, hop_seconds) * sample_rate_hz))
        cutter = WindowCutter(
            window_frames=window_frames,
            hop_frames=hop_frames,
            sample_rate_hz=sample_rate_hz,
            as_value=as_value,
            name=name,
            breaks_where_constant=isinstance(transform, SensorTransform),
        )
        return cls(cutter, num_channels, columns)

    @property
    def breaks(self) -> list[Break]:
        """See `WindowCutter`."""
        return self._cutter.breaks

    @property
    def clock_seconds(self) -> float:
        """When the next sample is expected."""
        return self._cutter.clock_seconds

    def push(self, samples: np.ndarray, time_seconds: float | None = None) -> list[Block]:
        """Take samples (T, C), or (T,) of sound; see `WindowCutter.push`."""
        samples_TC = np.asarray(samples, dtype=np.float32)
        samples_TC = samples_TC[:, None] if samples_TC.ndim == 1 else samples_TC
        if samples_TC.ndim != 2 or (self._num_channels is not None and samples_TC.shape[1] != self._num_channels):
            expected = "(time,) or (time, channels)" if self._num_channels is None else f"(time, {self._num_channels})"
            raise ValueError(f"{self._cutter.name}: samples of the shape {np.shape(samples)}, not {expected}")
        return self._cutter.push(samples_TC[:, self._columns] if self._columns else samples_TC, time_seconds)

    def finish(self) -> list[Block]:
        """See `WindowCutter.finish`."""
        return self._cutter.finish()


def _channels_of_samples(
    transform: SensorTransform, channels: Sequence[str] | None, units: Sequence[str] | None, name: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The channels of a stream's samples and their units: those of the transform where it has a set of its own."""
    if isinstance(transform, ImuTransform):
        channels = transform.channels if channels is None else channels
        units = transform.units if units is None else units
    if channels is None or units is None:
        raise ValueError(f"{name}: the run takes any channels. Say what the samples are: give channels and units")
    if len(channels) != len(units):
        raise ValueError(f"{name}: {len(units)} unit(s) for {len(channels)} channels. Give a unit for each channel")
    return tuple(channels), tuple(units)


def require_modality(binder: Binder, modality: Modality, *, of_samples: bool = True) -> None:
    """Raise ValueError where a binder has no such modality, or it is none that a time line is made of.

    Args:
        of_samples: False: moving pictures will do as well.
    """
    require_embedded(modality, binder.modalities)
    kinds = ("audio",) if of_samples else ("audio", "video")
    if modality not in kinds and not isinstance(binder.transforms[modality], SensorTransform):
        raise ValueError(
            f"{modality}: a time line is made of sound, of a sensor{'' if of_samples else ', or of moving pictures'}"
        )


def window_seconds_of(transform: Any, modality: Modality) -> float:
    """The length of the windows that a transform takes; ValueError where it does not say.

    Moving pictures that the anchor's image tower reads have no length of their own: `VIDEO_SECONDS`.
    """
    name = "clip_seconds" if modality == "video" else "window_seconds"
    seconds = getattr(transform, name, VIDEO_SECONDS if modality == "video" else None)
    if not isinstance(seconds, int | float) or not seconds > 0:
        raise ValueError(f"transform.{modality}: it has no {name}, so that there are no windows to make a time line of")
    return float(seconds)
