"""Checks of the options of transforms."""

from __future__ import annotations

import math

Range = tuple[float, float]
"""(low, high) of what is drawn uniformly."""


def checked_range(name: str, bounds: Range, above: float = -math.inf) -> Range:
    """(low, high) as floats; ValueError unless above < low <= high."""
    low, high = (float(bound) for bound in bounds)
    if not above < low <= high < math.inf:
        floor = f"{above:g} < " if math.isfinite(above) else ""
        raise ValueError(f"{name} is ({low:g}, {high:g}); it must be (low, high) with {floor}low <= high")
    return low, high
