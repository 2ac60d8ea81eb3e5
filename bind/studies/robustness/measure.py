"""The curves of a run: a list of figures along the levels of every disturbance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from bind.evaluation import Evaluation
from bind.studies.robustness.figures import Figures, FusedQueries, point
from bind.studies.robustness.kinds import KINDS
from bind.studies.robustness.tasks import RankingTask
from bind.types import Modality


def describe_curve(kind: str, levels: Sequence[float]) -> dict[str, Any]:
    """What its points lie along; the level of the first, undisturbed one is None."""
    return {"label": KINDS[kind].label, "falling": KINDS[kind].falling, "levels": [None, *levels]}


def make_noise_curves(
    evaluation: Evaluation, tasks: Iterable[RankingTask], modality: Modality, vectors: Sequence[Tensor]
) -> dict[str, dict[str, Any]]:
    """RankingTask → what it is, and `points`: its figures for the vectors at every level."""
    rows = evaluation.split.rows[modality]
    return {
        task.name: task.facts(evaluation, [modality], rows)
        | {"points": [point(evaluation.split, task, modality, z_ND) for z_ND in vectors]}
        for task in tasks
    }


def make_fused_curves(figures: Sequence[Mapping[str, Mapping[str, Figures]]]) -> dict[str, dict[str, list[Figures]]]:
    """From task → head → figures at every level to task → head → figures along the levels."""
    return {task: {head: [at[task][head] for at in figures] for head in heads} for task, heads in figures[0].items()}


def make_missing_curves(
    fused: FusedQueries, shares: Sequence[float], seed: int, advance: Callable[[], Any]
) -> dict[Modality, dict[str, Any]]:
    """Input → its curve over the share of queries that lack it."""
    curves = {}
    for modality in fused.inputs:
        figures = [fused.noisy({})]
        for share in shares:
            figures.append(fused.without(modality, share, seed))
            advance()
        label = f"share of queries without {modality}"
        curves[modality] = {
            "label": label,
            "falling": False,
            "levels": [0.0, *shares],
            "tasks": make_fused_curves(figures),
        }
    return curves
