"""What noise and missing inputs do, as curves: of each modality alone, and of every fusion head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bind.report.style import FAINT, INK, LINES, figure, line_style

Curve = Mapping[str, Any]
"""`label`, `levels` (the first is None, undisturbed) and `tasks`, as in `robustness.json`."""

PLAIN_SUM = "plain sum"
_SAME_AS_PLAIN_SUM = "late: sum"  # wherever the pool is of one modality
_DASHES = {"trained": "-", "emergent": "--", "anchor": "-."}


def plot_robustness(study: Mapping[str, Any], folder: Path, suffix: str = "") -> dict[str, Path]:
    """Draw what `robustness.json` holds into `folder`; caption → PNG."""
    pngs: dict[str, Path] = {}
    for modality, curves in study["noise"].items():
        png = folder / f"robustness{suffix}_{modality}.png"
        title = f"Noise in {modality}, {study['split']} split"
        pngs[title] = plot_noise(title, curves, png)
    if fusion := study["fusion"]:
        fused = " and ".join(fusion["inputs"])
        for modality, curves in fusion["noise"].items():
            png = folder / f"robustness{suffix}_fusion_{modality}.png"
            title = f"{fused} fused, noise in {modality}, {study['split']} split"
            pngs[title] = plot_heads(title, list(curves.values()), fusion, main_tasks(fusion["tasks"]), png)
        png = folder / f"robustness{suffix}_missing.png"
        title = f"{fused} fused, one of them missing, {study['split']} split"
        pngs[title] = plot_heads(title, list(fusion["missing"].values()), fusion, list(fusion["tasks"]), png)
    return pngs


def main_tasks(tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Trained pairs and classes; all tasks where no pair is trained."""
    pools = [name for name, task in tasks.items() if task.get("trained")]
    return [name for name, task in tasks.items() if name in pools or "label_set" in task] if pools else list(tasks)


def plot_noise(title: str, curves: Mapping[str, Curve], png: Path) -> Path:
    """A column per kind of noise; rows of R@1, R@5 and zero-shot accuracy, where there are any."""
    tasks: Mapping[str, Mapping[str, Any]] = next(iter(curves.values()))["tasks"]
    pools = [name for name, task in tasks.items() if "label_set" not in task]
    classes = [name for name in tasks if name not in pools]
    rows = [("R@1", "R@1", pools), ("R@5", "R@5", pools)] if pools else []
    rows += [("R@1", "zero-shot top-1", classes)] if classes else []
    with figure(png, max(6.5, 0.8 + 3.0 * len(curves)), 1.0 + 2.5 * len(rows)) as drawing:
        grid = drawing.subplots(len(rows), len(curves), sharex="col", sharey="row", squeeze=False)
        for axes, (name, y_label, task_names) in zip(grid, rows, strict=True):
            axes[0].set_ylabel(y_label)
            for ax, curve in zip(axes, curves.values(), strict=True):
                for task_name in task_names:
                    task = curve["tasks"][task_name]
                    colour = LINES[list(tasks).index(task_name) % len(LINES)]
                    what = task_name if "label_set" in task else f"→ {task_name} ({task['kind']})"
                    dash = _DASHES[task.get("kind", "trained")]
                    _draw(ax, places(curve), task["points"], name, label=what, color=colour, linestyle=dash)
                    if name == "R@1" and "ceiling_R@1" in task:
                        best = {"linewidth": 0.9, "linestyle": ":", "label": "best possible, in its colour"}
                        ax.axhline(task["ceiling_R@1"], color=colour, **best)
                _draw_chance(
                    ax, [point for task_name in task_names for point in curve["tasks"][task_name]["points"]], name
                )
        _finish(drawing, grid, title, list(curves.values()))
    return png


def plot_heads(
    title: str, curves: Sequence[Curve], fusion: Mapping[str, Any], task_names: Sequence[str], png: Path
) -> Path:
    """A column per curve; two rows per task: R@1 of every head, and how far each fusion is above the plain sum."""
    heights = [2.6, 1.5] * len(task_names)
    with figure(png, max(6.5, 0.8 + 3.2 * len(curves)), 1.2 + sum(heights)) as drawing:
        grid = drawing.subplots(
            len(heights), len(curves), sharex="col", sharey="row", squeeze=False, height_ratios=heights
        )
        for row, name in enumerate(task_names):
            task, upper, lower = fusion["tasks"][name], grid[2 * row], grid[2 * row + 1]
            upper[0].set_ylabel("zero-shot top-1" if "label_set" in task else f"R@1 → {name}")
            lower[0].set_ylabel("above the\nplain sum")
            for ax, below, curve in zip(upper, lower, curves, strict=True):
                at, heads = places(curve), curve["tasks"][name]
                for index, (head, points) in enumerate(heads.items()):
                    style = {**line_style(index), "label": head}
                    if head == PLAIN_SUM:
                        style |= {"color": FAINT, "linewidth": 5.0}  # seen under the heads that lie on it
                    if head == _SAME_AS_PLAIN_SUM:
                        style |= {"linestyle": "--"}
                    _draw(ax, at, points, "R@1", band=head == PLAIN_SUM, **style)
                    if head not in (*fusion["inputs"], PLAIN_SUM, _SAME_AS_PLAIN_SUM):
                        _draw(below, at, points, "above_plain_sum", **style)
                _draw_chance(ax, [point for points in heads.values() for point in points], "R@1")
                if "ceiling_R@1" in task:
                    ax.axhline(task["ceiling_R@1"], color=FAINT, linestyle="-.", linewidth=1.0, label="best possible")
                below.axhline(0.0, color=INK, linewidth=0.8)
        _finish(drawing, grid, title, curves)
    return png


def places(curve: Curve) -> list[float]:
    """Where levels stand on the axis: shares of missing queries where they are, noise one step from the next."""
    levels = curve["levels"]
    return levels if levels[0] is not None else [float(place) for place in range(len(levels))]


def _draw(
    ax: Axes, at: Sequence[float], points: Sequence[Mapping[str, Any]], name: str, *, band: bool = True, **style: Any
) -> None:
    if band:
        low, high = zip(*(point[f"ci95_{name}"] for point in points), strict=True)
        ax.fill_between(at, low, high, color=style["color"], alpha=0.13, linewidth=0)
    ax.plot(at, [point[name] for point in points], marker="o", markersize=3, **style)


def _draw_chance(ax: Axes, points: Iterable[Mapping[str, Any]], name: str) -> None:
    for chance in sorted({round(point[f"chance_{name}"], 3) for point in points}):
        ax.axhline(chance, color=FAINT, linestyle=":", linewidth=1.2, label="chance")


def _finish(drawing: Figure, grid: Any, title: str, curves: Sequence[Curve]) -> None:
    for ax, curve in zip(grid[-1], curves, strict=True):
        ax.set_xlabel(curve["label"])
        ax.set_xticks(places(curve), ["none" if level is None else f"{level:g}" for level in curve["levels"]])
    drawing.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    handles = {handle.get_label(): handle for ax in grid.flat for handle in ax.get_legend_handles_labels()[0]}
    drawing.legend(handles=list(handles.values()), loc="outside lower center", ncols=4)
