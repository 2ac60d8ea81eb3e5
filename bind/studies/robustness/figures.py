"""Figures of disturbed queries: those of one modality, and those of several inputs by every fusion head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bind.evaluation.embedded import EmbeddedSplit
from bind.metrics import rank_by_cosine
from bind.metrics.bootstrap import interval, resampled_means, share_interval
from bind.studies.robustness.heads import Head, Presence, Vectors
from bind.studies.robustness.show import PLAIN_SUM
from bind.studies.robustness.tasks import RankingTask
from bind.types import Embeddings, Modality, stable_id

KS = (1, 5, 10)

Figures = dict[str, Any]
"""`R@k`, its `ci95_R@k` and `chance_R@k`, `queries`, `pool`, and the number of `clusters` behind the intervals.

R@1 of a zero-shot task is its top-1 accuracy.
"""


def point(split: EmbeddedSplit, task: RankingTask, modality: Modality, z_ND: Tensor) -> Figures:
    """The figures of a task that is asked by these vectors of a modality, computed as in `metrics.json`."""
    rows = split.rows[modality]
    query_rows = task.query_rows(rows)
    rows_Q = rows[query_rows].numpy()
    ranking = rank_by_cosine(
        z_ND[query_rows], task.z_PD, task.groups_N[rows_Q], task.groups_E, KS, pool_items=task.items_E
    )
    found = ranking.summary(task.cluster_N[rows_Q])
    of_k = [f"{name}R@{k}" for name in ("", "ci95_", "chance_") for k in KS]
    return {name: found[name] for name in (*of_k, "queries", "pool", "clusters")}


class FusedQueries:
    """The samples that have all of `inputs`, asked the same tasks by every head, with an input noisy or missing.

    Args:
        computed: names of vectors in `split` that a head takes beside those of the inputs.

    Raises:
        ValueError: where no sample has all of them, or such samples have nothing to find.
    """

    def __init__(
        self,
        split: EmbeddedSplit,
        inputs: Sequence[Modality],
        heads: Mapping[str, Head],
        tasks: Sequence[RankingTask],
        *,
        computed: Iterable[str] = (),
    ) -> None:
        self.split = split
        self._names = [*inputs, *(name for name in computed if name in split.z)]
        self.inputs, self.heads = tuple(inputs), dict(heads)
        self.z, self.rows = self._aligned({})
        self.tasks = [task for task in tasks if len(task.query_rows(self.rows))]
        if not self.tasks:
            raise ValueError(
                f"inputs={list(inputs)}: no sample has all of them and anything to find; name others, or inputs=[] to "
                "leave fusion out"
            )

    def noisy(self, z: Vectors) -> dict[str, dict[str, Figures]]:
        """RankingTask → head → figures, with these vectors in place of the clean ones of their modality."""
        return self._figures(self._aligned(z)[0], dict.fromkeys(self.inputs, self._all))

    def without(self, modality: Modality, share: float, seed: int) -> dict[str, dict[str, Figures]]:
        """RankingTask → head → figures, where a `share` of the samples, drawn by chance, lack `modality`.

        Whether a sample lacks it follows from the seed and its key: who lacks it at one share lacks it at a larger.
        """
        keys = [self.split.keys[row] for row in self.rows.tolist()]
        threshold_R = torch.tensor([missing_threshold(seed, key, modality) for key in keys], dtype=torch.float64)
        return self._figures(self.z, dict.fromkeys(self.inputs, self._all) | {modality: threshold_R >= share})

    @property
    def _all(self) -> Tensor:
        return torch.ones(len(self.rows), dtype=torch.bool)

    def _aligned(self, z: Vectors) -> tuple[dict[Modality, Tensor], Tensor]:
        embeddings = Embeddings({**self.split.z, **z}, self.split.rows, len(self.split.keys))
        vectors, rows = embeddings.aligned(self._names)
        return dict(zip(self._names, vectors, strict=True)), rows

    def _figures(self, z: Vectors, present: Presence) -> dict[str, dict[str, Figures]]:
        found = {}
        for task in self.tasks:
            query_rows = task.query_rows(self.rows)
            rows_Q = self.rows[query_rows].numpy()
            z_Q, present_Q = ({m: x[query_rows] for m, x in of.items()} for of in (z, present))
            groups_Q = task.groups_N[rows_Q]
            ranks = {name: head(z_Q, present_Q, task, groups_Q) for name, head in self.heads.items()}
            # Chance does not depend on vectors.
            chance = rank_by_cosine(
                z_Q[self.inputs[0]], task.z_PD, groups_Q, task.groups_E, KS, pool_items=task.items_E
            ).chance
            same = {f"chance_R@{k}": chance(k) for k in KS} | {"queries": len(rows_Q), "pool": len(task.z_PD)}
            found[task.name] = {
                name: figures | same for name, figures in summaries(ranks, task.cluster_N[rows_Q]).items()
            }
        return found


def missing_threshold(seed: int, key: str, modality: Modality) -> float:
    """A number from 0 to below 1 of this sample and modality: it lacks the modality at every share above it."""
    return float(np.random.default_rng([seed, stable_id(f"{key}:{modality}:missing")]).random())


def summaries(ranks: Mapping[str, Tensor], clusters_Q: np.ndarray) -> dict[str, Figures]:
    """Head → R@k with intervals, and how far its R@1 is above that of the plain sum on the same queries.

    `ranks` holds int64 (Q,) for each head; queries with equal `clusters_Q` are resampled together.
    """
    hits = {name: (ranks_Q[:, None] <= torch.tensor(KS)).double().numpy() for name, ranks_Q in ranks.items()}
    first_sum_Q1 = hits[PLAIN_SUM][:, :1]
    columns_QM = np.concatenate([np.hstack([hits_QK, hits_QK[:, :1] - first_sum_Q1]) for hits_QK in hits.values()], 1)
    names, cluster_Q = np.unique(clusters_Q, return_inverse=True)
    columns = zip(columns_QM.T, resampled_means(columns_QM, cluster_Q, num_clusters=len(names)).T, strict=True)
    found: dict[str, Figures] = {}
    for head in hits:
        found[head] = {"clusters": len(names)}
        for name in (*(f"R@{k}" for k in KS), "above_plain_sum"):
            values_Q, draws_B = next(columns)
            mean = float(values_Q.mean())
            bounds = (
                interval(draws_B, len(names))
                if name == "above_plain_sum"
                else share_interval(draws_B, mean, len(values_Q), len(names))
            )
            found[head] |= {name: mean, f"ci95_{name}": list(bounds)}
    return found
