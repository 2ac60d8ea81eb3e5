"""Transform of a sensor's recording: a window of chosen channels in chosen units at one rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bind.data.transforms.options import Range, checked_range
from bind.media.channel_names import read_meanings
from bind.media.notices import warn_once
from bind.media.recording import Recording
from bind.media.resample import frames_at, rate_ratio, read_window
from bind.media.sensor import open_sensor
from bind.media.sensor_units import SI_FACTORS
from bind.media.upright import find_rotations, turn_upright
from bind.types import Clip, SensorRecording

TRIADS = ("acc", "gyro")


class ImuTransform:
    """A sensor file, a span of one, or a `SensorRecording` → float32 (C, T), T = `sample_rate_hz * window_seconds`.

    Channels are picked by name and come out in the order and units of the arguments. Any other sensor works as well:
    name its channels; units other than accelerations and angular rates have to agree. Resampling filters out what the
    new rate cannot hold. A span that rounding leaves one frame short ends with its last frame twice. From a longer
    recording a random window is taken in training and the middle one in evaluation. All augmentation is off by default
    and happens in training only.

    Args:
        align: `gravity` turns sensors of three axes upright, by the whole recording, see
            `bind.media.upright.find_rotations`.
        rotation_degrees: largest angle of a random rotation about a random axis, the same for the three channels
            `acc_x/y/z` and for `gyro_x/y/z`: the sensor worn a little differently.
        scale_range: factor on the whole window.
        noise_std: white noise, one value in the units of the output or one per channel.

    Raises:
        ValueError: names the file where channels are missing, units do not convert, values are NaN, the recording is
            shorter than the window, or every channel is constant.

    Examples:
        >>> values_TC = np.stack([np.arange(300.0), np.full(300, 9.80665)], axis=1).astype(np.float32)
        >>> recording = SensorRecording(values_TC, 100.0, ("acc_x", "acc_z"), ("m/s^2", "m/s^2"))
        >>> transform = ImuTransform(channels=["acc_z", "acc_x"], units=["g", "m/s^2"], window_seconds=1.0)
        >>> window = transform(recording, None)  # evaluation: the middle second of three
        >>> window.shape, window[:, 0].tolist()
        (torch.Size([2, 100]), [1.0, 100.0])
    """

    def __init__(
        self,
        *,
        channels: Sequence[str] = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"),
        units: Sequence[str] = ("g", "g", "g", "rad/s", "rad/s", "rad/s"),
        sample_rate_hz: float = 100.0,
        window_seconds: float = 2.0,
        align: Literal["gravity"] | None = None,
        rotation_degrees: float = 0.0,
        scale_range: Range = (1.0, 1.0),
        noise_std: float | Sequence[float] = 0.0,
    ) -> None:
        self.channels, self.units = tuple(channels), tuple(units)
        if len(self.channels) != len(self.units) or not self.channels:
            raise ValueError(
                f"transform.imu.channels names {len(self.channels)}, transform.imu.units has {len(self.units)}: give "
                f"a unit for each channel, and set encoder.imu.num_channels={len(self.channels)}"
            )
        self.sample_rate_hz = sample_rate_hz
        self.window_seconds = window_seconds
        self.num_frames = round(sample_rate_hz * window_seconds)
        if self.num_frames < 2:
            raise ValueError(f"{sample_rate_hz:g} Hz for {window_seconds:g} s is no window; raise one of them")
        if align not in (None, "gravity"):
            raise ValueError(f"transform.imu.align={align}: choose gravity or null")
        self.align = align
        self.rotation_degrees = rotation_degrees
        self.scale_range = checked_range("scale_range", scale_range, above=0.0)
        self.noise_std_C = np.broadcast_to(np.asarray(noise_std, dtype=np.float32), (len(self.channels),))
        self._triads = _triads(self.channels)
        self._selections: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[list[int], np.ndarray]] = {}
        if rotation_degrees and not self._triads:
            raise ValueError("rotation_degrees needs the channels acc_x, acc_y, acc_z or gyro_x, …; set it to 0")

    def __call__(self, value: Clip | SensorRecording, rng: np.random.Generator | None) -> Tensor:
        recording = open_sensor(value)
        columns, factors_C = self._selection(recording)
        x_TC = self._window(recording, rng)[:, columns] * factors_C
        if not np.any(x_TC != x_TC[0]):
            raise ValueError(f"{recording.name}: every channel is constant. Was the sensor off? Drop this span")
        if self.align:
            meanings = read_meanings(self.channels, self.units, recording.name)
            x_TC = turn_upright(x_TC, meanings, find_rotations(value), recording.name)
        if rng is not None:
            x_TC = self._augment(x_TC, rng)
        return torch.from_numpy(np.ascontiguousarray(x_TC.T, dtype=np.float32))

    def collate(self, items: list[Tensor]) -> Tensor:
        """B_m windows (C, T) → (B_m, C, T)."""
        return torch.stack(items)

    def select_channels(self, channels: Sequence[str], name: str) -> list[int]:
        """The columns of its channels; ValueError, with the `name` of the recording, where one is missing."""
        if missing := [channel for channel in self.channels if channel not in channels]:
            raise ValueError(
                f"{name}: no channel {', '.join(missing)}; it has {', '.join(channels)}. "
                "Name the transform's channels after these, or rename them in the file; columns without a unit in "
                "brackets are left out"
            )
        return [channels.index(channel) for channel in self.channels]

    def frames_of_window(self, sample_rate_hz: float, name: str) -> int:
        """How many frames of a recording at this rate hold a window."""
        whole = frames_at(1 / rate_ratio(self.sample_rate_hz, sample_rate_hz, name), self.num_frames)
        return max(2, round(self.window_seconds * sample_rate_hz), whole)

    def _selection(self, recording: Recording) -> tuple[list[int], np.ndarray]:
        """The columns of the recording that become the channels, and what each is multiplied by; found once."""
        layout = (recording.channels, recording.units)
        if layout not in self._selections:
            self._selections[layout] = self._select(recording)
        return self._selections[layout]

    def _select(self, recording: Recording) -> tuple[list[int], np.ndarray]:
        columns = self.select_channels(recording.channels, recording.name)
        factors = [
            _conversion(recording.units[column], unit, f"{recording.name}: {channel}")
            for column, channel, unit in zip(columns, self.channels, self.units, strict=True)
        ]
        return columns, np.asarray(factors, dtype=np.float32)

    def _window(self, recording: Recording, rng: np.random.Generator | None) -> np.ndarray:
        ratio = rate_ratio(self.sample_rate_hz, recording.sample_rate_hz, recording.name)
        if ratio != 1:
            warn_once(f"{recording.sample_rate_hz:g} Hz is resampled to {self.sample_rate_hz:g} Hz", recording.name)
        return read_window(recording, self.num_frames, ratio, self.window_seconds, rng)

    def _augment(self, x_TC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.rotation_degrees:
            rotation = random_rotation(self.rotation_degrees, rng).astype(np.float32)
            for triad in self._triads:
                x_TC[:, triad] = x_TC[:, triad] @ rotation.T
        if self.scale_range != (1.0, 1.0):
            x_TC = x_TC * np.float32(rng.uniform(*self.scale_range))
        if self.noise_std_C.any():
            x_TC = x_TC + self.noise_std_C * rng.standard_normal(x_TC.shape, dtype=np.float32)
        return x_TC


def random_rotation(max_degrees: float, rng: np.random.Generator) -> np.ndarray:
    """A rotation matrix (3, 3) about a uniform axis by a uniform angle up to `max_degrees` (Rodrigues' formula)."""
    axis = rng.standard_normal(3)
    x, y, z = axis / np.linalg.norm(axis)
    angle = math.radians(rng.uniform(0.0, max_degrees))
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation: np.ndarray = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    return rotation


def _triads(channels: tuple[str, ...]) -> list[list[int]]:
    names = [[f"{sensor}_{axis}" for axis in "xyz"] for sensor in TRIADS]
    return [[channels.index(name) for name in triad] for triad in names if set(triad) <= set(channels)]


def _conversion(source: str, target: str, where: str) -> float:
    """The factor from the unit `source` to `target`; ValueError, with `where`, where there is none."""
    if source == target:
        return 1.0
    source_quantity, source_size = SI_FACTORS.get(source, (source, 1.0))
    target_quantity, target_size = SI_FACTORS.get(target, (target, 1.0))
    if source_quantity != target_quantity:
        raise ValueError(
            f"{where} is in {source!r} and cannot become {target!r}; units that convert: {', '.join(SI_FACTORS)}"
        )
    return source_size / target_size
