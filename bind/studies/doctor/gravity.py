"""Gravity in a recording of an accelerometer and a gyroscope: its size, its direction, and how it turns.

In the sensor's own axes gravity g obeys dg/dt = -ω × g (a vector fixed in space, seen from a turning frame), whatever
the mounting. That ties the gyroscope's unit, axes and signs to the accelerometer's.
"""

from __future__ import annotations

import itertools
import re

import numpy as np

from bind.media.sensor_units import SI_FACTORS
from bind.studies.doctor.findings import MotionFacts
from bind.types import SensorRecording

NAME = re.compile(r"(?P<sensor>acc|gyr)[a-z]*_(?P<axis>[xyz])")
WINDOW_SECONDS = 2.0
"""Long enough for steps to cancel (a walk has about two a second), short against changes of posture."""
MAX_WINDOWS = 300
TURN_SECONDS = 0.4
"""Gravity is read as the mean of so long, and compared with the next. On recordings of phones at 30 people's waists the
fit rises from 0.15 at 0.1 s to 0.55 at 0.4 s, because shakes average out."""
MAX_TURN_RADIANS = 1.0
"""A larger turn between two readings is no small step any more."""
ORDERS = [
    (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1.0, -1.0), repeat=3)
]


def find_triads(channels: tuple[str, ...]) -> dict[str, list[int]]:
    """`acc` and `gyr` → the columns of x, y and z, where a recording has all three: acc_x, accel_x, gyro_x, …"""
    axes_of: dict[str, dict[str, int]] = {}
    for column, name in enumerate(channels):
        if match := NAME.fullmatch(name.lower()):
            axes_of.setdefault(match["sensor"], {})[match["axis"]] = column
    return {sensor: [axes[a] for a in "xyz"] for sensor, axes in axes_of.items() if len(axes) == 3}


def measure_motion(recording: SensorRecording) -> MotionFacts | None:
    """Levels and directions over windows of 2 s, up to 300 of them drawn evenly; None without an accelerometer."""
    triads = find_triads(recording.channels)
    rate_hz, num_frames = recording.sample_rate_hz, len(recording.values)
    length = min(num_frames, max(2, round(WINDOW_SECONDS * rate_hz)))
    if "acc" not in triads or num_frames < 2:
        return None
    num_windows = min(MAX_WINDOWS, num_frames // length)
    starts = np.linspace(0, num_frames - length, num_windows).astype(int)
    windows_WTC = np.stack([np.asarray(recording.values[s : s + length], dtype=np.float64) for s in starts])
    windows_WTC = windows_WTC[np.isfinite(windows_WTC).all(axis=(1, 2)) & np.ptp(windows_WTC, axis=1).any(axis=1)]
    if not len(windows_WTC):
        return None
    acc = windows_WTC[..., triads["acc"]]
    level, steadiness = _level(acc)
    direction = acc.mean(axis=1)
    direction = (direction / np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-12)).mean(axis=0)
    facts = MotionFacts(
        recording.units[triads["acc"][0]],
        level,
        steadiness,
        float(np.linalg.norm(acc, axis=2).std()),
        tuple((direction / max(float(np.linalg.norm(direction)), 1e-12)).tolist()),
    )
    if "gyr" in triads:
        gyro = windows_WTC[..., triads["gyr"]]
        facts.gyro_unit = recording.units[triads["gyr"][0]]
        facts.gyro_level, facts.gyro_steadiness = _level(gyro)
        facts.gyro_peak = float(np.quantile(np.linalg.norm(gyro, axis=2), 0.999))
        _compare_turns(facts, acc, gyro, rate_hz)
    return facts


def _level(x_WT3: np.ndarray) -> tuple[float, float]:
    """Median over windows of |mean|, and of |mean| / mean | |."""
    means = np.linalg.norm(x_WT3.mean(axis=1), axis=1)
    sizes = np.maximum(np.linalg.norm(x_WT3, axis=2).mean(axis=1), 1e-12)
    return float(np.median(means)), float(np.median(means / sizes))


def _compare_turns(facts: MotionFacts, acc_WT3: np.ndarray, gyro_WT3: np.ndarray, rate_hz: float) -> None:
    """Compare gravity's change with -ω × g: correlation and slope as named, and the best of all 48 orders and signs."""
    assert facts.gyro_unit is not None
    frames = max(1, round(TURN_SECONDS * rate_hz))
    num_steps = acc_WT3.shape[1] // frames
    if num_steps < 2:
        return
    size = SI_FACTORS.get(facts.gyro_unit, ("", 1.0))[1]
    acc, gyro = (
        x[:, : num_steps * frames].reshape(len(x), num_steps, frames, 3).mean(axis=2)
        for x in (acc_WT3, gyro_WT3 * size)
    )
    change = (np.diff(acc, axis=1) * rate_hz / frames).reshape(-1, 3)
    gravity = ((acc[:, 1:] + acc[:, :-1]) / 2).reshape(-1, 3)
    omega = ((gyro[:, 1:] + gyro[:, :-1]) / 2).reshape(-1, 3)
    # The gyroscope's unit is in question, so the accelerometer decides whether a turn is small.
    small = np.linalg.norm(change, axis=1) * frames / rate_hz < MAX_TURN_RADIANS * np.linalg.norm(gravity, axis=1)
    change, gravity, omega = change[small], gravity[small], omega[small]
    facts.num_turns = len(change)
    power = float(np.square(change).sum())
    if not len(change) or power == 0.0:
        return
    for order, signs in ORDERS:
        predicted = -np.cross(omega[:, order] * signs, gravity)
        product, predicted_power = float((predicted * change).sum()), float(np.square(predicted).sum())
        fit = product / max(np.sqrt(predicted_power * power), 1e-12)
        if order == (0, 1, 2) and signs == (1.0, 1.0, 1.0):
            facts.turn_fit, facts.turn_scale = fit, product / max(predicted_power, 1e-12)
        if fit > facts.best_fit:
            facts.best_fit = fit
            facts.best_order = ", ".join(
                f"{'-' if sign < 0 else ''}{'xyz'[axis]}" for axis, sign in zip(order, signs, strict=True)
            )
