"""Renderer of the toy world's motion: what a six-channel sensor inside the object would record.

Motion sets the trajectory, size its amplitude, material how contacts ring: every motion has contacts, so size and
material can be read from all. Directions, signs and phases are drawn by chance, so averages of raw channels
hold nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAMPLE_RATE_HZ = 100.0
NUM_STEPS = 200
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g", "g", "g", "rad/s", "rad/s", "rad/s")

# Rows follow the words of `bind.data.sources.toy.world.FACTORS`.
SIZE_AMPLITUDE = np.array([0.5, 1.25], dtype=np.float32)
RING_HZ = np.array([19.0, 33.0, 9.0], dtype=np.float32)  # wooden, metal, rubber
RING_DECAY_PER_SECOND = np.array([13.0, 6.0, 9.0], dtype=np.float32)

_NUM_CONTACTS = 5
_SECONDS = (np.arange(NUM_STEPS) / SAMPLE_RATE_HZ).astype(np.float32)[None, :]


def render_imu(
    rngs: Sequence[np.random.Generator], *, motion: np.ndarray, size: np.ndarray, material: np.ndarray
) -> np.ndarray:
    """Render B recordings (B, 200, 6) float32, two seconds at 100 Hz, in g and rad/s, from factor indices (B,)."""
    u = np.stack([rng.random(32, dtype=np.float32) for rng in rngs])
    noise = np.stack([rng.standard_normal((6, NUM_STEPS), dtype=np.float32) for rng in rngs])
    strength = (SIZE_AMPLITUDE[size] * (0.9 + 0.2 * u[:, 0]))[:, None]
    sign = np.where(u[:, 1] < 0.5, np.float32(-1), np.float32(1))[:, None]
    period = 0.36 + 0.08 * u[:, 2:3]
    phase = u[:, 3:4]

    ring = _contact_ring(material, period, u)
    beat = (_SECONDS / period + phase) % 1.0  # fraction of the time from one contact to the next
    signals = np.zeros((len(u), 6, NUM_STEPS), dtype=np.float32)
    for index in np.unique(motion):
        rows = motion == index
        amplitude, side, t = strength[rows], sign[rows], beat[rows]
        if index == 1:  # sliding: pushed and slowed along one line
            signals[rows, 0] = side * amplitude * 0.9 * np.sin(_SECONDS * (2 * np.pi / 1.1) + 6.283 * phase[rows])
            signals[rows, 3] = side * amplitude * 0.3 * (t - 0.5)
        elif index == 2:  # bouncing: falling freely, then pushed up hard
            signals[rows, 2] = amplitude * (np.float32(2.2) * np.exp(-(((t - 0.5) / 0.12) ** 2)) - np.float32(0.47))
        elif index == 3:  # spinning: a steady turn, gravity's sideways part goes round
            rate = side * (3.0 + 4.0 * amplitude)
            signals[rows, 5] = rate
            signals[rows, 0] = 0.35 * amplitude * np.cos(rate * _SECONDS + 6.283 * phase[rows])
            signals[rows, 1] = 0.35 * amplitude * np.sin(rate * _SECONDS + 6.283 * phase[rows])
    hit = strength[:, :, None] * ring[:, None, :]
    signals[:, :3] += 1.4 * hit * _unit_vectors(u[:, 10:13])[:, :, None]
    signals[:, 3:] += 3.0 * hit * _unit_vectors(u[:, 13:16])[:, :, None]
    signals[:, 2] += 1.0  # gravity

    mounted = _mount(signals, u)
    bias = np.concatenate([0.1 * (u[:, 20:23] - 0.5), 0.2 * (u[:, 23:26] - 0.5)], axis=1)
    spread = np.array([0.03, 0.03, 0.03, 0.05, 0.05, 0.05], dtype=np.float32)
    mounted += bias[:, :, None] + spread[None, :, None] * noise
    return np.ascontiguousarray(mounted.transpose(0, 2, 1))


def _contact_ring(material: np.ndarray, period: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Ringing after each of five contacts, (B, 200), about unit amplitude."""
    first = 0.4 * u[:, 4:5]
    number = np.arange(_NUM_CONTACTS, dtype=np.float32)[None, :]
    since_BKT = _SECONDS[:, None, :] - (first + period * number)[:, :, None]
    rung = since_BKT >= 0
    since_BKT = np.maximum(since_BKT, 0)
    hz = (RING_HZ[material] * (0.93 + 0.14 * u[:, 5]))[:, None, None]
    decay = RING_DECAY_PER_SECOND[material][:, None, None]
    phase = (2 * np.pi * u[:, 26 : 26 + _NUM_CONTACTS])[:, :, None]
    ring_BT: np.ndarray = (np.exp(-decay * since_BKT) * np.sin(2 * np.pi * hz * since_BKT + phase) * rung).sum(axis=1)
    return ring_BT


def _unit_vectors(u_B3: np.ndarray) -> np.ndarray:
    vector_B3 = u_B3 - np.float32(0.5) + np.float32(1e-3)
    unit_B3: np.ndarray = vector_B3 / np.sqrt((vector_B3 * vector_B3).sum(axis=1, keepdims=True))
    return unit_B3


def _mount(signals: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Turn both triads by the sensor's mounting: any angle about the vertical, then up to 0.35 rad off it."""
    heading, roll, pitch = 2 * np.pi * u[:, 6], 0.7 * u[:, 7] - 0.35, 0.7 * u[:, 8] - 0.35
    mounted = np.empty_like(signals)
    for first in (0, 3):
        x, y, z = signals[:, first], signals[:, first + 1], signals[:, first + 2]
        x, y = _rotate(x, y, heading)
        y, z = _rotate(y, z, roll)
        z, x = _rotate(z, x, pitch)
        mounted[:, first], mounted[:, first + 1], mounted[:, first + 2] = x, y, z
    return mounted


def _rotate(a: np.ndarray, b: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return cos * a - sin * b, sin * a + cos * b
