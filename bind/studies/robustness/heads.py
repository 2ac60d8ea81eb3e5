"""Where the right item stands for queries of several inputs, by every fusion head and by each input alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bind.fusion.early import EarlyFusion
from bind.fusion.inputs import fused_name
from bind.fusion.late import LateFusion
from bind.fusion.learned import LearnedFusion
from bind.metrics import COSINE_TIE_TOLERANCE, rank_by_cosine, rank_by_scores
from bind.studies.robustness.show import PLAIN_SUM
from bind.studies.robustness.tasks import RankingTask
from bind.types import Modality, TokenFusion

Vectors = Mapping[Modality, Tensor]
"""Input → (Q, D) unit vectors of the same Q queries; where a head needs them, those of `names_of_fused` too."""

Presence = Mapping[Modality, Tensor]
"""Input → bool (Q,), whether the query has it."""

Head = Callable[[Vectors, Presence, RankingTask, Tensor], Tensor]
"""`head(z, present, task, groups_Q)` → int64 (Q,), the place of the best right item, 1 is the top."""


def make_heads(inputs: Sequence[Modality], fusion: Any) -> dict[str, Head]:
    """Name → head: each input alone, the plain sum, every late fusion, and the run's own `fusion` of these inputs."""
    heads: dict[str, Head] = {m: alone(m) for m in inputs}
    heads[PLAIN_SUM] = embedded(EarlyFusion(inputs=inputs))
    late = {method: LateFusion(inputs=inputs, method=method) for method in ("sum", "rrf", "softmax")}
    is_of_these = _is_of_these(inputs, fusion)
    if is_of_these and isinstance(fusion, LateFusion):
        late[fusion.method] = fusion  # with its weights and constants
    heads |= {f"late: {method}": scored(of) for method, of in late.items()}
    weighs = isinstance(fusion, EarlyFusion) and len(set(fusion.weights.values())) > 1
    if reads_tokens(inputs, fusion):
        heads[head_name(fusion)] = computed(inputs)
    elif is_of_these and isinstance(fusion, nn.Module) and (weighs or not isinstance(fusion, EarlyFusion)):
        heads[head_name(fusion)] = embedded(copy.deepcopy(fusion).cpu().eval())
    return heads


def reads_tokens(inputs: Sequence[Modality], fusion: Any) -> bool:
    """Whether `fusion` is of these inputs and takes more than their vectors: only the binder can compute it."""
    return _is_of_these(inputs, fusion) and isinstance(fusion, TokenFusion) and bool(fusion.token_widths)


def names_of_fused(inputs: Sequence[Modality]) -> dict[Modality | None, str]:
    """The missing input, None for none → the name of the vectors that the binder fuses without it.

    Examples:
        >>> names_of_fused(["audio", "imu"])["imu"]
        'audio_and_imu without imu'
    """
    name = fused_name(inputs)
    return {None: name} | {m: f"{name} without {m}" for m in inputs}


def head_name(fusion: nn.Module) -> str:
    """What the head of a run is called beside the others."""
    if isinstance(fusion, EarlyFusion):
        return "weighted sum"
    return f"{fusion.kind}, trained" if isinstance(fusion, LearnedFusion) else type(fusion).__name__


def alone(modality: Modality) -> Head:
    """One input without the others; a query that lacks it has missed: its place is behind the whole pool."""

    def places(z: Vectors, present: Presence, task: RankingTask, groups_Q: Tensor) -> Tensor:
        ranks_Q = rank_by_cosine(z[modality], task.z_PD, groups_Q, task.groups_E, pool_items=task.items_E).ranks_Q
        return ranks_Q.masked_fill(~present[modality], len(task.z_PD) + 1)

    return places


def embedded(fusion: nn.Module) -> Head:
    """One vector of those inputs that are present."""

    def places(z: Vectors, present: Presence, task: RankingTask, groups_Q: Tensor) -> Tensor:
        with torch.inference_mode():
            z_QD = fusion(z, present)
        return rank_by_cosine(z_QD, task.z_PD, groups_Q, task.groups_E, pool_items=task.items_E).ranks_Q

    return places


def computed(inputs: Sequence[Modality]) -> Head:
    """The vectors that the binder made of all `inputs`, or without the one that a query lacks; `z` has both."""
    names = names_of_fused(inputs)

    def places(z: Vectors, present: Presence, task: RankingTask, groups_Q: Tensor) -> Tensor:
        num_missing_Q = torch.stack([~present[m] for m in inputs]).sum(dim=0)
        assert bool((num_missing_Q <= 1).all()), "the binder was asked for vectors with at most one input missing"
        z_QD = z[names[None]]
        for modality in inputs:
            z_QD = torch.where(present[modality][:, None], z_QD, z[names[modality]])
        return rank_by_cosine(z_QD, task.z_PD, groups_Q, task.groups_E, pool_items=task.items_E).ranks_Q

    return places


def scored(fusion: LateFusion) -> Head:
    """The scores of those inputs that are present, combined."""

    def places(z: Vectors, present: Presence, task: RankingTask, groups_Q: Tensor) -> Tensor:
        pool_present = {task.name: torch.ones(len(task.z_PD), dtype=torch.bool)}

        def score_rows(start: int, stop: int) -> Tensor:
            some, there = ({m: of[m][start:stop] for m in fusion.inputs} for of in (z, present))
            return fusion.scores(some, {task.name: task.z_PD}, there, pool_present)

        tie_tolerance = COSINE_TIE_TOLERANCE if fusion.method == "sum" else 0.0
        ranked = rank_by_scores(
            score_rows, len(groups_Q), groups_Q, task.groups_E, tie_tolerance=tie_tolerance, pool_items=task.items_E
        )
        return ranked.ranks_Q

    return places


def _is_of_these(inputs: Sequence[Modality], fusion: Any) -> bool:
    return fusion is not None and tuple(fusion.inputs) == tuple(inputs)
