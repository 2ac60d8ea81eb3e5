"""Sensor recordings as worn, wired and sent badly: as decoded, before any transform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bind.media.sensor_units import SI_FACTORS
from bind.types import SensorRecording

GAP_SECONDS = 0.1
BLOCKS_PER_STRETCH = 10

_BIAS_UNIT = {"acceleration": SI_FACTORS["g"][1], "angular rate": SI_FACTORS["rad/s"][1]}


def bias(recording: SensorRecording, size: float, rng: np.random.Generator) -> SensorRecording:
    """A constant of `size` on every channel, up or down by chance: g for accelerations, rad/s for angular rates.

    Channels that measure something else are off by `size` of their own unit.
    """
    units = [SI_FACTORS.get(unit, ("", 1.0)) for unit in recording.units]
    size_C = np.array([size * _BIAS_UNIT.get(quantity, si) / si for quantity, si in units])
    sign_C = rng.choice([-1.0, 1.0], size=len(size_C))
    return replace(recording, values=(recording.values + sign_C * size_C).astype(np.float32))


def rotation(recording: SensorRecording, degrees: float, rng: np.random.Generator) -> SensorRecording:
    """The sensor turned by `degrees` about a random axis, the same for every triple of channels `…_x`, `…_y`, `…_z`.

    Raises:
        ValueError: a recording without such a triple.
    """
    from scipy.spatial.transform import Rotation

    found = triples(recording.channels)
    if not found:
        raise ValueError(f"nothing to rotate among the channels {', '.join(recording.channels)}: no …_x, …_y and …_z")
    axis = rng.standard_normal(3)
    turned = Rotation.from_rotvec(axis / np.linalg.norm(axis) * degrees, degrees=True).as_matrix()
    values = recording.values.astype(np.float64)
    for triple in found:
        values[:, triple] = values[:, triple] @ turned.T
    return replace(recording, values=values.astype(np.float32))


def gaps(recording: SensorRecording, share: float, rng: np.random.Generator) -> SensorRecording:
    """A `share` (0 to below 1) of all frames lost in gaps of 0.1 s or several in a row, the last value held meanwhile.

    Of every second that share is lost. Holding is what a receiver does that goes on with its last packet; what is lost
    at the start takes the first value that comes.
    """
    num_frames = len(recording.values)
    block = max(1, round(GAP_SECONDS * recording.sample_rate_hz))
    stretch = BLOCKS_PER_STRETCH * block
    kept_T = np.ones(num_frames, dtype=bool)
    for start in range(0, num_frames, stretch):
        frames = np.arange(start, min(num_frames, start + stretch))
        turn = rng.permutation(BLOCKS_PER_STRETCH)[(frames - start) // block]  # blocks go in this order
        lost = frames[np.argsort(turn, kind="stable")][: int(share * len(frames))]
        kept_T[lost] = False
    last_T = np.maximum.accumulate(np.where(kept_T, np.arange(num_frames), -1))
    return replace(recording, values=recording.values[np.where(last_T < 0, kept_T.argmax(), last_T)])


def dead_channels(recording: SensorRecording, count: int, rng: np.random.Generator) -> SensorRecording:
    """`count` channels, drawn by chance, that read zero.

    Raises:
        ValueError: where no channel would be left.
    """
    num_channels = len(recording.channels)
    if count >= num_channels:
        raise ValueError(f"{count} dead channels of {num_channels} leave none")
    values = recording.values.copy()
    values[:, rng.permutation(num_channels)[:count]] = 0.0
    return replace(recording, values=values)


def triples(channels: Sequence[str]) -> list[list[int]]:
    """Columns of the channels that are the x, y and z of one thing, such as `acc_x`, `acc_y` and `acc_z`."""
    things = dict.fromkeys(name[:-2] for name in channels if name.endswith("_x"))
    named = [[f"{thing}_{axis}" for axis in "xyz"] for thing in things]
    return [[channels.index(name) for name in triple] for triple in named if set(triple) <= set(channels)]
