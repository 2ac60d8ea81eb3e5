"""What noise and missing inputs do, as short tables: where a figure has fallen to half, and what every head holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bind.metrics.bootstrap import why_undecided
from bind.report.cells import Cells
from bind.report.retrieval_table import resampled_note
from bind.studies.robustness.show import PLAIN_SUM, Curve, main_tasks


def noise_cells(study: Mapping[str, Any]) -> list[Cells]:
    """One table of trained pairs and zero-shot tasks, a section per modality and kind of noise; none without noise."""
    sections: dict[str, list[tuple[str, ...]]] = {}
    intervals: list[Mapping[str, Any]] = []
    for modality, curves in study["noise"].items():
        for curve in curves.values():
            rows: list[tuple[str, ...]] = []
            for name in main_tasks(curve["tasks"]):
                points = curve["tasks"][name]["points"]
                first, last = points[0], points[-1]
                intervals.append(curve["tasks"][name] | last)
                low, high = last["ci95_R@1"]
                what = f"{modality} {name}" if "label_set" in curve["tasks"][name] else f"{modality} → {name}"
                scores = (
                    f"{first['R@1']:.3f}",
                    find_half_level(curve, points),
                    f"{last['R@1']:.3f}",
                    f"{low:.2f}–{high:.2f}",
                )
                rows.append((what, *scores, f"{first['chance_R@1']:.3f}", f"{first['queries']}/{first['pool']}"))
            sections[f"{modality}: {curve['label']}, up to {curve['levels'][-1]:g}"] = rows
    if not sections:
        return []
    caption = (
        "R@1, or top-1 accuracy of zero-shot; queries disturbed, pool clean; half at: where the curve has lost half of "
        "what it was above chance, between levels along a straight line; emergent pairs are in the file and the plots; "
        + resampled_note("95 % CI", intervals)
    )
    headers = ("query → pool", "undisturbed", "half at", "at the worst", "95 % CI", "chance", "queries\n/pool")
    return [Cells(f"Noise, {study['split']} split", caption, headers, sections)]


def find_half_level(curve: Curve, points: list[Mapping[str, Any]]) -> str:
    """The level at which half of what R@1 was above chance is lost; "–" where it never is."""
    middle = (points[0]["R@1"] + points[0]["chance_R@1"]) / 2
    levels = [0.0 if level is None and not curve["falling"] else level for level in curve["levels"]]
    for place in range(1, len(points)):
        above, below = points[place - 1]["R@1"], points[place]["R@1"]
        if below <= middle < above:
            if levels[place - 1] is None:
                return f"above {levels[place]:g}"
            return f"{levels[place - 1] + (levels[place] - levels[place - 1]) * (above - middle) / (above - below):.3g}"
    return "–"


def fusion_cells(study: Mapping[str, Any]) -> list[Cells]:
    """Two tables of all heads, for an input missing and for noise in one; none without fusion."""
    if not (fusion := study["fusion"]):
        return []
    missing = {
        f"{modality} missing\nin {level:.0%}": (curve, place)
        for modality, curve in fusion["missing"].items()
        for place, level in enumerate(curve["levels"])
        if level in (0.5, 1.0)
    }
    noise = {
        f"{kind}\n{curve['levels'][-1]:g}": (curve, len(curve["levels"]) - 1)
        for curves in fusion["noise"].values()
        for kind, curve in curves.items()
    }
    lone = "; a lone input that is missing has missed: all heads answer for the same queries"
    return [
        _heads_table("one input missing", study, missing, lone),
        *([_heads_table("noise in one input", study, noise)] if noise else []),
    ]


def _heads_table(
    title: str, study: Mapping[str, Any], chosen: Mapping[str, tuple[Curve, int]], note: str = ""
) -> Cells:
    """A column per curve and its place in `chosen`, a section per task."""
    fusion = study["fusion"]
    columns = {"undisturbed": (next(iter(fusion["missing"].values())), 0), **chosen}
    sections: dict[str, list[tuple[str, ...]]] = {}
    intervals: list[Mapping[str, Any]] = []
    for task in main_tasks(fusion["tasks"]):
        rows: list[tuple[str, ...]] = []
        for head in fusion["heads"]:
            points = [curve["tasks"][task][head][place] for curve, place in columns.values()]
            intervals += [fusion["tasks"][task] | point for point in points]
            rows.append((head, *(f"{point['R@1']:.3f}{_sign(head, point)}" for point in points)))
        sections[task if "label_set" in fusion["tasks"][task] else f"→ {task}"] = rows
    return Cells(
        f"{' and '.join(fusion['inputs'])} fused, {study['split']} split: {title}",
        "R@1, or top-1 of zero-shot; ▲ ▼: above or below the plain sum by more than chance; "
        f"{resampled_note('95 % CI', intervals)}{note}",
        ("head", *columns),
        sections,
    )


def _sign(head: str, point: Mapping[str, Any]) -> str:
    low, high = point["ci95_above_plain_sum"]
    return "" if head == PLAIN_SUM or why_undecided(point) or low <= 0 <= high else "▲" if low > 0 else "▼"
