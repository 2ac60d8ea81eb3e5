"""Turning of recordings upright: from the axes of a sensor, however it was worn, to up, ahead and aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from bind.media.channel_names import ChannelMeaning, find_triads, read_meanings
from bind.media.sensor import load_sensor_file
from bind.media.sensor_units import SI_FACTORS, G
from bind.types import Clip, SensorRecording

STEP_SECONDS = 1.0
"""In which gravity is the mean of the acceleration: a stride or two."""
MIN_RECORDING_SECONDS = 20.0
MIN_MOVING_STEPS = 5
MIN_ENERGY_G = 0.05
"""What a body that walks shows, four times over; one that sits shows a tenth of it."""
MIN_AGREEMENT = 0.5
"""Length of the mean direction while moving: 0.95 and more for phones at the waist that stay where they are."""

Rotations = Mapping[str, np.ndarray]
"""Place on the body → rotation (3, 3) of its sensors' axes: z points up, x ahead or aside."""


def find_rotations(value: Clip | SensorRecording) -> Rotations:
    """Measure how the sensors of a whole recording were worn, at every place with an accelerometer.

    Who moves is upright: up is where gravity comes from in the quarter of the recording's seconds with the most motion.
    Ahead is the level direction in which the body sways most while it moves, its sign that of the sway's skewness, so
    that a recording of a sensor that was turned by any angle becomes the same recording. Lying differs from standing.

    Raises:
        ValueError: naming the file, where it is shorter than 20 s, nothing moves, or the sensor was turned midway.
    """
    if isinstance(value, SensorRecording):
        meanings = read_meanings(value.channels, value.units, "a sensor recording in memory")
        return _measure(value.values, value.sample_rate_hz, meanings, value.units, "a sensor recording in memory")
    if not isinstance(value.path, Path):
        return _of_file(value)
    return _of_file_once(value.path, value.path.stat().st_mtime_ns)


@lru_cache(maxsize=4096)
def _of_file_once(path: Path, modified_ns: int) -> Rotations:
    return _of_file(Clip(path))


def _of_file(clip: Clip) -> Rotations:
    file = load_sensor_file(clip)
    known = [column for column, unit in enumerate(file.units) if unit in SI_FACTORS]
    channels, units = (tuple(of[column] for column in known) for of in (file.channels, file.units))
    meanings = read_meanings(channels, units, str(clip.path))
    return _measure(file.values[:, known], file.sample_rate_hz, meanings, units, str(clip.path))


def turn_upright(x_TC: np.ndarray, meanings: Sequence[ChannelMeaning], rotations: Rotations, where: str) -> np.ndarray:
    """`x_TC` with every sensor of three axes turned by the rotation of its place.

    Raises:
        ValueError: with `where`, for a sensor of one or two axes, or at a place without an accelerometer.
    """
    triads = find_triads(meanings)
    turned = {column for columns in triads.values() for column in columns}
    if lone := [m for column, m in enumerate(meanings) if m.axis and column not in turned]:
        raise ValueError(
            f"{where}: {lone[0].sensor} has no three axes, so it can't be turned upright; set transform.imu.align=null"
        )
    x_TC = x_TC.copy()
    for (place, quantity, _), columns in triads.items():
        if place not in rotations:
            of_place = f" at the {place}" if place else ""
            raise ValueError(
                f"{where}: the sensor of {quantity}{of_place} has no accelerometer beside it, "
                "so what is upright there can't be known; set transform.imu.align=null"
            )
        x_TC[:, columns] = x_TC[:, columns] @ rotations[place].T.astype(x_TC.dtype)
    return x_TC


def _measure(
    values_TC: np.ndarray, rate_hz: float, meanings: Sequence[ChannelMeaning], units: Sequence[str], where: str
) -> Rotations:
    rotations: dict[str, np.ndarray] = {}
    for (place, quantity, _), columns in sorted(find_triads(meanings).items()):
        if quantity == "acceleration" and place not in rotations:
            acc_T3 = np.asarray(values_TC[:, columns], dtype=np.float64) * (SI_FACTORS[units[columns[0]]][1] / G)
            rotations[place] = _rotation(acc_T3, rate_hz, f"{where}{f', {place}' if place else ''}")
    return rotations


def _rotation(acc_T3: np.ndarray, rate_hz: float, where: str) -> np.ndarray:
    """The rotation (3, 3) from the axes of accelerations in g to ahead, aside and up."""
    num_in_step = max(1, round(STEP_SECONDS * rate_hz))
    num_steps = len(acc_T3) // num_in_step
    steps_ST3 = acc_T3[: num_steps * num_in_step].reshape(num_steps, num_in_step, 3)
    steps_ST3 = steps_ST3[np.isfinite(steps_ST3).all(axis=(1, 2))]
    if len(steps_ST3) * STEP_SECONDS < MIN_RECORDING_SECONDS:
        raise ValueError(
            f"{where}: {len(steps_ST3) * STEP_SECONDS:g} s are too short to find what is upright, which takes "
            f"{MIN_RECORDING_SECONDS:g} s with motion: give the whole recording and spans of it, or set "
            "transform.imu.align=null"
        )
    gravity_S3 = steps_ST3.mean(axis=1)
    energy_S = np.sqrt(np.square(steps_ST3 - gravity_S3[:, None]).sum(axis=2).mean(axis=1))
    is_moving = (energy_S >= MIN_ENERGY_G) & (energy_S >= np.percentile(energy_S, 75))
    if is_moving.sum() < MIN_MOVING_STEPS:
        raise ValueError(
            f"{where}: nothing moves in it, so what is upright can't be known; set transform.imu.align=null"
        )
    directions = gravity_S3[is_moving] / np.maximum(np.linalg.norm(gravity_S3[is_moving], axis=1, keepdims=True), 1e-9)
    up = directions.mean(axis=0)
    if np.linalg.norm(up) < MIN_AGREEMENT:
        raise ValueError(
            f"{where}: gravity comes from opposite sides while it moves; was the sensor turned midway? Cut the file "
            "there, or set transform.imu.align=null"
        )
    up /= np.linalg.norm(up)
    sway_N3 = (steps_ST3[is_moving] - gravity_S3[is_moving][:, None]).reshape(-1, 3)
    level_N3 = sway_N3 - np.outer(sway_N3 @ up, up)
    ahead = np.linalg.eigh(level_N3.T @ level_N3)[1][:, -1]
    ahead -= ahead @ up * up
    ahead /= np.linalg.norm(ahead)
    if np.mean((level_N3 @ ahead) ** 3) < 0:
        ahead = -ahead
    return np.stack([ahead, np.cross(up, ahead), up])
