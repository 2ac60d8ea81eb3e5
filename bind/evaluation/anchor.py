"""The anchor's own tasks on a split: whether it knows this sort of data at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bind.types import Modality

SURE_CHANCE = 0.9
"""Depths at which chance is higher say nothing."""


def is_at_chance(entry: Mapping[str, Any]) -> bool:
    """Whether the 95 % intervals of a retrieval or zero-shot figure hold its chance level, at every depth there is.

    Examples:
        >>> is_at_chance({"ci95_R@1": [0.0, 0.1], "chance_R@1": 0.05, "ci95_R@10": [0.4, 0.6], "chance_R@10": 0.5})
        True
        >>> is_at_chance({"ci95_top1": [0.3, 0.5], "chance": 0.1})
        False
    """
    if "top1" in entry or "ci95_top1" in entry:
        return bool(entry["ci95_top1"][0] <= entry["chance"])
    if "ci95_map" in entry and "chance" in entry:
        return bool(entry["ci95_map"][0] <= entry["chance"])
    depths = [k for k in (1, 10) if f"ci95_R@{k}" in entry and entry.get(f"chance_R@{k}", 1.0) < SURE_CHANCE]
    return bool(depths) and all(entry[f"ci95_R@{k}"][0] <= entry[f"chance_R@{k}"] for k in depths)


def anchor_tasks_at_chance(
    retrieval: Mapping[tuple[Modality, Modality], Mapping[str, Any]], zero_shot: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """The tasks between pictures and words that the anchor solves alone, where it is at chance in all of them.

    Empty where it is above chance in any, or there are none.
    """
    tasks = {f"{a} → {b}": e for (a, b), e in retrieval.items() if e["kind"] == "anchor" and "text" in (a, b)}
    tasks |= {f"{key}, zero-shot": entry for key, entry in zero_shot.items() if entry.get("kind") == "anchor"}
    return list(tasks) if all(map(is_at_chance, tasks.values())) else []
