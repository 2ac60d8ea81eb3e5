"""The tables of zero-shot figures: into one class, into several, and class by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bind.report.cells import MISSING, Cells, describe_split, format_interval, format_score, without_empty_columns
from bind.report.retrieval_table import SECTIONS, resampled_note, title_with_label


def zero_shot_cells(metrics: Mapping[str, Any]) -> Cells:
    """Rows of `metrics["zero_shot"]` (see `metrics.json`) where a sample is of one class."""
    entries = {key: entry for key, entry in metrics["zero_shot"].items() if "top1" in entry}
    with_top5 = any(entry["num_classes"] > 5 and "top5" in entry for entry in entries.values())
    sections: dict[str, list[tuple[str, ...]]] = {}
    for key, entry in sorted(entries.items(), key=lambda item: [*SECTIONS, None].index(item[1].get("kind"))):
        row: tuple[str, ...] = (
            title_with_label(key, entry),
            format_score(entry["top1"]),
            format_interval(entry.get("ci95_top1")),
        )
        if with_top5:
            row += (format_score(entry.get("top5")), format_interval(entry.get("ci95_top5")))
        row = (*row, format_score(entry["chance"]), str(entry["num_classes"]), f"{entry['queries']}")
        sections.setdefault(SECTIONS.get(entry.get("kind", ""), ""), []).append(row)
    templates = dict.fromkeys(template for entry in entries.values() for template in entry.get("templates", ()))
    prompts = f" ({', '.join(map(repr, templates))})" if templates else ""
    top5 = ("top-5", "95 % CI") if with_top5 else ()
    return Cells(
        title=f"Zero-shot classification, {describe_split(metrics)}",
        caption=f"nearest class by its text prompts{prompts}; a tie counts as wrong; chance: 1 / classes; "
        + resampled_note("95 % CI", entries.values()),
        headers=("modality / labels", "top-1", "95 % CI", *top5, "chance", "classes", "queries"),
        sections=sections,
    )


def multi_label_cells(metrics: Mapping[str, Any]) -> Cells:
    """Rows of `metrics["zero_shot"]` where a sample may be of several classes."""
    entries = {key: entry for key, entry in metrics["zero_shot"].items() if "map" in entry}
    rows: list[tuple[str, ...]] = [
        (
            key,
            format_score(e["map"]),
            format_interval(e["ci95_map"]),
            format_score(e["chance"]),
            f"{e['num_classes']}",
            f"{e['queries']}",
        )
        for key, e in entries.items()
    ]
    left_out = sum(entry["classes_without_items"] for entry in entries.values())
    return Cells(
        title=f"Zero-shot classification into several classes, {describe_split(metrics)}",
        caption="mAP: mean over classes of the average precision of all samples ranked by the class's prompts; a tie "
        "counts as wrong; chance: of a random order; "
        + (f"{left_out} {'class' if left_out == 1 else 'classes'} without samples left out; " if left_out else "")
        + resampled_note("95 % CI", entries.values()),
        headers=("modality / labels", "mAP", "95 % CI", "chance", "classes", "samples"),
        sections={"": rows},
    )


def class_cells(metrics: Mapping[str, Any], num_worst: int | None = None) -> Cells | None:
    """A row for every class of every zero-shot task with samples; None where there are none.

    With `num_worst`, of each task only so many classes, those found least; a class that is always found is never one.
    """
    sections: dict[str, list[tuple[str, ...]]] = {}
    for key, entry in metrics.get("zero_shot", {}).items():
        with_samples = {name: figures for name, figures in entry.get("per_class", {}).items() if figures["support"]}
        names = list(with_samples)
        if num_worst is not None:
            recall = {
                name: figures.get("recall", figures.get("average_precision")) for name, figures in with_samples.items()
            }
            names = sorted((name for name in names if recall[name] < 1), key=recall.__getitem__)[:num_worst]
        if names:
            sections[key] = [_class_row(name, with_samples[name]) for name in names]
    if not sections:
        return None
    which = "Classes" if num_worst is None else f"The worst classes of each (at most {num_worst})"
    cells = Cells(
        title=f"{which}, zero-shot, {describe_split(metrics)}",
        caption="recall: share of the class that was found; precision: share of what was taken for it that is of it; "
        "taken for: the most frequent wrong class, and how often",
        headers=("class", "recall", "precision", "average\nprecision", "samples", "taken for"),
        sections=sections,
    )
    return without_empty_columns(cells)


def _class_row(name: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
    wrong = {other: count for other, count in figures.get("taken_for", {}).items() if other != name}
    most = max(wrong, key=wrong.__getitem__, default=None)
    return (
        name,
        *(format_score(figures.get(figure)) for figure in ("recall", "precision", "average_precision")),
        f"{figures['support']}",
        MISSING if most is None else f"{most} ({wrong[most]})",
    )
