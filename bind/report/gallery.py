"""The drawing of queries with their top results: pictures, spectrograms, sensor traces, depth maps and text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bind.report.media import MissingValue, spectrogram
from bind.report.style import DEPTH, FAINT, INK, LINES, RIGHT, SPECTROGRAM, WRONG, figure
from bind.types import SensorRecording, Waveform

_CELL = 2.05  # inches, the drawing without its heading
_HEADING = 0.55  # inches above it: score and caption
_GAP = 0.16


@dataclass(frozen=True)
class Result:
    """One retrieved item: its value (see `Sample.values`), its cosine or other score, and whether it is relevant."""

    value: Any
    score: float
    relevant: bool
    caption: str = ""


@dataclass(frozen=True)
class Query:
    """A query's value and its results, best first."""

    value: Any
    results: Sequence[Result]
    caption: str = ""


def plot_gallery(queries: Sequence[Query], png: Path, *, title: str = "") -> Path:
    """One row per query: the query, then its results with score, relevant ones framed green, others red; returns `png`.

    Values: text, uint8 pictures (H, W, 3), depth maps (H, W) in metres, `Waveform`, `SensorRecording`, and
    `MissingValue`, whose reason is written.

    Raises:
        ValueError: no queries, or a value that is none of these (load a `Clip` first).
    """
    if not queries:
        raise ValueError("plot_gallery needs at least one query")
    num_columns = 1 + max(len(query.results) for query in queries)
    row_height, top = _CELL + _HEADING + _GAP, 0.5 if title else 0.1
    # The query stands apart from its results by twice the gap.
    width, height = num_columns * (_CELL + _GAP) + 2 * _GAP, len(queries) * row_height + top + _GAP
    with figure(png, width, height, layout=None) as drawing:
        if title:
            drawing.text(_GAP / width, 1 - 0.28 / height, title, fontsize=13, fontweight="bold", va="center")
        for row, query in enumerate(queries):
            bottom = height - top - (row + 1) * row_height + _GAP
            _draw_cell(drawing, _GAP, bottom, query.value, "query", query.caption, None)
            for column, result in enumerate(query.results, start=1):
                left = column * (_CELL + _GAP) + 2 * _GAP
                heading = f"{column}   {'✓' if result.relevant else '✗'}   {result.score:.3f}"
                _draw_cell(drawing, left, bottom, result.value, heading, result.caption, result.relevant)
    return png


def _draw_cell(
    drawing: Figure, left: float, bottom: float, value: Any, heading: str, caption: str, relevant: bool | None
) -> None:
    """Draw one value with its lower left corner at (left, bottom) inches."""
    width, height = drawing.get_size_inches()

    def axes(x: float, y: float, w: float, h: float) -> Axes:
        """Axes at fractions of the cell."""
        box = ((left + x * _CELL) / width, (bottom + y * _CELL) / height, w * _CELL / width, h * _CELL / height)
        return drawing.add_axes(box)

    colour = INK if relevant is None else RIGHT if relevant else WRONG
    frame = Rectangle(
        (left / width, bottom / height),
        _CELL / width,
        _CELL / height,
        transform=drawing.transFigure,
        fill=False,
        edgecolor=FAINT if relevant is None else colour,
        linewidth=1.0 if relevant is None else 3.0,
        linestyle="-" if relevant is not False else (0, (4, 1.5)),
    )
    drawing.add_artist(frame)
    x, y = left / width, (bottom + _CELL + 0.09) / height
    drawing.text(x, y + 0.22 / height, heading, color=colour, fontweight="bold", fontsize=10.5)
    drawing.text(x, y, textwrap.shorten(caption, 32, placeholder=" …"), fontsize=8.5)

    if isinstance(value, str):
        _draw_text(axes(0.03, 0.03, 0.94, 0.94), value)
    elif isinstance(value, MissingValue):
        _draw_text(axes(0.03, 0.03, 0.94, 0.94), f"can't be shown: {value.reason}")
    elif isinstance(value, Waveform):
        _draw_spectrogram(axes(0.18, 0.20, 0.73, 0.75), value)
    elif isinstance(value, SensorRecording):
        units = list(dict.fromkeys(value.units))
        share = 0.76 / len(units)
        for index, unit in enumerate(units):
            ax = axes(0.24, 0.21 + (len(units) - 1 - index) * share, 0.70, share - 0.04)
            _draw_traces(ax, value, unit, last=index == len(units) - 1)
    elif isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3:
        _draw_picture(axes(0.02, 0.02, 0.96, 0.96), value)
    elif isinstance(value, np.ndarray) and value.ndim == 2 and np.issubdtype(value.dtype, np.floating):
        _draw_picture(axes(0.02, 0.13, 0.96, 0.85), value, cmap=DEPTH)
        span = f"depth {np.nanmin(value):.2f} (dark) – {np.nanmax(value):.2f} m"
        drawing.text((left + _CELL / 2) / width, (bottom + 0.08) / height, span, fontsize=7.5, ha="center")
    else:
        got = f"{value.dtype} array {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(
            f"a gallery draws text, uint8 pictures (H, W, 3), depth (H, W) in metres, Waveform and SensorRecording, "
            f"got {got}"
        )


def _draw_picture(ax: Axes, pixels: np.ndarray, cmap: str | None = None) -> None:
    ax.imshow(pixels, cmap=cmap, interpolation="nearest")
    ax.axis("off")


def _draw_text(ax: Axes, text: str) -> None:
    ax.axis("off")
    lines = textwrap.wrap(text, 23, max_lines=9, placeholder=" …")
    ax.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=10.5, linespacing=1.35)


def _draw_spectrogram(ax: Axes, sound: Waveform) -> None:
    decibels, seconds, highest_hz = spectrogram(sound)
    extent = (0, seconds, 0, highest_hz / 1000)
    ax.imshow(decibels, origin="lower", aspect="auto", extent=extent, cmap=SPECTROGRAM, vmin=-80, vmax=0)
    ax.grid(visible=False)
    _small_axes(ax, "s", "kHz")


def _draw_traces(ax: Axes, recording: SensorRecording, unit: str, *, last: bool) -> None:
    seconds = np.arange(len(recording.values)) / recording.sample_rate_hz
    columns = [index for index, channel_unit in enumerate(recording.units) if channel_unit == unit]
    for order, column in enumerate(columns):
        name = recording.channels[column]
        ax.plot(seconds, recording.values[:, column], color=LINES[order % len(LINES)], linewidth=0.9, label=name)
    ax.margins(x=0)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.38 * (high - low))  # room for the legend
    ax.legend(
        loc="upper right", ncols=3, fontsize=6, handlelength=0.8, columnspacing=0.6, handletextpad=0.3, borderpad=0
    )
    _small_axes(ax, "s" if last else "", unit)
    ax.tick_params(labelbottom=last)


def _small_axes(ax: Axes, x_label: str, y_label: str) -> None:
    ax.tick_params(labelsize=6.5, length=2, pad=1.5)
    ax.set_xlabel(x_label, fontsize=7, labelpad=1)
    ax.set_ylabel(y_label, fontsize=7, labelpad=1)
    ax.locator_params(nbins=4)
