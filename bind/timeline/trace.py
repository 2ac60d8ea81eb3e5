"""Trace of a recording: the lowest and highest value of each channel in equal stretches of time, for pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NUM_BINS = 3000


class Trace:
    """The course of a recording of known length, taken in pieces; memory does not grow with the length.

    Attributes:
        low_BC, high_BC: lowest and highest value in each bin of each channel, NaN where there is none.

    Examples:
        >>> trace = Trace(10.0, num_frames=4, sample_rate_hz=2.0, channels=["acc_x"], units=["g"], num_bins=2)
        >>> trace.add(0, np.array([[1.0], [3.0], [2.0]]))
        >>> trace.low_BC.tolist(), trace.high_BC.tolist(), trace.end_seconds
        ([[1.0], [2.0]], [[3.0], [2.0]], 12.0)
    """

    def __init__(
        self,
        start_seconds: float,
        num_frames: int,
        sample_rate_hz: float,
        channels: Sequence[str],
        units: Sequence[str],
        *,
        num_bins: int = NUM_BINS,
    ) -> None:
        self.start_seconds = start_seconds
        self.end_seconds = start_seconds + num_frames / sample_rate_hz
        self.num_frames = num_frames
        self.channels = tuple(channels)
        self.units = tuple(units)
        self.num_bins = min(num_bins, num_frames)
        self.low_BC = np.full((self.num_bins, len(self.channels)), np.nan)
        self.high_BC = np.full((self.num_bins, len(self.channels)), np.nan)

    def add(self, first: int, values_TC: np.ndarray) -> None:
        """Take the values (T, C) of frames from `first` on."""
        if not len(values_TC):
            return
        bins_T = (np.arange(first, first + len(values_TC)) * self.num_bins) // self.num_frames
        starts = np.concatenate([[0], np.flatnonzero(np.diff(bins_T)) + 1])
        bins = bins_T[starts]
        self.low_BC[bins] = np.fmin(self.low_BC[bins], np.minimum.reduceat(values_TC, starts, axis=0))
        self.high_BC[bins] = np.fmax(self.high_BC[bins], np.maximum.reduceat(values_TC, starts, axis=0))
