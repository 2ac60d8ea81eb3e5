"""Transform of a sensor's recording whose channels and rate are taken as they are: patches as cosine coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bind.data.transforms.imu import random_rotation
from bind.data.transforms.options import Range, checked_range
from bind.media.channel_names import ChannelMeaning, find_triads, read_meanings
from bind.media.resample import frames_at, rate_ratio, read_window
from bind.media.sensor import open_sensor
from bind.media.sensor_units import SI_FACTORS, G
from bind.media.upright import find_rotations, turn_upright
from bind.types import Clip, SensorRecording

USUAL_SIZES = {
    "acceleration": G,
    "angular rate": 1.0,
    "magnetic field": 5e-5,
    "pressure": 12.0,
    "temperature": 10.0,
    "pulse rate": 60.0,
    "illuminance": 100.0,
    "voltage": 1e-3,
}
"""What values of a quantity are divided by, in SI units: gravity, the earth's field, a metre of air."""
FROM_WINDOW_MEAN = frozenset({"pressure", "voltage"})
"""Quantities whose level says nothing beside their changes: weather, an electrode's offset."""
LARGEST_MEANINGFUL_RATE_HZ = 1000.0


class ChannelsTransform:
    """A sensor file, a span of one, or a `SensorRecording` → its channels in patches: a dict of tensors.

    - `coefficients` (C, P, K): of each channel and patch of `patch_seconds` the first K cosine coefficients
      (DCT-II, scaled so that their squares add up to the mean square), in the usual size of the quantity.
    - `channels` (C, 5), int64: what each channel measures, see `bind.media.channel_names.ChannelMeaning.ids`.
    - `num_held` (C,): how many of the K coefficients the recording's rate holds; the others are 0.

    A patch covers the same time at every rate, and its coefficients the same frequencies, so that recordings of 25 Hz
    and of 200 Hz are taken without bringing them to one rate; only a rate whose patch has no whole number of samples
    is brought to the next one that has. A span that rounding leaves one frame short ends with its last frame twice.
    From a longer recording a random window is taken in training and the middle one in evaluation. Augmentation happens
    in training only.

    Args:
        channels: names of those to take, as far as the recording has them; None: all.
        sample_rate_hz: of all recordings, resampled; None: each at its own.
        window_seconds: length of the encoder's input, a multiple of `patch_seconds`.
        patch_seconds: time of a token.
        num_coefficients: K; they reach up to K / 2 / `patch_seconds` Hz.
        align: `gravity` turns sensors upright, by the whole recording, see `bind.media.upright.find_rotations`.
        drop_sensors: probability that a sensor (all axes of a quantity at a place) is left out; one always stays.
        drop_channels: the same of single channels.
        drop_frequencies: probability that a sample keeps only some of the lower frequencies, as a lower rate would.
        rotation_degrees: largest angle of a random rotation, the same for all sensors of a place.
        scale_range: factor on all channels.

    Raises:
        ValueError: names the file where a unit is of no known quantity, no channel of `channels` is there, values are
            NaN, the recording is shorter than the window, or every channel is constant.

    Examples:
        >>> values_TC = np.stack([np.arange(100.0), np.full(100, 1000.0)], axis=1).astype(np.float32)
        >>> watch = SensorRecording(values_TC, 50.0, ("left_wrist_acc_x", "pressure"), ("m/s^2", "hPa"))
        >>> inputs = ChannelsTransform(window_seconds=2.0, patch_seconds=0.2)(watch, None)
        >>> inputs["coefficients"].shape, inputs["num_held"].tolist()  # a patch has ten samples
        (torch.Size([2, 10, 16]), [10, 10])
    """

    def __init__(
        self,
        *,
        channels: Sequence[str] | None = None,
        sample_rate_hz: float | None = None,
        window_seconds: float = 2.0,
        patch_seconds: float = 0.2,
        num_coefficients: int = 16,
        align: Literal["gravity"] | None = None,
        drop_sensors: float = 0.3,
        drop_channels: float = 0.1,
        drop_frequencies: float = 0.2,
        rotation_degrees: float = 0.0,
        scale_range: Range = (1.0, 1.0),
    ) -> None:
        self.num_patches = round(window_seconds / patch_seconds)
        if self.num_patches < 1 or abs(self.num_patches * patch_seconds - window_seconds) > 1e-6 * window_seconds:
            raise ValueError(
                f"transform.imu.window_seconds={window_seconds:g} is no multiple of patch_seconds={patch_seconds:g}: "
                f"set window_seconds={max(1, self.num_patches) * patch_seconds:g}, or another patch_seconds"
            )
        if num_coefficients < 1:
            raise ValueError(f"transform.imu.num_coefficients={num_coefficients}: give 1 or more")
        if align not in (None, "gravity"):
            raise ValueError(f"transform.imu.align={align}: choose gravity or null")
        for name, p in (("sensors", drop_sensors), ("channels", drop_channels), ("frequencies", drop_frequencies)):
            if not 0.0 <= p < 1.0:
                raise ValueError(f"transform.imu.drop_{name}={p}: give a probability from 0 to below 1")
        self.wanted = None if channels is None else tuple(channels)
        self.sample_rate_hz = sample_rate_hz
        self.window_seconds, self.patch_seconds = window_seconds, patch_seconds
        self.num_coefficients = num_coefficients
        self.align = align
        self.drop_sensors, self.drop_channels, self.drop_frequencies = drop_sensors, drop_channels, drop_frequencies
        self.rotation_degrees = rotation_degrees
        self.scale_range = checked_range("scale_range", scale_range, above=0.0)

    def __call__(self, value: Clip | SensorRecording, rng: np.random.Generator | None) -> dict[str, Tensor]:
        window = self.read_window(value, rng)
        meanings: Sequence[ChannelMeaning] = read_meanings(window.channels, window.units, str(value))
        factors = [SI_FACTORS[u][1] / USUAL_SIZES[m.quantity] for u, m in zip(window.units, meanings, strict=True)]
        x_TC = window.values.astype(np.float32) * np.array(factors, dtype=np.float32)
        changes = [column for column, meaning in enumerate(meanings) if meaning.quantity in FROM_WINDOW_MEAN]
        x_TC[:, changes] -= x_TC[:, changes].mean(axis=0)
        num_kept = self.num_coefficients
        if rng is not None:
            x_TC, meanings, num_kept = self._augment(x_TC, meanings, rng)
        x_CPT = np.ascontiguousarray(x_TC.T).reshape(len(meanings), self.num_patches, -1)
        num_held = min(num_kept, x_CPT.shape[2])
        coefficients_CPK = np.zeros((*x_CPT.shape[:2], self.num_coefficients), dtype=np.float32)
        coefficients_CPK[..., :num_held] = x_CPT @ cosines(x_CPT.shape[2], self.num_coefficients)[:, :num_held]
        return {
            "coefficients": torch.from_numpy(coefficients_CPK),
            "channels": torch.tensor([meaning.ids for meaning in meanings]),
            "num_held": torch.full((len(meanings),), num_held),
        }

    def collate(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """B_m windows → tensors (B_m, C, …) with the most channels among them; `is_present` (B_m, C) are true ones."""
        num_channels = max(len(item["channels"]) for item in items)

        def stacked(name: str) -> Tensor:
            out = items[0][name].new_zeros(len(items), num_channels, *items[0][name].shape[1:])
            for row, item in enumerate(items):
                out[row, : len(item[name])] = item[name]
            return out

        counts = torch.tensor([len(item["channels"]) for item in items])
        tensors = {name: stacked(name) for name in ("coefficients", "channels", "num_held")}
        return tensors | {"is_present": torch.arange(num_channels) < counts[:, None]}

    def read_window(self, value: Clip | SensorRecording, rng: np.random.Generator | None = None) -> SensorRecording:
        """The window as it is measured, turned upright where `align` says so, in the units of the file."""
        recording = open_sensor(value)
        columns = self.select_channels(recording.channels, recording.name)
        num_in_patch = self._samples_of_patch(recording.sample_rate_hz)
        rate_hz = num_in_patch / self.patch_seconds
        ratio = rate_ratio(rate_hz, recording.sample_rate_hz, recording.name)
        num_frames = num_in_patch * self.num_patches
        x_TC = read_window(recording, num_frames, ratio, self.window_seconds, rng)[:, columns]
        if not np.any(x_TC != x_TC[0]):
            raise ValueError(f"{recording.name}: every channel is constant. Was the sensor off? Drop this span")
        channels, units = (tuple(of[column] for column in columns) for of in (recording.channels, recording.units))
        if self.align:
            meanings = read_meanings(channels, units, recording.name)
            x_TC = turn_upright(x_TC, meanings, find_rotations(value), recording.name)
        return SensorRecording(x_TC, rate_hz, channels, units)

    def select_channels(self, channels: Sequence[str], name: str) -> list[int]:
        """The columns of those channels that are wanted; ValueError, with the recording's `name`, where none is."""
        columns = [c for c, channel in enumerate(channels) if self.wanted is None or channel in self.wanted]
        if not columns:
            wanted = "" if self.wanted is None else f" of {', '.join(self.wanted)}"
            raise ValueError(
                f"{name}: no channel{wanted}; it has {', '.join(channels) or 'none'}. Columns "
                "without a unit in brackets are left out"
            )
        return columns

    def frames_of_window(self, sample_rate_hz: float, name: str) -> int:
        """How many frames of a recording at this rate hold a window."""
        num_in_patch = self._samples_of_patch(sample_rate_hz)
        ratio = rate_ratio(num_in_patch / self.patch_seconds, sample_rate_hz, name)
        return max(2, frames_at(1 / ratio, num_in_patch * self.num_patches))

    def _samples_of_patch(self, sample_rate_hz: float) -> int:
        wanted_hz = self.sample_rate_hz or min(sample_rate_hz, LARGEST_MEANINGFUL_RATE_HZ)
        return max(1, round(wanted_hz * self.patch_seconds))

    def _augment(
        self, x_TC: np.ndarray, meanings: Sequence[ChannelMeaning], rng: np.random.Generator
    ) -> tuple[np.ndarray, Sequence[ChannelMeaning], int]:
        if self.rotation_degrees:
            triads = find_triads(meanings)
            for place in sorted({place for place, _, _ in triads}):
                rotation = random_rotation(self.rotation_degrees, rng).astype(np.float32)
                for columns in (of for sensor, of in triads.items() if sensor[0] == place):
                    x_TC[:, columns] = x_TC[:, columns] @ rotation.T
        if self.scale_range != (1.0, 1.0):
            x_TC = x_TC * np.float32(rng.uniform(*self.scale_range))
        kept = draw_channels(meanings, self.drop_sensors, self.drop_channels, rng)
        num_kept = self.num_coefficients
        if rng.random() < self.drop_frequencies:
            num_kept = int(rng.integers(max(1, self.num_coefficients // 4), self.num_coefficients + 1))
        return x_TC[:, kept], [meanings[column] for column in kept], num_kept


def draw_channels(
    meanings: Sequence[ChannelMeaning], drop_sensors: float, drop_channels: float, rng: np.random.Generator
) -> list[int]:
    """The columns that stay when sensors and single channels are left out at random: one at least."""
    sensors = list(dict.fromkeys((m.place, m.quantity, m.number) for m in meanings))
    drawn = rng.random(len(sensors))
    kept_sensors = {s for s, x in zip(sensors, drawn, strict=True) if x >= drop_sensors or x == drawn.max()}
    columns = [c for c, m in enumerate(meanings) if (m.place, m.quantity, m.number) in kept_sensors]
    drawn = rng.random(len(columns))
    return [c for c, x in zip(columns, drawn, strict=True) if x >= drop_channels or x == drawn.max()]


@lru_cache(maxsize=64)
def cosines(num_samples: int, num_coefficients: int) -> np.ndarray:
    """The first cosines over `num_samples` samples of a patch (T, K), divided by their number; DCT-II.

    Examples:
        >>> constant_T = np.full(4, 3.0, dtype=np.float32)
        >>> [abs(round(float(x), 6)) for x in constant_T @ cosines(4, 2)]
        [3.0, 0.0]
    """
    time_T = (np.arange(num_samples) + 0.5) / num_samples
    x_TK = np.sqrt(2.0) * np.cos(np.pi * np.outer(time_T, np.arange(num_coefficients))) / num_samples
    x_TK[:, 0] = 1 / num_samples
    cosines_TK: np.ndarray = x_TK.astype(np.float32)
    return cosines_TK
