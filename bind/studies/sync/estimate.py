"""Estimate of the offset and drift between two streams of a recording, by what happens in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ACTIVITY_HZ = 100
"""Steps of 10 ms; peaks are found between them."""
PIECE_SECONDS = 20.0
"""Of a correlation: the largest drift moves streams by 6 ms in it."""
MAX_DRIFT_PPM = 300.0
"""Quartz clocks differ by up to 100 parts in a million, in the cold and from cheap ones by twice that."""
MIN_DRIFT_SECONDS = 120.0
"""Of a shorter recording the drift, under 36 ms from end to end, is not measured but taken as none."""
NUM_CHANCE = 24
"""Times at which the second stream, moved round by so much that nothing belongs together, shows what chance gives."""
MIN_SCORE = 5.0
"""Standard deviations that a peak has to stand above the peaks of chance."""
MIN_LEAD = 0.15
"""Share of its height by which the peak exceeds all others: a steady beat fits one beat later as well."""
NEAR_SECONDS = 0.25
"""Lags that belong to one peak."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """What happens at the time t of the first stream happens at t + `offset_seconds` + `drift` · t of the second.

    Attributes:
        offset_seconds: at the start.
        drift: seconds per second.
        score: standard deviations of the peak above what chance gives.
        lead: of the peak above the next one, as a share of its height.
        is_known: whether score and lead are large enough to believe it.
        has_drift: whether the recording is long enough to measure the drift.
        lags_L, curve_L: the correlation of all pieces by lag in the middle of the recording.
    """

    offset_seconds: float
    drift: float
    score: float
    lead: float
    is_known: bool
    has_drift: bool
    lags_L: np.ndarray
    curve_L: np.ndarray

    def lag_seconds(self, seconds: float) -> float:
        """How much later the second stream's clock shows what happens at `seconds` of the first."""
        return self.offset_seconds + self.drift * seconds


def estimate_alignment(a_T: np.ndarray, b_T: np.ndarray, max_lag_seconds: float) -> Alignment | None:
    """Find how the clock of b runs against that of a, from their activity at 100 Hz, both from their start.

    Activity counts in logarithms, so that all events have a say and not only the loudest. Pieces of 20 s are
    correlated at every lag; offset and drift are those along whose line the correlations of all pieces add up to the
    most, so that pieces in which nothing happens have no say.

    Returns:
        None where the streams are too short: under 38 s for lags of 3 s.
    """
    a_T, b_T = in_logarithms(a_T), in_logarithms(b_T)
    max_lag = round(max_lag_seconds * ACTIVITY_HZ)
    num_steps = min(len(a_T), len(b_T))
    if num_steps < needed_seconds(max_lag_seconds) * ACTIVITY_HZ:
        return None
    starts, length = cut_pieces(num_steps, max_lag)
    has_drift = num_steps >= MIN_DRIFT_SECONDS * ACTIVITY_HZ
    centres = starts + length / 2
    middle = float(centres.mean())
    span = float(np.ptp(centres)) + 1
    # A step of drift moves the outermost pieces by a fifth of a step of lag.
    num_drifts = 1 + 2 * int(np.ceil(MAX_DRIFT_PPM * 1e-6 * span / 2 / 0.2)) if has_drift else 1
    drifts = np.linspace(-MAX_DRIFT_PPM, MAX_DRIFT_PPM, num_drifts) * 1e-6 if has_drift else np.zeros(1)
    curves_PL = _piece_curves(a_T, b_T, starts, length, max_lag)
    sums_DL = _sum_along_lines(curves_PL, centres - middle, drifts)
    best_drift, best_lag = np.unravel_index(int(sums_DL.argmax()), sums_DL.shape)
    lags_L = np.arange(-max_lag, max_lag + 1) / ACTIVITY_HZ
    curve_L = sums_DL[best_drift]
    peak = float(curve_L[best_lag])
    lag = float(lags_L[best_lag]) + _between(curve_L, int(best_lag)) / ACTIVITY_HZ
    drift = float(drifts[best_drift])
    if has_drift:
        step = float(drifts[1] - drifts[0])
        drift += _between(sums_DL[:, best_lag], int(best_drift)) * step
    elsewhere = curve_L[np.abs(lags_L - lags_L[best_lag]) > NEAR_SECONDS]
    lead = (peak - float(elsewhere.max())) / peak if peak > 0 and len(elsewhere) else 0.0
    chance = _chance_peaks(a_T, b_T, starts, length, max_lag, centres - middle, drifts)
    score = (peak - float(chance.mean())) / max(float(chance.std(ddof=1)), 1e-3)
    at_edge = best_lag in (0, len(lags_L) - 1)
    is_known = score >= MIN_SCORE and lead >= MIN_LEAD and not at_edge
    offset = lag - drift * middle / ACTIVITY_HZ
    return Alignment(offset, drift, score, lead, is_known, has_drift, lags_L, curve_L)


