"""Picture of a recording's streams: activity before and after the correction, and the correlation by lag."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bind.report.style import ACCENT, FAINT, INK, figure
from bind.studies.sync.estimate import ACTIVITY_HZ, in_logarithms
from bind.studies.sync.recordings import StreamResult

SHOWN_SECONDS = 12.0


def plot_recording(results: Sequence[StreamResult], png: Path) -> None:
    """Draw a row per stream into `png`: the liveliest 12 s as they are and corrected, and the correlation.

    Activity is in logarithms, as it is compared. What is not believed is drawn at the best lag, and called so.
    """
    results = [result for result in results if result.alignment is not None]
    with figure(png, 11.0, 0.6 + 2.3 * len(results)) as drawing:
        rows = drawing.subplots(len(results), 3, squeeze=False, width_ratios=(1, 1, 0.7))
        for (before, after, by_lag), result in zip(rows, results, strict=True):
            alignment = result.alignment
            assert alignment is not None
            a_T, b_T = (in_logarithms(of) for of in result.activity)
            first = _liveliest(a_T)
            shown = np.arange(first, min(first + round(SHOWN_SECONDS * ACTIVITY_HZ), len(a_T)))
            lag_seconds = alignment.lag_seconds((shown[0] + shown[-1]) / 2 / ACTIVITY_HZ)
            colour = ACCENT if result.is_known else FAINT
            moved_b = [
                np.interp(shown + lag * ACTIVITY_HZ, np.arange(len(b_T)), b_T, left=0, right=0)
                for lag in (0.0, lag_seconds)
            ]
            largest = max(float(of.max(initial=0.0)) for of in moved_b)  # of both, so that heights compare
            titles = ("as it is", "corrected" if result.is_known else "at the best lag, not believed")
            for ax, of_b, title in zip((before, after), moved_b, titles, strict=True):
                ax.plot(shown / ACTIVITY_HZ, _scaled(a_T[shown]), color=INK, linewidth=0.8, label=result.reference)
                ax.plot(
                    shown / ACTIVITY_HZ, -of_b / max(largest, 1e-9), color=colour, linewidth=0.8, label=result.stream
                )
                ax.set_yticks([])
                ax.set_ylim(-1.1, 1.5)  # with room for the legend
                ax.set_title(f"{result.stream}, {title}", loc="left", fontsize=9)
                ax.set_xlabel(f"seconds of {result.reference}")
            before.legend(loc="upper right", fontsize=7, ncols=2, framealpha=1.0)
            by_lag.axvline(lag_seconds, color=colour, linewidth=1.0, zorder=0)
            by_lag.plot(alignment.lags_L, alignment.curve_L, color=INK, linewidth=0.8)
            verdict = (
                f"{abs(lag_seconds):.3f} s {'later' if lag_seconds > 0 else 'earlier'}"
                if result.is_known
                else "not known"
            )
            by_lag.set_title(f"{verdict}, score {alignment.score:.1f}", loc="left", fontsize=9)
            by_lag.set_xlabel("lag in seconds")
            by_lag.set_ylabel("correlation")


def _liveliest(a_T: np.ndarray) -> int:
    """The first step of the stretch in which the most happens."""
    length = min(round(SHOWN_SECONDS * ACTIVITY_HZ), len(a_T))
    total = np.concatenate([[0.0], np.cumsum(a_T.astype(np.float64))])
    return int((total[length:] - total[:-length]).argmax())


def _scaled(x_T: np.ndarray) -> np.ndarray:
    return np.asarray(x_T / max(float(np.abs(x_T).max(initial=0.0)), 1e-9))
