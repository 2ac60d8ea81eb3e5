"""Units of sensors' channels: their sizes, and values that can't be in the unit that a file gives them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

SI_FACTORS = {
    "m/s^2": ("acceleration", 1.0),
    "m/s2": ("acceleration", 1.0),
    "m/s²": ("acceleration", 1.0),
    "g": ("acceleration", 9.80665),
    "rad/s": ("angular rate", 1.0),
    "deg/s": ("angular rate", math.pi / 180),
    "°/s": ("angular rate", math.pi / 180),
    "T": ("magnetic field", 1.0),
    "mT": ("magnetic field", 1e-3),
    "uT": ("magnetic field", 1e-6),
    "µT": ("magnetic field", 1e-6),
    "Pa": ("pressure", 1.0),
    "hPa": ("pressure", 100.0),
    "mbar": ("pressure", 100.0),
    "kPa": ("pressure", 1000.0),
    "degC": ("temperature", 1.0),
    "°C": ("temperature", 1.0),
    "1/min": ("pulse rate", 1.0),
    "bpm": ("pulse rate", 1.0),
    "lx": ("illuminance", 1.0),
    "V": ("voltage", 1.0),
    "mV": ("voltage", 1e-3),
    "uV": ("voltage", 1e-6),
    "µV": ("voltage", 1e-6),
}
"""Unit → (quantity, its size in the SI unit of that quantity)."""
G = 9.80665
MAX_USUAL_G = 6.0
"""What is worn or carried shows gravity, about 1 g; pilots bear 9 g for seconds, no one 6 g for most of a file."""
MAX_SPREAD = 0.5
"""Between the quarters of its sizes, as a share of the middle: gravity makes them alike. Others are not judged."""
MAX_G = 1000.0
MAX_RADIANS_PER_SECOND = 75.0
"""4,300 °/s: gyroscopes end at 2,000 or 4,000."""
NUM_LOOKED_AT = 1024
"""Rows of a file, evenly over it, by which its units are judged."""
TRIAD = re.compile(r"(?P<name>.*(?:acc|accel|gyr|gyro).*)_(?P<axis>[xyz])", re.IGNORECASE)
IF_TRUE = "If that is true, give the unit a name of its own, in the file and in the transform"


def require_plausible_units(values_TC: np.ndarray, channels: Sequence[str], units: Sequence[str], name: str) -> None:
    """Raise ValueError, naming the file and the likely unit, where the usual size of its accelerations can't be.

    Looked at are the three axes of one sensor that agree in a unit of acceleration.

    Examples:
        >>> values_TC = np.tile(np.float32([0.1, 0.2, 9.8]), (100, 1))
        >>> require_plausible_units(values_TC, ["acc_x", "acc_y", "acc_z"], ["g"] * 3, "a.csv")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: a.csv: acc is usually 9.803 g, which looks like m/s^2: correct the unit...
    """
    rows = np.unique(np.linspace(0, max(0, len(values_TC) - 1), NUM_LOOKED_AT).astype(np.int64))[: len(values_TC)]
    for sensor, columns, unit in _triads(channels, units, "acceleration"):
        sizes_T = np.linalg.norm(np.asarray(values_TC[rows], dtype=np.float64)[:, columns], axis=1)
        sizes_T = sizes_T[np.isfinite(sizes_T)]
        low, usual, high = np.percentile(sizes_T, (25, 50, 75)) if len(sizes_T) else (0.0, 0.0, 0.0)
        shows_gravity = high - low < MAX_SPREAD * usual
        if shows_gravity and usual * SI_FACTORS[unit][1] > MAX_USUAL_G * G:
            raise ValueError(
                f"{name}: {sensor} is usually {usual:.4g} {unit}, which looks like {_likely_unit(usual)}: correct the "
                f"unit. {IF_TRUE}"
            )


def require_measurable(values_TC: np.ndarray, channels: Sequence[str], units: Sequence[str], name: str) -> None:
    """Raise ValueError, naming the file, for accelerations and angular rates that no such sensor can measure."""
    for quantity, limit, hint in (
        ("acceleration", MAX_G * G, "a number that stands for a missing value, or raw counts"),
        ("angular rate", MAX_RADIANS_PER_SECOND, "deg/s, a number that stands for a missing value, or raw counts"),
    ):
        for sensor, columns, unit in _triads(channels, units, quantity):
            largest = float(np.abs(values_TC[:, columns]).max(initial=0.0))
            if largest * SI_FACTORS[unit][1] > limit:
                raise ValueError(
                    f"{name}: {sensor} reaches {largest:g} {unit}, more than such a sensor measures: {hint}? Leave a "
                    f"cell empty where nothing was measured, or correct the unit. {IF_TRUE}"
                )


def _likely_unit(usual: float) -> str:
    for unit, gravity in (("m/s^2", G), ("mg", 1000.0)):
        if gravity / 2 < usual < gravity * 2:
            return unit
    return "raw counts"


def _triads(channels: Sequence[str], units: Sequence[str], quantity: str) -> list[tuple[str, list[int], str]]:
    """Name, columns and unit of every sensor that has all three axes in one unit of `quantity`."""
    axes_of: dict[tuple[str, str], dict[str, int]] = {}
    for column, (channel, unit) in enumerate(zip(channels, units, strict=True)):
        match = TRIAD.fullmatch(channel)
        if match and SI_FACTORS.get(unit, ("", 0.0))[0] == quantity:
            axes_of.setdefault((match["name"], unit), {})[match["axis"].lower()] = column
    return [(sensor, list(axes.values()), unit) for (sensor, unit), axes in axes_of.items() if len(axes) == 3]
