"""Resampling of signals: band-limited, at any rational ratio, whole or as a window of a longer recording."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import numpy as np

from bind.media.recording import Recording

HALF_LENGTH = 10
"""Taps on each side of the filter, counted in samples of the slower rate."""

Edges = Literal["constant", "line"]
"""What the signal does beyond its ends: it is zero, or it goes on around the line between its end points."""


def rate_ratio(target_hz: float, source_hz: float, name: str) -> Fraction:
    """`target_hz / source_hz` as a fraction, exact where its terms are small, else within 0.1 % by terms up to 1000.

    Small terms keep the filter short.

    Raises:
        ValueError: with the `name` of the recording, where the rates are more than 1000-fold apart.
    """
    if (ratio := _ratio(target_hz, source_hz)) is None:
        raise ValueError(
            f"{name}: cannot resample {source_hz:g} Hz to {target_hz:g} Hz. Is the rate in the file wrong? Repair "
            "it, or change the transform's sample_rate_hz"
        )
    return ratio


@lru_cache(maxsize=1024)
def _ratio(target_hz: float, source_hz: float) -> Fraction | None:
    ratio = Fraction(target_hz) / Fraction(source_hz)
    if not Fraction(1, 1000) <= ratio <= 1000:
        return None
    if ratio.numerator + ratio.denominator <= 2000:
        return ratio
    return ratio.limit_denominator(1000) if ratio <= 1 else 1 / (1 / ratio).limit_denominator(1000)


def frames_at(ratio: Fraction, num_frames: int) -> int:
    """ceil(num_frames * ratio), in whole numbers: a window's share of fractions takes longer than its copy.

    Examples:
        >>> frames_at(Fraction(1, 3), 10), frames_at(1 / Fraction(1, 3), 4)
        (4, 12)
    """
    return -(-num_frames * ratio.numerator // ratio.denominator)


def resample(x_TC: np.ndarray, ratio: Fraction, edges: Edges = "constant") -> np.ndarray:
    """Resample (T, C) float32 along time to (ceil(T * ratio), C): a polyphase filter, Kaiser-windowed sinc.

    Examples:
        >>> x_TC = np.full((4, 1), 2.0, dtype=np.float32)
        >>> resample(x_TC, rate_ratio(100.0, 50.0, "walk.csv"), edges="line").shape
        (8, 1)
    """
    from scipy.signal import resample_poly

    if ratio == 1:
        return x_TC
    up, down = ratio.numerator, ratio.denominator
    resampled_TC: np.ndarray = resample_poly(x_TC, up, down, axis=0, window=_lowpass(up, down), padtype=edges)
    return resampled_TC


def read_resampled(
    recording: Recording, start: int, num_out: int, ratio: Fraction, edges: Edges = "constant"
) -> np.ndarray:
    """Read `num_out` resampled frames (num_out, C) of a recording, from its own frame `start` on.

    Only the window and what the filter needs around it is read. Equals resampling the whole recording and cutting, as
    far as both fall on the same grid.
    """
    num_frames = recording.num_frames
    if ratio == 1:
        return recording.read(start, min(num_frames, start + num_out))
    up, down = ratio.numerator, ratio.denominator
    reach = math.ceil(HALF_LENGTH * max(up, down) / up)
    # The output grid keeps its phase when the lead is a whole number of input periods.
    lead = min(math.ceil(reach / down) * down, start // down * down)
    stop = min(num_frames, start + math.ceil(num_out / ratio) + reach)
    skip = lead // down * up
    return resample(recording.read(start - lead, stop), ratio, edges)[skip : skip + num_out]


def read_window(
    recording: Recording, num_out: int, ratio: Fraction, window_seconds: float, rng: np.random.Generator | None
) -> np.ndarray:
    """A window of `num_out` resampled frames (num_out, C) of a sensor's recording: a random one, or the middle one.

    Where a span begins and ends between frames, rounding may leave it one frame short of its length: it ends with its
    last frame twice then.

    Args:
        window_seconds: how long the window is, for messages.
        rng: draws its start; None: the middle.

    Raises:
        ValueError: naming the recording, where it is shorter than the window by more than a frame.
    """
    if frames_at(ratio, recording.num_frames + 1) < num_out:
        raise ValueError(
            f"{recording.name}: {recording.num_frames / recording.sample_rate_hz:g} s are shorter than the window "
            f"of {window_seconds:g} s. Give a recording, or a span of one, that is at least so long; a training may "
            "lower window_seconds"
        )
    spare = max(0, recording.num_frames - frames_at(1 / ratio, num_out))
    start = spare // 2 if rng is None else int(rng.integers(spare + 1))
    # Gravity does not stop at the ends of a recording: extend along a line, not with zeros.
    x_TC = read_resampled(recording, start, num_out, ratio, edges="line")
    return x_TC if len(x_TC) == num_out else np.pad(x_TC, ((0, num_out - len(x_TC)), (0, 0)), mode="edge")


SINC_ZEROS, SINC_ROLLOFF = 6, 0.99
"""Of torchaudio's default filter: zero crossings on each side, and its edge as a share of the lower Nyquist rate."""


def read_resampled_by_torchaudio(recording: Recording, start: int, num_out: int, ratio: Fraction) -> np.ndarray:
    """Read frames `start` to `start + num_out` (num_out, C) of a recording that torchaudio has resampled as a whole.

    Only the window and what the filter needs around it is read. For models that were trained on what
    `torchaudio.functional.resample` gives; `read_resampled` is the sharper filter.
    """
    import torch
    import torchaudio

    num_frames = recording.num_frames
    if ratio == 1:
        return recording.read(start, min(num_frames, start + num_out))
    up, down = ratio.numerator, ratio.denominator
    reach = math.ceil(SINC_ZEROS * max(down / up, 1) / SINC_ROLLOFF)
    # `down` input frames are `up` output frames: windows that begin at such a block are on the whole recording's grid.
    block = max(0, start // up - math.ceil(reach / down))
    stop = min(num_frames, frames_at(1 / ratio, start + num_out) + reach)
    x_CT = torch.from_numpy(np.ascontiguousarray(recording.read(block * down, stop).T))
    resampled_CT = torchaudio.functional.resample(x_CT, down, up)
    skip = start - block * up
    window_TC: np.ndarray = resampled_CT[:, skip : skip + num_out].T.numpy()
    return window_TC


@lru_cache(maxsize=512)
def _lowpass(up: int, down: int) -> np.ndarray:
    """Taps of the filter, float32; each of its `up` phases sums to one."""
    from scipy.signal import firwin

    slower = max(up, down)
    taps: np.ndarray = firwin(2 * HALF_LENGTH * slower + 1, 1 / slower, window=("kaiser", 5.0))
    # Every phase passes a constant unchanged: gravity must not come out as a ripple of 0.05 %.
    for phase in range(up):
        taps[phase::up] /= up * taps[phase::up].sum()
    return taps.astype(np.float32)
