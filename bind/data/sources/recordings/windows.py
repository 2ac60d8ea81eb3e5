"""Windows of recordings: where annotations ask for them, and how far each may be moved in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bind.types import Modality

ROUNDING_SECONDS = 1e-6
"""Times in tables are rounded no worse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOptions:
    """How windows are laid over annotations.

    Args:
        window_seconds: their length.
        stride_seconds: from one to the next within an annotation.
        jitter_seconds: how far training moves a window at most, to either side; None: by the stride.
        min_share: of the annotation, or of the window where that is shorter, that a window holds at least.
        min_annotation_seconds: shorter annotations give no window.

    Raises:
        ValueError: naming the key, for a length that is none or a share that is none.
    """

    window_seconds: float
    stride_seconds: float
    jitter_seconds: float | None = None
    min_share: float = 1.0
    min_annotation_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("window_seconds", "stride_seconds"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"data.{name}={getattr(self, name)}: give seconds above 0")
        for name in ("jitter_seconds", "min_annotation_seconds"):
            if getattr(self, name) is not None and not getattr(self, name) >= 0:
                raise ValueError(f"data.{name}={getattr(self, name)}: give seconds, 0 for none")
        if not 0 < self.min_share <= 1:
            raise ValueError(f"data.min_share={self.min_share}: give a share above 0, up to 1")

    @property
    def jitter(self) -> float:
        """How far training moves a window at most."""
        return self.stride_seconds if self.jitter_seconds is None else self.jitter_seconds


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows, each of an annotation.

    Attributes:
        annotation_N: number of the annotation of each.
        start_N: where evaluation reads it, in seconds.
        low_N, high_N: between which starts training draws one.
    """

    annotation_N: np.ndarray
    start_N: np.ndarray
    low_N: np.ndarray
    high_N: np.ndarray

    def at(self, rows: np.ndarray) -> Windows:
        """Those with these numbers, or where this is true."""
        return Windows(self.annotation_N[rows], self.start_N[rows], self.low_N[rows], self.high_N[rows])


def lay_windows(starts_A: np.ndarray, ends_A: np.ndarray, options: WindowOptions) -> Windows:
    """Windows over A annotations; `low` and `high` are all starts that hold `min_share`, jitter aside.

    In an annotation at least as long as a window the first begins with it and the others follow by the stride; one of
    a shorter annotation has it in its middle.

    Examples:
        >>> options = WindowOptions(window_seconds=2.0, stride_seconds=1.0)
        >>> windows = lay_windows(np.array([10.0, 30.0]), np.array([13.5, 30.5]), options)
        >>> windows.annotation_N.tolist(), windows.start_N.tolist()
        ([0, 0, 1], [10.0, 11.0, 29.25])
        >>> windows.low_N.tolist(), windows.high_N.tolist()
        ([10.0, 10.0, 28.5], [11.5, 11.5, 30.0])
    """
    window, lengths_A = options.window_seconds, ends_A - starts_A
    held_A = options.min_share * np.minimum(window, lengths_A)
    low_A, high_A = starts_A - window + held_A, ends_A - held_A
    is_long = lengths_A >= window - ROUNDING_SECONDS
    first_A = np.where(is_long, starts_A, (starts_A + ends_A - window) / 2)
    high_A = np.where(is_long, np.maximum(high_A, first_A), high_A)  # an annotation of just a window, but for rounding
    num_A = np.where(is_long, np.floor((high_A - first_A + ROUNDING_SECONDS) / options.stride_seconds) + 1, 1)
    num_A = np.where(lengths_A >= options.min_annotation_seconds - ROUNDING_SECONDS, num_A, 0).astype(np.int64)
    annotation_N = np.repeat(np.arange(len(starts_A)), num_A)
    place_N = np.arange(len(annotation_N)) - np.repeat(np.cumsum(num_A) - num_A, num_A)
    start_N = first_A[annotation_N] + place_N * options.stride_seconds
    low_N = np.where(is_long, np.minimum(low_A, first_A), low_A)[annotation_N]
    return Windows(annotation_N, start_N, low_N, high_A[annotation_N])


def fit_windows(
    windows: Windows, measured: Mapping[Modality, np.ndarray], options: WindowOptions
) -> tuple[Windows, dict[Modality, np.ndarray]]:
    """Windows as far as one recording allows, and modality → bool (N,), whether its stream is there throughout.

    A window over the edge of the recording is moved into it, where it still holds its share. One that no stream fills
    stays, and is in none.

    Args:
        windows: over the recording's annotations.
        measured: modality → starts and ends (K, 2) of what there is of it, see `bind.media.measured`.
        options: as the windows were laid.
    """
    window = options.window_seconds
    edges = np.concatenate(list(measured.values()))
    start_N, low_N, high_N = windows.start_N, windows.low_N, windows.high_N
    if len(edges):
        moved_N = np.clip(start_N, edges.min(), max(edges.max() - window, edges.min()))
        start_N = np.clip(moved_N, low_N, high_N)
    fills: dict[Modality, np.ndarray] = {}
    for modality, stretches in measured.items():
        if not len(stretches):
            fills[modality] = np.zeros(len(start_N), bool)
            continue
        of_N = np.maximum(np.searchsorted(stretches[:, 0], start_N + ROUNDING_SECONDS, side="right") - 1, 0)
        first_N, last_N = stretches[of_N, 0], stretches[of_N, 1] - window
        fills[modality] = (start_N >= first_N - ROUNDING_SECONDS) & (start_N <= last_N + ROUNDING_SECONDS)
        low_N = np.where(fills[modality], np.maximum(low_N, first_N), low_N)
        high_N = np.where(fills[modality], np.minimum(high_N, last_N), high_N)
    low_N = np.minimum(np.maximum(low_N, start_N - options.jitter), start_N)
    high_N = np.maximum(np.minimum(high_N, start_N + options.jitter), start_N)
    return Windows(windows.annotation_N, start_N, low_N, high_N), fills


def free_stretches(starts_A: np.ndarray, ends_A: np.ndarray, low: float, high: float) -> np.ndarray:
    """Starts and ends (K, 2) of what no annotation covers between `low` and `high`.

    Examples:
        >>> free_stretches(np.array([2.0, 3.0]), np.array([4.0, 5.0]), 0.0, 9.0).tolist()
        [[0.0, 2.0], [5.0, 9.0]]
    """
    order = np.argsort(starts_A, kind="stable")
    begins = np.concatenate([[low], np.maximum.accumulate(np.concatenate([[low], ends_A[order]]))[1:]])
    ends = np.append(starts_A[order], high)
    ends = np.minimum(ends, high)
    is_free = ends > begins + ROUNDING_SECONDS
    return np.stack([begins[is_free], ends[is_free]], axis=1)
