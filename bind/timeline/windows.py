"""Windows of a stream of samples: overlapping ones, in blocks, and the breaks where samples are missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bind.media.recording import checked_finite
from bind.media.sensor_time import MAX_STEP
from bind.timeline.parameters import BLOCK_STEPS

CONSTANT = "every channel is constant: was the sensor off?"
Value = Any
"""What a transform takes: a `SensorRecording`, a `Waveform` or a `Clip`."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive windows of one stretch of a recording without a break.

    Attributes:
        start_seconds: where the first window begins.
        values: windows, each one hop after the other.
        is_first: whether a stretch begins with them.
        end_seconds: where the stretch ends; None: it goes on.
    """

    start_seconds: float
    values: list[Value]
    is_first: bool
    end_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Break:
    """Time without a label, and why."""

    start_seconds: float
    end_seconds: float
    reason: str

    def __str__(self) -> str:
        return f"{self.start_seconds:.2f}-{self.end_seconds:.2f} s {self.reason}"


class WindowCutter:
    """Overlapping windows of samples (T, C) that come in pieces of any length.

    Every `BLOCK_STEPS` windows are a block. A stretch ends where time jumps forward by more than three samples, and
    where a whole window's samples are all the same, if `breaks_where_constant`. What is missing, constant or shorter
    than a window between two breaks is in `breaks`. Between breaks the clock counts samples: times that come with them
    serve to see jumps.

    Args:
        window_frames, hop_frames: in samples, as they come.
        as_value: makes a window's value of its samples (T, C).
        name: of the recording, for messages.
    """

    def __init__(
        self,
        *,
        window_frames: int,
        hop_frames: int,
        sample_rate_hz: float,
        as_value: Callable[[np.ndarray], Value],
        name: str,
        breaks_where_constant: bool,
    ) -> None:
        self.window_frames = window_frames
        self.hop_frames = hop_frames
        self.sample_rate_hz = sample_rate_hz
        self.as_value = as_value
        self.name = name
        self.breaks_where_constant = breaks_where_constant
        self.breaks: list[Break] = []
        self._origin_seconds = 0.0  # of the last sample that did not come when it was expected
        self._num_samples = 0  # since then: a sum of so many steps would depend on how they came
        self._expected_seconds = 0.0  # of the next sample, by the time that came with the last ones
        self._last_C: np.ndarray | None = None  # sample
        self._num_equal = 0  # samples, up to the last one, that are the same
        self._constant_since: float | None = None  # where a whole window of them is
        self._stretch_start = 0.0
        self._held_TC: np.ndarray | None = None  # from the next window's first sample on
        self._values: list[Value] = []
        self._num_windows = 0
        self._is_first = True

    @property
    def clock_seconds(self) -> float:
        """When the next sample is expected."""
        return self._time(self._num_samples)

    def _time(self, sample: int) -> float:
        return self._origin_seconds + sample / self.sample_rate_hz

    def push(self, samples_TC: np.ndarray, time_seconds: float | None = None) -> list[Block]:
        """Take further samples (T, C), the first of them at `time_seconds`; the blocks that are complete.

        Raises:
            ValueError: naming the time, where samples are NaN, have another number of channels than those before, or
                are earlier than what came. Nothing of them is taken.
        """
        samples_TC = np.asarray(samples_TC, dtype=np.float32)
        if not len(samples_TC):
            return []
        start = self._expected_seconds if time_seconds is None else float(time_seconds)
        checked_finite(samples_TC, f"{self.name} from {start:.2f} s on")
        if self._last_C is not None and samples_TC.shape[1] != len(self._last_C):
            raise ValueError(
                f"{self.name}: samples of {samples_TC.shape[1]} channels at {start:.2f} s, after {len(self._last_C)}"
            )
        blocks = self._follow_clock(start)
        self._expected_seconds = start + len(samples_TC) / self.sample_rate_hz
        if self.breaks_where_constant:
            blocks += self._take_runs(samples_TC)
        else:
            blocks += self._take(samples_TC)
            self._num_samples += len(samples_TC)
        self._last_C = samples_TC[-1]
        return blocks

    def finish(self) -> list[Block]:
        """The last blocks: nothing more comes, or another stretch begins."""
        end = self.clock_seconds
        blocks = []
        if self._constant_since is not None:
            self._add_break(self._constant_since, end, CONSTANT)
        else:
            blocks = self._end_stretch(end)
        self._begin_stretch(end)
        self._last_C, self._num_equal, self._constant_since = None, 0, None
        return blocks

    def _follow_clock(self, start: float) -> list[Block]:
        """Begin a stretch at `start` where that is not when the next sample was expected."""
        step = MAX_STEP / self.sample_rate_hz
        expected = self._expected_seconds
        is_begin = not self._num_samples
        if not is_begin and start < expected - step:
            raise ValueError(
                f"{self.name}: time jumps back, from {expected:.2f} to {start:.2f} s. Where the clock was set back, "
                "begin another stream or file there"
            )
        blocks = []
        if is_begin or start > expected + step:
            if not is_begin:
                blocks = self.finish()
                self._add_break(self.clock_seconds, start, "no samples")
            self._begin_stretch(start)
            self._origin_seconds, self._num_samples = start, 0
        return blocks

    def _take_runs(self, samples_TC: np.ndarray) -> list[Block]:
        """As `_take`, with an end of the stretch where a run of equal samples is as long as a window."""
        num_samples = len(samples_TC)
        is_new_T = np.empty(num_samples, dtype=bool)
        is_new_T[0] = self._last_C is None or bool(np.any(samples_TC[0] != self._last_C))
        is_new_T[1:] = np.any(samples_TC[1:] != samples_TC[:-1], axis=1)
        starts = np.concatenate([[-self._num_equal], np.flatnonzero(is_new_T)])
        ends = np.concatenate([starts[1:], [num_samples]])
        begin, position = self._num_samples, 0
        blocks: list[Block] = []
        is_long = ends - starts >= self.window_frames
        for first, last in zip(starts[is_long].tolist(), ends[is_long].tolist(), strict=True):
            if self._constant_since is None:
                run_start = self._time(begin + first)
                blocks += self._take(samples_TC[position : max(position, first + self.window_frames - 1)])
                blocks += self._end_stretch(run_start)
                self._constant_since = run_start
            position = last
            if last < num_samples:
                run_end = self._time(begin + last)
                self._add_break(self._constant_since, run_end, CONSTANT)
                self._begin_stretch(run_end)
                self._constant_since = None
        if position < num_samples:
            blocks += self._take(samples_TC[position:])
        self._num_equal = int(num_samples - starts[-1])
        self._num_samples = begin + num_samples
        return blocks

    def _take(self, samples_TC: np.ndarray) -> list[Block]:
        """Cut windows of samples that follow those before without a break."""
        held_TC = samples_TC if self._held_TC is None else np.concatenate([self._held_TC, samples_TC])
        blocks = []
        first = 0
        while len(held_TC) - first >= self.window_frames:
            self._values.append(self.as_value(held_TC[first : first + self.window_frames].copy()))
            self._num_windows += 1
            first += self.hop_frames
            if len(self._values) == BLOCK_STEPS:
                blocks.append(self._block(None))
        self._held_TC = held_TC[first:].copy()
        return blocks

    def _block(self, end_seconds: float | None) -> Block:
        num_before = self._num_windows - len(self._values)
        start = self._stretch_start + num_before * self.hop_frames / self.sample_rate_hz
        block = Block(start, self._values, self._is_first, end_seconds)
        self._values, self._is_first = [], False
        return block

    def _begin_stretch(self, start_seconds: float) -> None:
        self._stretch_start = start_seconds
        self._held_TC = None
        self._values = []
        self._num_windows = 0
        self._is_first = True

    def _end_stretch(self, end_seconds: float) -> list[Block]:
        if self._num_windows:
            return [self._block(end_seconds)]
        seconds = self.window_frames / self.sample_rate_hz
        self._add_break(self._stretch_start, end_seconds, f"shorter than the window of {seconds:g} s")
        return []

    def _add_break(self, start: float, end: float, reason: str) -> None:
        if end > start:
            self.breaks.append(Break(start, end, reason))
