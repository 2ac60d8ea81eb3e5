"""The retrieval figures of a split: every ordered pair of modalities."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bind.evaluation.embedded import EmbeddedSplit
from bind.evaluation.fused import fusion_inputs, pair_title
from bind.evaluation.queries import Items, query_results, retrieval_key
from bind.evaluation.rank import rank_pair
from bind.evaluation.split import Evaluation
from bind.fusion.late import LateFusion
from bind.metrics import Ranking
from bind.metrics.bootstrap import resampled_means
from bind.metrics.ceiling import pair_ceiling, share_of_ceiling
from bind.model.binder import Binder
from bind.types import FactorSource, Modality, Pair

log = logging.getLogger("bind")

Retrieval = dict[tuple[Modality, Modality], dict[str, Any]]
"""(query, pool) → figures; `metrics.json` has them under `{query}_to_{pool}`."""


def retrieval_figures(evaluation: Evaluation, pairs: Sequence[Pair]) -> tuple[Retrieval, dict[str, np.ndarray]]:
    """Figures of every (query, pool), and R@1 of each in every bootstrap resample, by its key in `metrics.json`.

    `trained`: the loss saw this pair. `kind`: `trained`, `anchor` (both sides are the anchor's own) or `emergent`.
    `pool_copies`: how many values of the pool equal an earlier one, with which they are one item. Where a modality is
    known on purpose, `label` says what is new ("new audio, known image"), and `pool_trained_on` how many items of the
    pool were trained on.

    Raises:
        ValueError: names of modalities of which two pairs would have one key.
    """
    trained = {frozenset((pair.a, pair.b)) for pair in pairs}
    anchor = set(evaluation.binder.anchor.modalities)
    figures: Retrieval = {}
    draws: dict[str, np.ndarray] = {}
    for query, pool in ordered_pairs(evaluation.split, evaluation.binder):
        key = retrieval_key(query, pool)
        if key in draws:
            raise ValueError(f"two pairs of modalities would both be called {key}: rename a modality")
        if not evaluation.have_a_common_group(query, pool):  # of sources that nothing connects
            log.info("%s can't be scored: no sample, and no group, has both", key)
            continue
        ranking, query_side, pool_side = rank_pair(evaluation, query, pool)
        query_items, pool_items = query_side.items, pool_side.items
        resampled, clusters_Q, num_clusters = evaluation.clusters(
            query, query_items, query_side.positions, evaluation.query_and_pool_masks(pool)[0]
        )
        entry = ranking.summary(clusters_Q) | {"resampled": resampled}
        entry["trained"] = frozenset((query, pool)) in trained
        entry["kind"] = "trained" if entry["trained"] else "anchor" if {query, pool} <= anchor else "emergent"
        title = pair_title(query, pool, evaluation.fused)
        if label := evaluation.known_label(query, pool):
            entry["label"], title = label, f"{title} ({label})"
        if pool in evaluation.trained_values:
            entry["pool_trained_on"] = evaluation.count_trained(pool, pool_items)
        if pool in evaluation.split.rows:
            of_pool = len(evaluation.split.pool_values(pool, one_per_group=evaluation.one_per_group))
            if num_copies := of_pool - entry["pool"]:
                entry["pool_copies"] = num_copies
        figures[query, pool] = entry | ceiling(evaluation, ranking, (query, query_items), (pool, pool_items))
        clusters_Q = clusters_Q[ranking.queries_Q.numpy()]
        draws[key] = resampled_means(ranking.hits(1)[:, None], clusters_Q, num_clusters=num_clusters)[:, 0]
        evaluation.queries[key] = query_results(
            evaluation.split,
            ranking,
            query_items,
            title=title,
            clusters_Q=clusters_Q,
            resampled=resampled,
            pool=(entry["pool"], pool_items.fingerprint(evaluation.split)),
        )
    return figures, draws


def ordered_pairs(split: EmbeddedSplit, binder: Binder) -> Iterator[tuple[Modality, Modality]]:
    """Every (query, pool) of modalities in the split that share no input."""
    order = [*binder.anchor.modalities, *binder.encoders]
    modalities = sorted(split.z, key=lambda m: (order.index(m) if m in order else len(order), m))
    if isinstance(binder.fusion, LateFusion) and all(m in split.z for m in binder.fusion.inputs):
        modalities.append(binder.fusion.name)
    for query in modalities:
        for pool in modalities:
            if not set(fusion_inputs(query, binder)) & set(fusion_inputs(pool, binder)):
                yield query, pool


def ceiling(
    evaluation: Evaluation, ranking: Ranking, query_side: tuple[Modality, Items], pool_side: tuple[Modality, Items]
) -> dict[str, float]:
    """`ceiling_R@k`, and R@1 as a share of it, where the one source knows its factors (the toy world), else nothing.

    Each side is a modality and its items.
    """
    source = evaluation.sources[0]
    one_relevant = bool((ranking.num_relevant_Q == 1).all()) and len(ranking.queries_Q) == ranking.num_queries
    if len(evaluation.sources) > 1 or not isinstance(source, FactorSource) or not one_relevant:
        return {}
    factors_NF = source.factor_table(evaluation.split_name)
    (query, query_items), (pool, pool_items) = query_side, pool_side
    figures = pair_ceiling(
        factors_NF[query_items.rows],
        factors_NF[pool_items.rows],
        factors=source.factor_names,
        query_inputs=fusion_inputs(query, evaluation.binder),
        pool_inputs=fusion_inputs(pool, evaluation.binder),
        carries=source.carries,
    )
    chance = ranking.chance(1)
    if figures["ceiling_R@1"] > chance:
        share = share_of_ceiling(float(ranking.hits(1).mean()), chance, figures["ceiling_R@1"])
        figures["share_of_ceiling"] = share
    return figures
