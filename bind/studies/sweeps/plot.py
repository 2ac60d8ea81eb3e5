"""The plot of a sweep: one panel per override that changed, its value against the score."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from bind.report.style import ACCENT, FAINT, INK, LINES, WRONG, figure
from bind.studies.sweeps.jobs import SweepJob, starting_order, swept_keys

_PANELS_A_ROW = 4
_MOST_TICKS = 8  # more values than that, or longer ones, are an axis of numbers where they are numbers
_MARKS = {"failed": ("x", WRONG), "stopped": ("s", FAINT), "running": ("^", FAINT)}  # of jobs without a score
_LONGEST_TICK = 8  # characters; the values that a sampler draws are longer


def plot_sweep(jobs: list[SweepJob], png: Path) -> Path | None:
    """Draw the scores of `jobs` (see `read_jobs`) into `png`; returns `png`, or None where no job has a score.

    Every job is in every panel. Colours are seeds where there are a few of them; the line is the mean over the jobs
    with a value; at the foot stand the jobs without a score.
    """
    if jobs[0].score is None:
        return None
    swept = swept_keys(jobs)
    keys = [key for key in swept if key != "seed"] or swept or ["job"]
    colours = _seed_colours(jobs) if keys != ["seed"] else {}
    num_columns = min(len(keys), _PANELS_A_ROW)
    num_rows = -(-len(keys) // num_columns)
    with figure(png, 0.8 + 3.0 * max(num_columns, 1.6), 1.2 + 2.9 * num_rows) as drawing:
        all_axes = list(drawing.subplots(num_rows, num_columns, sharey=True, squeeze=False).flat)
        for ax, key in zip(all_axes, keys, strict=False):
            _draw_panel(ax, sorted(jobs, key=starting_order), jobs[0], key, colours)
        for ax in all_axes[len(keys) :]:
            ax.set_visible(False)
        for ax in all_axes[::num_columns]:
            ax.set_ylabel(jobs[0].monitor)
        all_axes[0].margins(y=0.12)  # all share it; the foot is for what has no score
        title = f"Best {jobs[0].monitor} {jobs[0].score:.3f}: job {jobs[0].name} ({len(jobs)} tried)"
        drawing.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        drawing.legend(handles=_legend(jobs, colours), loc="outside lower left", ncols=10, handletextpad=0.4)
    return png


def _draw_panel(ax: Axes, jobs: list[SweepJob], best: SweepJob, key: str, colours: dict[str, str]) -> None:
    values = {job.name: job.name if key == "job" else job.overrides.get(key, "–") for job in jobs}
    ticks = list(dict.fromkeys(values.values()))
    numbers = _numbers(ticks)
    ordered = len(numbers) == len(ticks)
    spaced = not ordered or (len(ticks) <= _MOST_TICKS and all(len(text) <= _LONGEST_TICK for text in ticks))
    if ordered:
        ticks.sort(key=numbers.__getitem__)
    # Values of a grid lie a step apart, whatever they are.
    place = {text: float(index) for index, text in enumerate(ticks)} if spaced else numbers
    scores = {text: [j.score for j in jobs if values[j.name] == text and j.score is not None] for text in ticks}
    if key in ("seed", "job"):
        ax.axhline(fmean(chain(*scores.values())), color=INK, linewidth=1.4, zorder=2)
    elif spaced:
        means = [(place[text], fmean(known)) for text, known in scores.items() if known]
        if ordered:
            ax.plot(*zip(*means, strict=True), color=INK, linewidth=1.4, zorder=2)
        for x, mean in means:
            ax.plot([x - 0.18, x + 0.18], [mean, mean], color=INK, linewidth=1.4, zorder=2)
    seeds = list(colours)
    for index, job in enumerate(jobs):
        x, seed = place[values[job.name]], job.overrides.get("seed", "")
        if spaced and seeds:
            x += 0.3 * ((seeds.index(seed) + 0.5) / len(seeds) - 0.5)
        elif spaced and len(jobs) > len(ticks):
            x += 0.3 * (index * 0.618 % 1 - 0.5)  # beside each other, the same in every drawing
        if job.score is None:
            marker, colour = _MARKS.get(job.status, _MARKS["running"])
            ax.plot(x, 0.03, marker, color=colour, markersize=5, transform=ax.get_xaxis_transform(), zorder=4)
            continue
        colour = colours.get(seed, LINES[0])
        ax.plot(x, job.score, "o", color=colour, markersize=5.5, alpha=0.75, markeredgewidth=0, zorder=3)
        if job is best:
            ax.plot(x, job.score, "o", markersize=10, markerfacecolor="none", markeredgecolor=ACCENT, zorder=4)
    if spaced:
        _name_ticks(ax, ticks)
    elif min(numbers.values()) > 0 and max(numbers.values()) >= 8 * min(numbers.values()):
        ax.set_xscale("log")
        decades = max(numbers.values()) >= 50 * min(numbers.values())
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0,) if decades else (1.0, 2.0, 5.0), numticks=6))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter("{x:g}")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(key)


def _name_ticks(ax: Axes, ticks: list[str]) -> None:
    names = [text if len(text) <= 16 else f"{text[:7]}…{text[-7:]}" for text in ticks]
    if sum(map(len, names)) > 24:
        ax.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    else:
        ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.5, len(names) - 0.5)


def _numbers(texts: list[str]) -> dict[str, float]:
    """The texts that are numbers, with their values."""
    numbers = {}
    for text in texts:
        try:
            numbers[text] = float(text)
        except ValueError:
            continue
    return numbers


def _seed_colours(jobs: list[SweepJob]) -> dict[str, str]:
    """A colour per seed; {} where the sweep has one seed, or more than there are colours."""
    seeds = {job.overrides.get("seed", "") for job in jobs}
    if not 1 < len(seeds) <= len(LINES):
        return {}
    return dict(zip(sorted(seeds, key=lambda seed: (len(seed), seed)), LINES, strict=False))


def _legend(jobs: list[SweepJob], colours: dict[str, str]) -> list[Line2D]:
    def mark(label: str, marker: str, colour: str, size: float = 5.5, **options: Any) -> Line2D:
        return Line2D([], [], linestyle="", marker=marker, color=colour, label=label, markersize=size, **options)

    entries = [mark(f"seed {seed}", "o", colour) for seed, colour in colours.items()] or [mark("job", "o", LINES[0])]
    entries += [mark("best", "o", ACCENT, 10, markerfacecolor="none"), Line2D([], [], color=INK, label="mean")]
    entries += [mark(status, *marked) for status, marked in _MARKS.items() if any(j.status == status for j in jobs)]
    return entries
