"""Offsets in time between two streams of the same samples, by cross-correlation of their activity."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from bind.studies.doctor.envelope import ENVELOPE_HZ
from bind.studies.doctor.findings import FindingKind

OUT_OF_STEP = FindingKind(
    "streams out of step", 1.0, "shift one stream's span by the offset, or synchronise the clocks"
)

MAX_LAG_SECONDS = 2.0
"""Twice the drift of 0.5 to 1 s that is known of head-worn motion sensors against their video."""
MIN_OVERLAP_SECONDS = 2.0
"""The overlap that must remain of both streams at the largest lag."""
TOLERATED_SECONDS = 0.2
"""Sound may lag its picture by 185 ms before viewers object (ITU-R BT.1359); windows of encoders last seconds."""
MIN_SAMPLES = 8
"""Samples whose streams, paired wrongly, show how high a correlation is by chance."""
NUM_WRONG = 5
MIN_SCORE = 5.0
"""Standard deviations above the wrongly paired ones: with 5,000 samples none is expected by chance."""
MIN_LEAD, MIN_COMMON_LEAD = 0.25, 0.1
"""Share of its correlation by which an offset must beat none at all, in one sample and in several: a steady beat fits
one beat later as well. Of several the differences are tested too, again at 5 standard errors."""
MAX_SAMPLES = 5_000
"""Of more samples so many are compared, drawn evenly."""


def lag_correlation(a_T: np.ndarray, b_T: np.ndarray, max_lag: int) -> np.ndarray:
    """Pearson correlation of a[t] and b[t + lag] over their overlap, for lag = -max_lag … max_lag; 0 where constant.

    Needs more than `max_lag` + 1 values on each side.
    """
    a_T, b_T = a_T.astype(np.float64), b_T.astype(np.float64)
    lags = np.arange(-max_lag, max_lag + 1)
    start_a, start_b = np.maximum(-lags, 0), np.maximum(lags, 0)
    num = np.minimum(len(a_T) - start_a, len(b_T) - start_b)
    a_T, b_T = a_T - a_T.mean(), b_T - b_T.mean()
    # np.correlate(b, a, "full")[k] is the sum over t of b[t + k - (len(a) - 1)] · a[t].
    products = np.correlate(b_T, a_T, "full")[lags + len(a_T) - 1]

    def sums(x_T: np.ndarray, start: np.ndarray) -> np.ndarray:
        total = np.concatenate([[0.0], np.cumsum(x_T)])
        sums_L: np.ndarray = total[start + num] - total[start]
        return sums_L

    mean_a, mean_b = sums(a_T, start_a) / num, sums(b_T, start_b) / num
    var_a, var_b = sums(a_T**2, start_a) / num - mean_a**2, sums(b_T**2, start_b) / num - mean_b**2
    scale = np.sqrt(np.maximum(var_a * var_b, 0.0))
    covariance = products / num - mean_a * mean_b
    correlation: np.ndarray = np.where(scale > 1e-12, covariance / np.maximum(scale, 1e-12), 0.0)
    return correlation


@dataclass(frozen=True)
class Offset:
    """The second of two streams lags by `seconds` in the samples at `positions`; `score` standard deviations clear."""

    positions: tuple[int, ...]
    seconds: float
    score: float

    @property
    def is_tolerated(self) -> bool:
        return abs(self.seconds) <= TOLERATED_SECONDS


def measure_offsets(
    streams: Sequence[tuple[np.ndarray, np.ndarray]], recordings: Sequence[Hashable]
) -> tuple[Offset | None, list[Offset], str | None]:
    """How far b lags behind a: over all samples, over the samples of each recording, or else in single samples.

    Chance is measured: a's of some samples against b's of others, which share habits (a start, a beat) but no moments.
    An offset counts where the true pairing stands 5 standard deviations above that, so periodic motion, silence and
    unrelated streams give no verdict.

    Args:
        streams: activity of both, at 50 Hz, from the same moment on.
        recordings: the recording that each sample is cut from; each has one clock.

    Returns:
        The offset of all samples (None where it can't be measured), those of some that are not tolerated, and a note.
    """
    min_length = round((MAX_LAG_SECONDS + MIN_OVERLAP_SECONDS) * ENVELOPE_HZ)
    usable = [i for i, pair in enumerate(streams) if min(map(len, pair)) >= min_length]
    if len(usable) < MIN_SAMPLES:
        seconds = min_length / ENVELOPE_HZ
        return None, [], f"their offset can't be measured: {len(usable)} sample(s) with {seconds:g} s of both"
    curves_NL, wrong = _measure_curves(streams, usable)
    common = wrong.judge(curves_NL, usable)
    by_recording: list[Offset] = []
    for recording in dict.fromkeys(recordings[i] for i in usable):
        rows = [n for n, i in enumerate(usable) if recordings[i] == recording]
        together = wrong.judge(curves_NL[rows], [usable[n] for n in rows]) if len(rows) >= MIN_SAMPLES else None
        by_recording += [together] if together else [o for n in rows if (o := wrong.judge_one(curves_NL[n], usable[n]))]
    apart = [offset for offset in by_recording if not offset.is_tolerated]
    if common is not None and not common.is_tolerated:
        apart = [common, *(o for o in apart if abs(o.seconds - common.seconds) > TOLERATED_SECONDS)]
    unknown = "their offset can't be measured: nothing in common rises above chance"
    return common, apart, None if common or by_recording else unknown


@dataclass(frozen=True)
class Chance:
    """Correlations of streams that are paired wrongly: their mean and spread per lag, and of their peaks."""

    lags_L: np.ndarray
    mean_L: np.ndarray
    spread_L: np.ndarray
    peak_mean: float
    peak_spread: float

    def judge(self, curves_NL: np.ndarray, positions: Sequence[int]) -> Offset | None:
        """The offset of several samples together; none at all unless another is clearly better."""
        excess = curves_NL.mean(axis=0) - self.mean_L
        best, nearest = int(excess.argmax()), self._nearest(excess)
        lead_N = curves_NL[:, best] - curves_NL[:, nearest]
        is_clear = lead_N.mean() >= MIN_SCORE * lead_N.std(ddof=1) / np.sqrt(len(lead_N))
        if not is_clear or excess[best] - excess[nearest] < MIN_COMMON_LEAD * excess[best]:
            best = nearest
        # The mean over samples varies as that of one by the root of their number.
        score = float(excess[best] / self.spread_L[best] * np.sqrt(len(curves_NL)))
        return Offset(tuple(positions), float(self.lags_L[best]), score) if score >= MIN_SCORE else None

    def judge_one(self, curve_L: np.ndarray, position: int) -> Offset | None:
        """The offset of one sample, from the height of its peak."""
        best, nearest = int(curve_L.argmax()), self._nearest(curve_L)
        if curve_L[best] - curve_L[nearest] < MIN_LEAD * curve_L[best]:
            best = nearest
        score = float(curve_L[best] - self.peak_mean) / self.peak_spread
        return Offset((position,), float(self.lags_L[best]), score) if score >= MIN_SCORE else None

    def _nearest(self, curve_L: np.ndarray) -> int:
        return int(np.where(np.abs(self.lags_L) <= TOLERATED_SECONDS, curve_L, -np.inf).argmax())


def _measure_curves(
    streams: Sequence[tuple[np.ndarray, np.ndarray]], usable: Sequence[int]
) -> tuple[np.ndarray, Chance]:
    """Correlation per lag of every usable sample (N, L), and of wrong pairs: each a with five b's of other samples."""
    max_lag = round(MAX_LAG_SECONDS * ENVELOPE_HZ)
    curves_NL = np.stack([lag_correlation(*streams[i], max_lag) for i in usable])
    step = max(1, len(usable) // (NUM_WRONG + 2))
    others = [[*usable[shift * step :], *usable[: shift * step]] for shift in range(1, NUM_WRONG + 1)]
    wrong = np.stack(
        [
            lag_correlation(streams[i][0], streams[j][1], max_lag)
            for other in others
            for i, j in zip(usable, other, strict=True)
        ]
    )
    peaks = wrong.max(axis=1)
    return curves_NL, Chance(
        np.arange(-max_lag, max_lag + 1) / ENVELOPE_HZ,
        wrong.mean(axis=0),
        np.maximum(wrong.std(axis=0), 1e-6),
        float(peaks.mean()),
        max(float(peaks.std()), 1e-6),
    )
