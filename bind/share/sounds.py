"""Sounds as data sets of the hub hold them, channels first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bind.types import Waveform


def waveform_of(sound: Mapping[str, Any]) -> Waveform:
    """`{"array": (T,) or (C, T), "sampling_rate": Hz}` as a `Waveform`, whose samples come first.

    Examples:
        >>> waveform_of({"array": [[0.0, 0.5, 0.0], [0.0, 0.1, 0.2]], "sampling_rate": 8000}).samples.shape
        (3, 2)
    """
    samples = np.asarray(sound["array"], dtype=np.float32)
    return Waveform(samples.T if samples.ndim > 1 else samples, int(sound["sampling_rate"]))
