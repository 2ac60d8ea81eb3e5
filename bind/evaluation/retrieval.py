"""The retrieval figures of a split: every ordered pair of modalities."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bind.evaluation.embedded import EmbeddedSplit
from bind.evaluation.fused import fusion_inputs
from bind.evaluation.queries import Items, query_results
from bind.evaluation.rank import rank_pair
from bind.evaluation.split import Evaluation
from bind.fusion.late import LateFusion
from bind.metrics import Ranking
from bind.metrics.bootstrap import resampled_means
from bind.metrics.ceiling import pair_ceiling, share_of_ceiling
from bind.model.binder import Binder
from bind.types import Modality, Pair

log = logging.getLogger("bind")


def retrieval_figures(
    evaluation: Evaluation, pairs: Sequence[Pair]
) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray]]:
    """`{a}_to_{b}` → figures, and its R@1 in each bootstrap resample.

    `trained`: the loss saw this pair. `kind`: `trained`, `anchor` (both sides are the anchor's own) or `emergent`.
    """
    trained = {frozenset((pair.a, pair.b)) for pair in pairs}
    anchor = set(evaluation.binder.anchor.modalities)
    figures, draws = {}, {}
    for query, pool in ordered_pairs(evaluation.split, evaluation.binder):
        name = f"{query}_to_{pool}"
        if not evaluation.have_a_common_group(query, pool):  # of sources that nothing connects
            log.info("%s can't be scored: no sample, and no group, has both", name)
            continue
        ranking, query_items, pool_items = rank_pair(evaluation, query, pool)
        resampled, cluster_N = evaluation.clusters(query, evaluation.query_and_pool_rows(pool)[0])
        entry = ranking.summary(cluster_N[query_items.rows]) | {"resampled": resampled}
        entry["trained"] = frozenset((query, pool)) in trained
        entry["kind"] = "trained" if entry["trained"] else "anchor" if {query, pool} <= anchor else "emergent"
        figures[name] = entry | ceiling(evaluation, ranking, query, query_items, pool, pool_items)
        asked = ranking.queries_Q.numpy()
        clusters_Q = cluster_N[query_items.rows[asked]]
        draws[name] = resampled_means(ranking.hits(1)[:, None], clusters_Q, num_clusters=cluster_N.max() + 1)[:, 0]
        evaluation.queries[name] = query_results(
            evaluation.split,
            ranking,
            query_items,
            clusters_Q,
            resampled,
            (entry["pool"], pool_items.fingerprint(evaluation.split)),
        )
    return figures, draws


def ordered_pairs(split: EmbeddedSplit, binder: Binder) -> Iterator[tuple[Modality, Modality]]:
    """Every ordered pair of modalities in the split that share no input."""
    order = [*binder.anchor.modalities, *binder.encoders]
    names = sorted(split.z, key=lambda m: (order.index(m) if m in order else len(order), m))
    if isinstance(binder.fusion, LateFusion) and all(m in split.z for m in binder.fusion.inputs):
        names.append(binder.fusion.name)
    for query in names:
        for pool in names:
            if not set(fusion_inputs(query, binder)) & set(fusion_inputs(pool, binder)):
                yield query, pool


def ceiling(
    evaluation: Evaluation, ranking: Ranking, query: Modality, query_items: Items, pool: Modality, pool_items: Items
) -> dict[str, float]:
    """`ceiling_R@k`, and R@1 as a share of it, where the one source knows its factors (the toy world), else nothing."""
    source: Any = evaluation.sources[0]
    one_relevant = bool((ranking.num_relevant_Q == 1).all()) and len(ranking.queries_Q) == ranking.num_queries
    if len(evaluation.sources) > 1 or not hasattr(source, "carries") or not one_relevant:
        return {}
    factors_NF = source.factor_table(evaluation.split_name)
    found = pair_ceiling(
        factors_NF[query_items.rows], factors_NF[pool_items.rows], source.factor_names, query, pool, source.carries
    )
    chance = ranking.chance(1)
    if found["ceiling_R@1"] > chance:
        share = share_of_ceiling(float(ranking.hits(1).mean()), chance, found["ceiling_R@1"])
        found["share_of_ceiling"] = share
    return found
