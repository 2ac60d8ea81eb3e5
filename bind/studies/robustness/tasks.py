"""Tasks of disturbed queries: to find their own in a clean pool of another modality, or their class."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bind.data.sources.sample_columns import labels_of
from bind.evaluation import Evaluation
from bind.evaluation.label_sets import LabelSet
from bind.evaluation.queries import items_at
from bind.evaluation.relevance import Holders, relevance_ids
from bind.metrics.ceiling import pair_ceiling
from bind.types import FactorSource, Modality, Pair

log = logging.getLogger("bind")


@dataclass(frozen=True)
class RankingTask:
    """A pool of clean vectors, and which of its items is right for each of the N samples.

    Attributes:
        name: `image` for a pool of pictures, `zero-shot` or `zero-shot/NAME` for classes in words.
        z_PD: the pool's unit vectors.
        groups_E: int64 (E,), an item is right for a query that has one of its numbers.
        groups_N: int64 (N,), -1 where there is nothing to find.
        asks_N: bool (N,), the samples that may ask.
        cluster_N: int64 (N,), queries with equal numbers are resampled together.
        resampled: what these clusters are.
        about: what stands beside every figure: `trained` and `kind` of a pair, or the `label_set`.
        pool_rows_P: the samples the pool was made of; None for classes.
        items_E: int64 (E,), the item of each of `groups_E`; None where each item has one.
    """

    name: str
    z_PD: Tensor
    groups_E: Tensor
    groups_N: Tensor
    asks_N: Tensor
    cluster_N: np.ndarray
    resampled: str
    about: Mapping[str, Any]
    pool_rows_P: np.ndarray | None = None
    items_E: Tensor | None = None

    def query_rows(self, rows: Tensor) -> Tensor:
        """Positions among `rows`, which may repeat a sample, of those that ask and have something to find."""
        return (self.asks_N[rows] & torch.isin(self.groups_N[rows], self.groups_E)).nonzero().flatten()

    def facts(self, evaluation: Evaluation, query_modalities: Sequence[Modality], rows: Tensor) -> dict[str, Any]:
        """`about`, what is resampled, and the best possible `ceiling_R@1` where the one source knows its factors.

        `query_modalities` are the modalities that the queries are made of, `rows` the samples that have them.
        """
        found = {**self.about, "resampled": self.resampled}
        source = evaluation.sources[0]
        one_relevant = len(self.groups_E.unique()) == len(self.groups_E)
        if (
            self.pool_rows_P is None
            or len(evaluation.sources) > 1
            or not isinstance(source, FactorSource)
            or not one_relevant
        ):
            return found
        factors_NF = source.factor_table(evaluation.split_name)
        tables = factors_NF[rows[self.query_rows(rows)].numpy()], factors_NF[self.pool_rows_P]
        best = pair_ceiling(
            *tables,
            factors=source.factor_names,
            query_inputs=query_modalities,
            pool_inputs=(self.name,),
            carries=source.carries,
        )
        return found | {"ceiling_R@1": best["ceiling_R@1"]}


def make_ranking_tasks(
    evaluation: Evaluation,
    query_modalities: Sequence[Modality],
    pairs: Sequence[Pair],
    label_sets: Mapping[str, Mapping[str, Any]],
    embed_text: Callable[[list[str]], Tensor],
) -> list[RankingTask]:
    """The tasks of queries made of `query_modalities`: every other modality with a common group, and classes.

    Classes where a label set is for one of `query_modalities`; those of which a sample may have several are not asked.
    """
    return [
        *_pools(evaluation, query_modalities, pairs),
        *_classes(evaluation, query_modalities, label_sets, embed_text),
    ]


def _pools(
    evaluation: Evaluation, query_modalities: Sequence[Modality], pairs: Sequence[Pair]
) -> Iterator[RankingTask]:
    split, binder = evaluation.split, evaluation.binder
    trained = {frozenset((pair.a, pair.b)) for pair in pairs}
    anchor = set(binder.anchor.modalities)
    for pool in (m for m in binder.modalities if m in split.z and m not in query_modalities):
        if not all(evaluation.have_a_common_group(m, pool) for m in query_modalities):
            continue
        asks_N = evaluation.query_and_pool_masks(pool)[0]
        positions = split.pool_rows(pool, one_per_group=evaluation.one_per_group)
        pool_rows = items_at(split, pool, positions).rows
        holders = split.holders(pool, positions, one_per_group=evaluation.one_per_group)
        _, groups_E, items_E = relevance_ids(Holders.distinct(split.group_ids_N), holders)
        resampled, cluster_N = evaluation.sample_clusters(query_modalities[0], asks_N)
        is_trained = all(frozenset((m, pool)) in trained for m in query_modalities)
        kind = "trained" if is_trained else "anchor" if {*query_modalities, pool} <= anchor else "emergent"
        yield RankingTask(
            name=pool,
            z_PD=split.z[pool][positions],
            groups_E=groups_E,
            items_E=items_E,
            groups_N=split.group_ids_N,
            asks_N=asks_N,
            cluster_N=cluster_N,
            resampled=resampled,
            about={"trained": is_trained, "kind": kind},
            pool_rows_P=pool_rows,
        )


def _classes(
    evaluation: Evaluation,
    query_modalities: Sequence[Modality],
    label_sets: Mapping[str, Mapping[str, Any]],
    embed_text: Callable[[list[str]], Tensor],
) -> Iterator[RankingTask]:
    labels = labels_of(evaluation.samples)
    resampled, cluster_N = evaluation.sample_clusters(query_modalities[0], evaluation.all_N)
    for name, options in label_sets.items():
        label_set = LabelSet.of(name, options, labels)
        if not set(query_modalities) & set(label_set.modalities):
            continue
        if label_set.multi_label:
            log.warning("zero-shot %s is left out: its samples may be of several classes at once", name)
            continue
        members_NK = label_set.members(labels)
        has_class_N = members_NK.any(dim=1)
        yield RankingTask(
            name=f"zero-shot/{name}" if len(label_sets) > 1 else "zero-shot",
            z_PD=label_set.embed(embed_text),
            groups_E=torch.arange(members_NK.shape[1]),
            groups_N=torch.where(has_class_N, members_NK.int().argmax(dim=1), -1),
            asks_N=has_class_N,
            cluster_N=cluster_N,
            resampled=resampled,
            about={"label_set": name},
        )