def needed_seconds(max_lag_seconds: float) -> float:
    """How long both streams have to be: a piece, and what chance is measured with."""
    return PIECE_SECONDS + 6 * max_lag_seconds


def in_logarithms(activity_T: np.ndarray) -> np.ndarray:
    """Activity (T,) in logarithms, from the middle of what it is where it is not zero: below that, near zero."""
    lively = activity_T[activity_T > 0]
    middle = float(np.median(lively)) if len(lively) else 1.0
    return np.asarray(np.log1p(activity_T / middle))


def cut_pieces(num_steps: int, max_lag: int) -> tuple[np.ndarray, int]:
    """First steps and length of pieces of a, of 20 s or somewhat more, that b covers at every lag, end to end."""
    usable = num_steps - 2 * max_lag
    num_pieces = max(1, int(usable / (PIECE_SECONDS * ACTIVITY_HZ)))
    length = usable // num_pieces
    return max_lag + length * np.arange(num_pieces), length


def _piece_curves(a_T: np.ndarray, b_T: np.ndarray, starts: np.ndarray, length: int, max_lag: int) -> np.ndarray:
    """Correlation of each piece of a with b at every lag (P, L), each weighed by how much happens in it."""
    spread = float(a_T.std()) or 1.0
    curves = []
    for start in starts.tolist():
        piece_T = a_T[start : start + length].astype(np.float64)
        piece_T -= piece_T.mean()
        around_T = b_T[start - max_lag : start + length + max_lag].astype(np.float64)
        around_T -= around_T.mean()
        products_L = np.correlate(around_T, piece_T, "valid")
        energy_L = np.convolve(np.square(around_T), np.ones(length), "valid")
        size = float(np.linalg.norm(piece_T))
        curve_L = products_L / np.maximum(size * np.sqrt(np.maximum(energy_L, 0.0)), 1e-9)
        curves.append(curve_L * min(1.0, float(piece_T.std()) / spread))
    return np.stack(curves)


def _sum_along_lines(curves_PL: np.ndarray, from_middle_P: np.ndarray, drifts: np.ndarray) -> np.ndarray:
    """Mean of the pieces' curves (D, L), each moved by what a drift has moved it since the middle."""
    positions_L = np.arange(curves_PL.shape[1])
    out_DL = np.zeros((len(drifts), curves_PL.shape[1]))
    for row, drift in enumerate(drifts.tolist()):
        for curve_L, from_middle in zip(curves_PL, from_middle_P.tolist(), strict=True):
            out_DL[row] += np.interp(positions_L + drift * from_middle, positions_L, curve_L)
    return out_DL / len(curves_PL)


def _chance_peaks(
    a_T: np.ndarray,
    b_T: np.ndarray,
    starts: np.ndarray,
    length: int,
    max_lag: int,
    from_middle_P: np.ndarray,
    drifts: np.ndarray,
) -> np.ndarray:
    """The largest sums (NUM_CHANCE,) where b is moved round by far more than any lag."""
    peaks = []
    coarse = drifts[:: max(1, len(drifts) // 5)]
    nearest = 2 * max_lag + round(NEAR_SECONDS * ACTIVITY_HZ)  # beyond what the largest lag leads back to
    for turn in np.linspace(nearest, len(b_T) - nearest, NUM_CHANCE).astype(int):
        moved_T = np.roll(b_T, turn)
        curves_PL = _piece_curves(a_T, moved_T, starts, length, max_lag)
        peaks.append(_sum_along_lines(curves_PL, from_middle_P, coarse).max())
    return np.array(peaks)


def _between(values: np.ndarray, best: int) -> float:
    """Where between its neighbours the peak of a parabola through them lies, in steps from `best`."""
    if not 0 < best < len(values) - 1:
        return 0.0
    left, middle, right = values[best - 1 : best + 2]
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0
