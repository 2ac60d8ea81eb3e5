"""Picture of a recording's streams: activity before and after the correction, and the correlation by lag."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bind.report.style import ACCENT, FAINT, INK, figure
from bind.studies.sync.estimate import ACTIVITY_HZ
from bind.studies.sync.recordings import StreamResult

SHOWN_SECONDS = 12.0


def plot_recording(results: Sequence[StreamResult], png: Path) -> None:
    """Draw a row per stream into `png`: the liveliest 12 s as they are and corrected, and the correlation."""
    results = [result for result in results if result.alignment is not None]
    with figure(png, 11.0, 0.6 + 2.3 * len(results)) as drawing:
        rows = drawing.subplots(len(results), 3, squeeze=False, width_ratios=(1, 1, 0.7))
        for (before, after, by_lag), result in zip(rows, results, strict=True):
            alignment = result.alignment
            assert alignment is not None
            a_T, b_T = result.activity
            first = _liveliest(a_T)
            shown = np.arange(first, min(first + round(SHOWN_SECONDS * ACTIVITY_HZ), len(a_T)))
            lag = alignment.lag_seconds((first / ACTIVITY_HZ) + SHOWN_SECONDS / 2) * ACTIVITY_HZ
            for ax, moved, title in ((before, 0.0, "as it is"), (after, lag, "corrected")):
                ax.plot(shown / ACTIVITY_HZ, _scaled(a_T[shown]), color=INK, linewidth=0.8, label=result.reference)
                moved_b = np.interp(shown + moved, np.arange(len(b_T)), b_T, left=0, right=0)
                ax.plot(shown / ACTIVITY_HZ, -_scaled(moved_b), color=ACCENT, linewidth=0.8, label=result.stream)
                ax.set_yticks([])
                ax.set_title(f"{result.stream}, {title}", loc="left", fontsize=9)
                ax.set_xlabel(f"seconds of {result.reference}")
            before.legend(loc="upper right", fontsize=7)
            by_lag.plot(alignment.lags_L, alignment.curve_L, color=INK, linewidth=0.8)
            by_lag.axvline(
                alignment.lags_L[int(alignment.curve_L.argmax())], color=ACCENT if result.is_known else FAINT
            )
            verdict = "found" if result.is_known else "not known"
            by_lag.set_title(f"{verdict}, score {alignment.score:.1f}", loc="left", fontsize=9)
            by_lag.set_xlabel("lag in seconds")


def _liveliest(a_T: np.ndarray) -> int:
    """The first step of the stretch in which the most happens."""
    length = min(round(SHOWN_SECONDS * ACTIVITY_HZ), len(a_T))
    total = np.concatenate([[0.0], np.cumsum(a_T.astype(np.float64))])
    return int((total[length:] - total[:-length]).argmax())


def _scaled(x_T: np.ndarray) -> np.ndarray:
    return np.asarray(x_T / max(float(np.abs(x_T).max(initial=0.0)), 1e-9))
