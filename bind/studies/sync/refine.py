"""Refinement of an alignment: beginnings of what happens, counted in the same intervals of both streams."""

from __future__ import annotations

import dataclasses

import numpy as np

from bind.studies.sync.activity import Activity
from bind.studies.sync.estimate import MAX_DRIFT_PPM, PIECE_SECONDS, Alignment, in_logarithms

LAG_STEP_SECONDS = 0.002
AROUND_SECONDS = 0.15
"""How far from the first estimate, at the middle of the recording, the lag is looked for."""
AROUND_ENDS_SECONDS = 0.1
"""And how far, at both ends, the drift may move it: more than a frame of 15 a second."""
RECENT_SECONDS = 0.1
"""A ring that swings in this time begins once; also of the slowest camera, one interval."""
NEAR_TOP_SHARE = 0.2
"""Lags and drifts at which the sum lies at most this share below its top weigh in: the top of few events is flat."""


def refine_alignment(a: Activity, b: Activity, first: Alignment) -> Alignment:
    """Give `first` the offset and drift at which what begins in one stream begins in the other, to a few ms.

    A frame differs from the one before by all that moved in between, however soon or late. So lags are judged by the
    intervals of the coarser stream as they are: what begins in the other is summed within the same intervals, moved by
    each lag. Beginnings have the same time in streams that ring and fade differently, and rise by orders of magnitude
    above quiet whatever their strength, so that every event counts and not only the loudest.
    """
    if _mean_interval(a) < _mean_interval(b):
        return _inverse(refine_alignment(b, a, _inverse(first)))
    reach = AROUND_SECONDS + (AROUND_ENDS_SECONDS if first.has_drift else 0.0)
    lags_L = np.arange(-round(reach / LAG_STEP_SECONDS), round(reach / LAG_STEP_SECONDS) + 1) * LAG_STEP_SECONDS
    in_b = a.edges * (1 + first.drift) + first.offset_seconds
    in_both = np.flatnonzero((in_b[:-1] >= reach) & (in_b[1:] <= b.edges[-1] - reach))
    if not len(in_both):
        return first
    edges, in_b = (of[in_both[0] : in_both[-1] + 2] for of in (a.edges, in_b))
    middles = (edges[1:] + edges[:-1]) / 2
    pieces = np.array_split(np.arange(len(middles)), max(1, int((edges[-1] - edges[0]) / PIECE_SECONDS)))
    centres_P = np.array([middles[piece].mean() for piece in pieces])
    begins_K = beginnings(a)[in_both]
    expected_K = begins_K - begins_K.mean()
    total_T1 = np.concatenate([[0.0], np.cumsum(beginnings(b))])
    curves_PL = np.zeros((len(pieces), len(lags_L)))
    for column, lag in enumerate(lags_L.tolist()):
        in_intervals_K = np.diff(np.interp(in_b + lag, b.edges, total_T1))
        in_intervals_K -= in_intervals_K.mean()
        for row, piece in enumerate(pieces):
            size = float(np.linalg.norm(in_intervals_K[piece]))
            curves_PL[row, column] = expected_K[piece] @ in_intervals_K[piece] / max(size, 1e-9)
    # Steps of drift that move the ends by a step of lag; in all no more than clocks differ.
    half = max(float(np.ptp(centres_P)) / 2, 1e-9)
    steps = round(AROUND_ENDS_SECONDS / LAG_STEP_SECONDS) if first.has_drift else 0
    drifts_D = np.arange(-steps, steps + 1) * LAG_STEP_SECONDS / half
    drifts_D = drifts_D[(np.abs(first.drift + drifts_D) <= MAX_DRIFT_PPM * 1e-6) | (drifts_D == 0)]
    near_L = lags_L[np.abs(lags_L) <= AROUND_SECONDS + LAG_STEP_SECONDS / 2]
    middle = float(centres_P.mean())
    sums_DL = np.zeros((len(drifts_D), len(near_L)))
    for row, drift in enumerate(drifts_D.tolist()):
        for curve_L, centre in zip(curves_PL, centres_P.tolist(), strict=True):
            sums_DL[row] += np.interp(near_L + drift * (centre - middle), lags_L, curve_L)
    weights_DL = np.maximum(sums_DL - (1 - NEAR_TOP_SHARE) * sums_DL.max(), 0.0)
    if sums_DL.max() <= 0 or not weights_DL.sum():
        return first
    weights_DL /= weights_DL.sum()
    lag, drift = float(weights_DL.sum(axis=0) @ near_L), float(weights_DL.sum(axis=1) @ drifts_D)
    return dataclasses.replace(
        first, offset_seconds=first.offset_seconds + lag - drift * middle, drift=first.drift + drift
    )


def beginnings(activity: Activity) -> np.ndarray:
    """How far each interval's activity (K,), in logarithms, rises above all of the tenth of a second before it."""
    level_K = in_logarithms(activity.values)
    before_K = np.full(len(level_K), -np.inf)
    for back in range(1, max(1, round(RECENT_SECONDS / _mean_interval(activity))) + 1):
        before_K[back:] = np.maximum(before_K[back:], level_K[:-back])
    before_K[0] = level_K[0]
    return np.asarray(np.maximum(level_K - before_K, 0.0))


def _mean_interval(activity: Activity) -> float:
    return float(activity.edges[-1] - activity.edges[0]) / len(activity.values)


def _inverse(alignment: Alignment) -> Alignment:
    """The same, told from the second stream."""
    scale = 1 + alignment.drift
    return dataclasses.replace(
        alignment, offset_seconds=-alignment.offset_seconds / scale, drift=-alignment.drift / scale
    )
