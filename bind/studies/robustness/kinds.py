"""The kinds of disturbance: whose values they are for, which levels make sense, and how a value is decoded for them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bind.anchors.processors import ImageTransform
from bind.data.transforms.audio import AudioTransform
from bind.data.transforms.depth import DepthTransform
from bind.data.transforms.imu import ImuTransform
from bind.media.audio import open_audio
from bind.media.pictures import open_image, read_pixels
from bind.media.sensor import open_sensor
from bind.studies.robustness.disturb import picture, sensor, sound
from bind.types import Clip, Modality, SensorRecording, SensorTransform, Transform, Waveform

log = logging.getLogger("bind")


@dataclass(frozen=True)
class Disturbance:
    """One way to disturb a modality; `levels` are what it is disturbed by.

    Attributes:
        label: of the axis, with the unit.
        takes: the transform of the modalities it is for.
        decode: a value, and the transform that will take it → what `disturb` takes.
        disturb: what `decode` gave, the level and a generator → the same, disturbed; the generator is used alike at
            every level.
        bounds: levels lie between these, both excluded.
        falling: lower levels are worse, and no level is as good as none.
        whole: levels are counts.
    """

    label: str
    takes: type
    decode: Callable[[Any, Any], Any]
    disturb: Callable[[Any, Any, np.random.Generator], Any]
    bounds: tuple[float, float]
    falling: bool = False
    whole: bool = False

    def ordered(self, name: str, levels: Sequence[Any]) -> list[float]:
        """Each level once, the mildest first; ValueError where one makes no sense."""
        low, high = self.bounds
        for level in levels:
            is_number = isinstance(level, int | float) and low < level < high
            if not is_number or (self.whole and level != int(level)):
                wanted = f"{'counts' if self.whole else 'numbers'} above {low:g}"
                wanted += f" and below {high:g}" if math.isfinite(high) else ""
                raise ValueError(f"levels.{name}: {level} is none; give {wanted}")
        return sorted(set(levels), reverse=self.falling)


def read_sound(value: Clip | Waveform, transform: AudioTransform) -> Waveform:
    with open_audio(value) as recording:
        samples = recording.read(0, recording.num_frames)
        return Waveform(samples, recording.sample_rate_hz)  # type: ignore[arg-type]


def read_sensor(value: Clip | SensorRecording, transform: SensorTransform) -> SensorRecording:
    """The channels that the transform takes: noise on others would change nothing."""
    recording = open_sensor(value)
    columns = sorted(transform.select_channels(recording.channels, recording.name))
    values = recording.read(0, recording.num_frames)[:, columns]
    channels, units = (tuple(of[column] for column in columns) for of in (recording.channels, recording.units))
    return SensorRecording(values, recording.sample_rate_hz, channels, units)


def read_picture(value: Any, transform: ImageTransform) -> np.ndarray:
    return np.asarray(open_image(value))


def read_depth(value: Clip | np.ndarray, transform: DepthTransform) -> np.ndarray:
    return read_pixels(value) if isinstance(value, Clip) else value


_of_sound = partial(Disturbance, takes=AudioTransform, decode=read_sound, bounds=(-100.0, 100.0), falling=True)
_of_sensor = partial(Disturbance, takes=SensorTransform, decode=read_sensor)

KINDS: Mapping[str, Disturbance] = {
    "audio_snr_db": _of_sound("white noise, SNR (dB)", disturb=sound.white_noise),
    "audio_pink_snr_db": _of_sound("pink noise, SNR (dB)", disturb=sound.pink_noise),
    "imu_bias": _of_sensor("bias (g and rad/s)", disturb=sensor.bias, bounds=(0.0, math.inf)),
    "imu_rotation_degrees": _of_sensor("rotation (degrees)", disturb=sensor.rotation, bounds=(0.0, 360.0)),
    "imu_gaps": _of_sensor("share of time lost", disturb=sensor.gaps, bounds=(0.0, 1.0)),
    "imu_dead_channels": _of_sensor(
        "dead channels",
        disturb=lambda value, level, rng: sensor.dead_channels(value, int(level), rng),
        bounds=(0.0, math.inf),
        whole=True,
    ),
    "image_blur": Disturbance(
        "blur (share of the shorter side)", ImageTransform, read_picture, picture.blur, (0.0, 1.0)
    ),
    "depth_holes": Disturbance("share of depth lost", DepthTransform, read_depth, picture.holes, (0.0, 1.0)),
}


def choose_kinds(
    wanted: Sequence[str] | None, modalities: Sequence[Modality], transforms: Mapping[Modality, Transform]
) -> list[tuple[Modality, str]]:
    """Which of `modalities` is disturbed in which way: all that is possible, or those `wanted`.

    Raises:
        ValueError: for a kind that does not exist, or that fits nothing here.
    """
    possible = [(m, name) for m in modalities for name, kind in KINDS.items() if fits(kind, transforms[m])]
    if wanted is None:
        return possible
    if unknown := [name for name in wanted if name not in KINDS]:
        raise ValueError(f"kinds: there is no {unknown[0]!r}; choose from {', '.join(KINDS)}")
    here = list(dict.fromkeys(name for _, name in possible))
    if unfit := [name for name in wanted if name not in here]:
        raise ValueError(
            f"kinds: {unfit[0]} disturbs nothing that this run embeds ({', '.join(modalities)}); "
            f"choose from {', '.join(here) or 'none'}"
        )
    return [(m, name) for m, name in possible if name in wanted]


def fits(kind: Disturbance, transform: Transform) -> bool:
    """Whether values of a modality with this transform can be disturbed in this way."""
    if not isinstance(transform, kind.takes):
        return False
    channels = known_channels(transform)
    if kind is KINDS["imu_rotation_degrees"]:
        return channels is None or bool(sensor.triples(channels))
    return kind is not KINDS["imu_dead_channels"] or channels is None or len(channels) > 1


def known_channels(transform: Transform) -> Sequence[str] | None:
    """The channels of every recording that a transform takes; None where recordings decide."""
    return transform.channels if isinstance(transform, ImuTransform) else None


def select_possible_levels(name: str, levels: Sequence[float], transform: Transform) -> list[float]:
    """`levels` without those that would leave a sensor no channel, which the log names.

    Raises:
        ValueError: where none is left.
    """
    if name != "imu_dead_channels":
        return list(levels)
    if (channels := known_channels(transform)) is None:
        return list(levels)
    num_channels = len(channels)
    kept = [level for level in levels if level < num_channels]
    if levels and not kept:
        raise ValueError(f"levels.{name}: the sensor has {num_channels} channels; give counts below that")
    if left_out := [f"{level:g}" for level in levels if level not in kept]:
        log.info("levels.%s: %s left out, the sensor has %d channels", name, ", ".join(left_out), num_channels)
    return kept
