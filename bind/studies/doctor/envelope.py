"""Envelopes: how strongly something happens over time, which streams of different kinds have in common."""

from __future__ import annotations

import numpy as np

ENVELOPE_HZ = 50
"""Steps of 20 ms: a tenth of the offset that is looked for."""
MAX_ENVELOPE_SECONDS = 120.0
"""Of a longer stretch the first two minutes are enough, at 24 kB."""
BASELINE_SECONDS = 1.0


def motion_envelope(
    x_TC: np.ndarray, rate_hz: float, *, envelope_hz: int = ENVELOPE_HZ, max_seconds: float = MAX_ENVELOPE_SECONDS
) -> np.ndarray:
    """(T, C) of any sensor → its activity at `envelope_hz`: how far the channels are from their mean of one second.

    Each channel counts relative to its own spread, so that units and scales play no part.
    """
    x_TC = x_TC[: int(min(max_seconds * rate_hz, len(x_TC)))].astype(np.float64)
    x_TC = x_TC[:, x_TC.std(axis=0) > 0]
    if len(x_TC) < 2 or not x_TC.shape[1]:
        return np.zeros(0, dtype=np.float32)
    deviation_TC = x_TC - moving_mean(x_TC, max(1, round(BASELINE_SECONDS * rate_hz)))
    spread_C = np.maximum(deviation_TC.std(axis=0), 1e-12)
    energy_T = np.square(deviation_TC / spread_C).mean(axis=1)
    # The integral of the energy, read at the edges of the bins: right for any rate, above 50 Hz or below. A sample
    # stands for the time around it.
    total_T = np.concatenate([[0.0], np.cumsum(energy_T)]) / rate_hz
    edges = np.arange(int(len(x_TC) / rate_hz * envelope_hz) + 1) / envelope_hz
    in_bins = np.diff(np.interp(edges, (np.arange(len(total_T)) - 0.5) / rate_hz, total_T))
    envelope: np.ndarray = np.sqrt(np.maximum(in_bins, 0.0) * envelope_hz).astype(np.float32)
    return envelope


def moving_mean(x_TC: np.ndarray, num_frames: int) -> np.ndarray:
    """The mean of the `num_frames` around each frame, fewer at the ends."""
    total = np.concatenate([np.zeros((1, x_TC.shape[1])), np.cumsum(x_TC, axis=0)])
    middle = np.arange(len(x_TC))
    first = np.maximum(middle - num_frames // 2, 0)
    last = np.minimum(middle + (num_frames + 1) // 2, len(x_TC))
    mean: np.ndarray = (total[last] - total[first]) / (last - first)[:, None]
    return mean
