"""Picture of a time line: the recording's course above its segments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MultipleLocator

from bind.report.label_colours import label_colours
from bind.report.style import FAINT, INK, LINES, figure
from bind.studies.timeline.times import clock_text, seconds_of_labels, tick_seconds
from bind.timeline.segments import NONE
from bind.timeline.timeline import Timeline
from bind.timeline.trace import Trace

WIDTH_INCHES = 11.0
NUM_TICKS = 12
INCHES_OF_LETTER = 0.075
"""Of the names on segments."""
HALO = (withStroke(linewidth=2, foreground="white"),)
"""Behind them, since some colours are dark."""
FAINT_SHARE = 0.2
"""How strongly the rest of a segment above its confidence is drawn; the script of the page has the same."""


def plot_timeline(timeline: Timeline, title: str, png: Path) -> Path:
    """Draw the channels of each unit in a panel, and below them the segments, as high as they are sure."""
    units = list(dict.fromkeys(timeline.trace.units)) if timeline.trace else []
    heights = [1.5] * len(units) + [0.9]
    totals = seconds_of_labels(timeline.segments)
    colours = label_colours(list(totals), NONE)
    with figure(png, WIDTH_INCHES, 1.3 + sum(heights) + 0.22 * -(-len(totals) // 4)) as drawing:
        axes = drawing.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for ax, unit in zip(axes, units, strict=False):
            assert timeline.trace is not None
            _draw_trace(ax, timeline.trace, unit)
        bar = axes[-1]
        for segment in timeline.segments:
            span = segment.start_seconds, segment.end_seconds
            bar.axvspan(*span, color=colours[segment.label], alpha=FAINT_SHARE, linewidth=0)
            bar.axvspan(*span, ymax=segment.confidence, color=colours[segment.label], linewidth=0)
            inches = WIDTH_INCHES * segment.seconds / (timeline.end_seconds - timeline.start_seconds)
            if name := name_that_fits(segment.label, list(totals), inches):
                place = (segment.start_seconds, 0)
                bar.annotate(name, place, (3, 4), textcoords="offset points", fontsize=8, path_effects=HALO)
        bar.set_ylim(0, 1)
        bar.set_yticks([0, 0.5, 1])
        bar.grid(visible=False)
        bar.set_ylabel("confidence")
        bar.set_xlim(timeline.start_seconds, timeline.end_seconds)
        apart = tick_seconds(timeline.end_seconds - timeline.start_seconds, NUM_TICKS)
        last = None if apart < 1 else -2  # tenths only where they differ
        bar.xaxis.set_major_locator(MultipleLocator(apart))
        bar.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock_text(max(0.0, seconds))[:last]))
        axes[0].set_title(title)
        patches = [
            Patch(color=colours[label], label=f"{number} {label}, {seconds:.0f} s")
            for number, (label, seconds) in enumerate(totals.items(), start=1)
        ]
        drawing.legend(handles=patches, loc="outside lower center", ncols=4)
    return png


def name_that_fits(label: str, labels: Sequence[str], inches: float) -> str:
    """A label where it fits into a segment, else its number in the legend, else nothing.

    Examples:
        >>> [name_that_fits("walking", ["sitting", "walking"], inches) for inches in (1.0, 0.3, 0.1)]
        ['walking', '2', '']
    """
    names = (label, str(labels.index(label) + 1), "")
    return next(name for name in names if not name or INCHES_OF_LETTER * (len(name) + 1) <= inches)


def _draw_trace(ax: Axes, trace: Trace, unit: str) -> None:
    edges = np.linspace(trace.start_seconds, trace.end_seconds, trace.num_bins + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    columns = [column for column, other in enumerate(trace.units) if other == unit]
    for place, column in enumerate(columns):
        colour = LINES[place % len(LINES)] if len(columns) > 1 else INK
        ax.fill_between(
            middles, trace.low_BC[:, column], trace.high_BC[:, column], color=colour, alpha=0.7, linewidth=0.3,
            label=trace.channels[column],
        )  # fmt: skip
    ax.set_ylabel(unit or "sound")
    if len(columns) > 1:
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(columns), fontsize=8, labelcolor=FAINT)
