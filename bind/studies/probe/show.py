"""Probes of frozen embeddings as a table, and as curves of accuracy against examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from bind.report.cells import Cells, format_interval, format_score
from bind.report.retrieval_table import resampled_note
from bind.report.style import FAINT, LINES, figure

_LAST_HEADERS = ("linear", "95 % CI", "classes", "queries")


def probe_cells(study: Mapping[str, Any]) -> Cells:
    """A row per task of what `probe.json` holds."""
    tasks: Mapping[str, Mapping[str, Any]] = study["tasks"]
    ks = list(next(iter(tasks.values()))["few_shot"])
    rows = []
    for task in tasks.values():
        zero_shot, linear = task["zero_shot"] or {}, task["linear"] or {}
        few = [f"{task['few_shot'][k]['accuracy']:.3f}\u00a0±{task['few_shot'][k]['std']:.2f}" for k in ks]
        learned = (format_score(linear.get("accuracy")), format_interval(linear.get("ci95_accuracy")))
        sizes = (f"{task['num_classes']}", f"{task['queries']}")
        rows.append(
            (task["title"], f"{task['chance']:.3f}", format_score(zero_shot.get("accuracy")), *few, *learned, *sizes)
        )
    return Cells(
        title=f"Probes of frozen embeddings, {study['split']} split",
        caption="accuracy; k =: nearest centroid of k training examples per class, mean ± standard deviation over "
        f"{study['draws']} draws; linear: logistic regression on the whole training split, penalty chosen on val; "
        + resampled_note("95 % CI of linear", tasks.values()),
        headers=("modality / labels", "chance", "zero-shot", *(f"k = {k}" for k in ks), *_LAST_HEADERS),
        sections={"": rows},
    )


def plot_probe(study: Mapping[str, Any], png: Path) -> Path:
    """A panel per task of `probe.json`: accuracy against examples per class, beside zero-shot, linear and chance."""
    tasks: Mapping[str, Mapping[str, Any]] = study["tasks"]
    columns = min(3, len(tasks))
    lines = math.ceil(len(tasks) / columns)
    with figure(png, max(6.5, 3.4 * columns), 0.7 + 2.9 * lines) as drawing:
        all_axes = drawing.subplots(lines, columns, sharey=True, squeeze=False)
        for ax, task in zip(all_axes.flat, tasks.values(), strict=False):
            _draw_task(ax, task)
            ax.set_title(f"{task['title']}, {task['num_classes']} classes")
        for ax in all_axes.flat[len(tasks) :]:
            ax.set_visible(False)
        for ax in all_axes[:, 0]:
            ax.set_ylabel(f"accuracy, {study['split']} split")
        handles = {handle.get_label(): handle for ax in all_axes.flat for handle in ax.get_legend_handles_labels()[0]}
        drawing.legend(handles=list(handles.values()), loc="outside lower center", ncols=2)
    return png


def _draw_task(ax: Axes, task: Mapping[str, Any]) -> None:
    few = {int(k): figures for k, figures in task["few_shot"].items()}
    ks, means = list(few), [figures["accuracy"] for figures in few.values()]
    lowest, highest = zip(*((min(f["draws"]), max(f["draws"])) for f in few.values()), strict=True)
    ax.fill_between(ks, lowest, highest, color=LINES[0], alpha=0.18, linewidth=0)
    ax.plot(ks, means, color=LINES[0], marker="o", markersize=4, label="k examples per class, range over draws")
    if zero_shot := task["zero_shot"]:
        ax.axhline(zero_shot["accuracy"], color=LINES[1], linestyle="--", label="zero-shot")
    if linear := task["linear"]:
        ax.axhline(linear["accuracy"], color=LINES[2], linestyle="-.", label="linear, all examples")
    ax.axhline(task["chance"], color=FAINT, linestyle=":", label="chance")
    ax.set_xscale("log", base=2)
    ax.set_xticks(ks, [str(k) for k in ks])
    ax.minorticks_off()
    ax.set_xlabel("examples per class")
    ax.set_ylim(0, 1.02)
