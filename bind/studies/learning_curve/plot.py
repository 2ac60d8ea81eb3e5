"""Plot of a learning curve: figures against owners, with the law and its interval up to twice the owners."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bind.report.style import ACCENT, INK, figure
from bind.studies.learning_curve.cells import Curve
from bind.studies.learning_curve.fit import fit_power_law

PANELS_A_ROW = 3


def plot_curves(curves: Sequence[Curve], png: Path) -> None:
    """Draw one panel per figure into `png`."""
    num_columns = min(len(curves), PANELS_A_ROW)
    num_rows = -(-len(curves) // num_columns)
    with figure(png, 0.6 + 3.3 * max(num_columns, 1.4), 0.9 + 2.8 * num_rows) as drawing:
        all_axes = list(drawing.subplots(num_rows, num_columns, squeeze=False).flat)
        for ax, curve in zip(all_axes, curves, strict=False):
            numbers = sorted({point.num_owners for point in curve.points})
            if curve.twice is not None:
                law = fit_power_law(curve.points)
                owners = np.geomspace(numbers[0], 2 * numbers[-1], 60)
                middle, low, high = np.array([law.predict(number) for number in owners]).T
                ax.fill_between(owners, low, high, color=ACCENT, alpha=0.15, linewidth=0)
                ax.plot(owners, middle, color=ACCENT)
                numbers.append(2 * numbers[-1])
            ax.plot(
                [p.num_owners for p in curve.points], [p.figure for p in curve.points], "o", color=INK, markersize=4
            )
            ax.set_xscale("log", base=2)
            ax.set_xticks(numbers, [str(number) for number in numbers])
            ax.minorticks_off()
            ax.set_title(curve.name, loc="left", fontsize=10)
            ax.set_xlabel("owners trained on")
        for ax in all_axes[len(curves) :]:
            ax.set_visible(False)
