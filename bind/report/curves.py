"""Curves of a training from the logger's CSV: loss, scale, validation recall and the shape of the space."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bind.report.style import FAINT, INK, figure, line_style

Curve = tuple[np.ndarray, np.ndarray]
"""Steps (N,) ascending and values (N,)."""

ONE_POINT = "logged once: a longer training, or trainer.log_every_n_steps=1, makes it a curve"
"""What a panel says whose curves have a single point each."""
_NOISY_POINTS = 60  # a curve with more points is drawn faint, with its moving mean on top


class _Panel(NamedTuple):
    title: str
    y_label: str
    columns: re.Pattern[str]  # what it captures is the curve's name
    height_inches: float = 3.1


_PANELS = (
    _Panel("Training loss", "loss (nats)", re.compile(r"train/loss/(?!masked/)(.+)")),
    _Panel("Scale of each pair", "scale (1 / temperature)", re.compile(r"train/scale/(.+)")),
    _Panel("Error at hidden patches", "squared error", re.compile(r"train/loss/masked/(.+)"), 2.4),
    _Panel("Validation: what is explained of hidden patches", "share", re.compile(r"val/masked/(.+)/explained"), 2.4),
    _Panel("Validation recall", "R@1", re.compile(r"val/(.+)[/_]R@1")),
    _Panel("Effective rank (1: one direction)", "dimensions", re.compile(r"val/space/(.+)/effective_rank"), 2.4),
    _Panel("Uniformity (0: all vectors equal)", "log potential", re.compile(r"val/space/(.+)/uniformity"), 2.4),
    _Panel("Modality gap (0: none)", "distance", re.compile(r"val/space/(.+)/gap"), 2.4),
    _Panel("Alignment of pairs (0: equal vectors)", "squared distance", re.compile(r"val/space/(.+)/alignment"), 2.4),
    _Panel("Hubness of the pool (0: none)", "skewness", re.compile(r"val/space/(.+)/hubness"), 2.4),
)


def plot_curves(metrics_csv: Path, png: Path, titles: Mapping[str, str] | None = None) -> Path:
    """Draw the `train/` and `val/` columns of `metrics_csv` that have a panel into `png`; returns `png`.

    A quantity that was never logged has no panel. Where a resumed run logged a step twice, the later row counts.

    Args:
        titles: what the legend calls a pair or modality of the log, `audio_to_image` → `audio → image`; without, as
            logged.

    Raises:
        ValueError: the file has none of these columns, or no `step` column.
    """
    curves = read_curves(metrics_csv)
    panels = [(panel, matching) for panel in _PANELS if (matching := _matching(panel.columns, curves))]
    if not panels:
        raise ValueError(f"{metrics_csv} has no train/loss/…, train/scale/… or val/… column with values to draw")
    heights = [panel.height_inches for panel, _ in panels]
    with figure(png, 11, sum(heights)) as drawing:
        all_axes = drawing.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for ax, (panel, matching) in zip(all_axes, panels, strict=True):
            _draw_panel(ax, panel, matching, titles or {})
        all_axes[-1].set_xlabel("training step")
    return png


def read_curves(metrics_csv: Path) -> dict[str, Curve]:
    """Every numeric column of a sparse CSV log as (steps, values); empty cells are left out, not filled."""
    columns: dict[str, dict[int, float]] = {}
    with metrics_csv.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if "step" not in (reader.fieldnames or ()):
            raise ValueError(f"{metrics_csv} has no `step` column: is it the metrics.csv of a run's CSV logger?")
        for row in reader:
            for name, cell in row.items():
                if name not in ("step", "epoch") and cell:
                    columns.setdefault(name, {})[int(row["step"])] = float(cell)
    return {
        name: (np.array(sorted(points)), np.array([points[step] for step in sorted(points)]))
        for name, points in columns.items()
    }


def _matching(pattern: re.Pattern[str], curves: dict[str, Curve]) -> dict[str, Curve]:
    return {match[1]: curve for name, curve in curves.items() if (match := pattern.fullmatch(name))}


def _draw_panel(ax: Axes, panel: _Panel, curves: dict[str, Curve], titles: Mapping[str, str]) -> None:
    ax.set_title(panel.title)
    ax.set_ylabel(panel.y_label)
    # The mean stands out by width and colour; it takes no place among the line styles.
    mean = curves.pop("mean", None)
    # Styles follow the log, so that a pair looks the same in every panel; the legend is sorted by the last value.
    styles = {name: line_style(index) for index, name in enumerate(curves)}
    for name, (steps, values) in sorted(curves.items(), key=lambda item: -item[1][1][-1]):
        style = styles[name]
        if len(steps) > _NOISY_POINTS:
            ax.plot(steps, values, **style, alpha=0.25, linewidth=0.8)
            steps, values = _moving_mean(steps, values)
        ax.plot(
            steps,
            values,
            **style,
            label=titles.get(name, name),
            marker="o" if len(steps) <= 12 else None,
            markersize=3.5,
        )
    if mean is not None:
        ax.plot(*mean, color=INK, linewidth=3, label="mean (monitored)", marker="o" if len(mean[0]) <= 12 else None)
    if panel.y_label == "R@1":
        ax.set_ylim(0, 1)
    elif all(math.isclose(values.min(), values.max(), rel_tol=1e-6) for _, values in curves.values()):
        ax.margins(y=0.5)
    shown = [*curves.values(), *([mean] if mean is not None else [])]
    if all(len(steps) == 1 for steps, _ in shown):
        ax.text(0.5, 0.94, ONE_POINT, transform=ax.transAxes, ha="center", va="top", color=FAINT)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.03), ncols=1 + (len(curves) > 12), handlelength=2.6)


def _moving_mean(steps: np.ndarray, values: np.ndarray) -> Curve:
    window = max(3, len(values) // 30)
    kernel = np.ones(window) / window
    return np.convolve(steps, kernel, mode="valid"), np.convolve(values, kernel, mode="valid")
