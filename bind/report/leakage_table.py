"""The tables of the leakage audit, and its line in the footnotes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bind.report.cells import Cells, describe_split, format_interval, format_score


def leakage_note(leakage: Mapping[str, Any]) -> str:
    """One line about `metrics["leakage"]`: how many samples leak, or that none was found, and what was compared."""
    if leakage["leaked"]:
        how_many = f"{leakage['leaked']} of {leakage['samples']} samples ({leakage['share']:.0%})"
        return f"LEAKAGE: {how_many} share something with what was trained on"
    if not leakage["checked"]:
        return "leakage: unknown, as nothing could be compared with what was trained on"
    return f"leakage: none found (compared: {', '.join(leakage['checked'])})"


def leakage_cells(metrics: Mapping[str, Any], titles: Mapping[str, str]) -> list[Cells]:
    """The kinds of leaks in `metrics["leakage"]`, and the figures without the queries they concern; nothing where none.

    `titles` maps the key of a task to what tables call it.
    """
    leakage: Mapping[str, Any] = metrics.get("leakage") or {"leaked": 0}
    if not leakage["leaked"]:
        return []
    rows: list[tuple[str, ...]] = [
        (kind, f"{leaks['samples']}", f"{leaks['share']:.0%}", ", ".join(first["key"] for first in leaks["first"]))
        for kind, leaks in leakage["kinds"].items()
    ]
    kinds = Cells(
        title=f"LEAKAGE, {describe_split(metrics)}: "
        f"{leakage['leaked']} of {leakage['samples']} samples were partly seen",
        caption="trained on: " + ", ".join(leakage["trained_on"]),
        headers=("shared with training", "samples", "share", "first keys"),
        sections={"": rows},
    )
    rows = [
        (
            titles.get(task, task),
            format_score(entry["R@1_with_leaked"]),
            format_score(entry.get("R@1")),
            format_interval(entry.get("ci95_R@1")),
            f"{entry['queries']}",
        )
        for task, entry in leakage.get("without_leaked", {}).items()
    ]
    if not rows:
        return [kinds]
    caption = "queries of leaked samples are left out, the pool is the same; top-1 where classes were ranked"
    headers = ("query → pool", "R@1\nwith", "R@1\nwithout", "95 % CI", "queries")
    return [kinds, Cells(f"Without leaked queries, {describe_split(metrics)}", caption, headers, {"": rows})]
