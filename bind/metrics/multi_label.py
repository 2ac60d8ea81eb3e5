"""Multi-label classification: how far in front the items of each class stand when all are ranked by its prompts.

Shapes: N items, K classes, C clusters, B resamples, R items of one class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from bind.metrics.bootstrap import draw_counts, interval
from bind.metrics.cosine import COSINE_TIE_TOLERANCE, check_query_and_pool, cosines, unit_fp32

_CLASSES_AT_ONCE = 64


def multi_label(
    z_query: Tensor,
    members_NK: Tensor,
    z_class: Tensor,
    names: Sequence[str],
    *,
    clusters: np.ndarray | None = None,
    num_resamples: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Mean average precision of (N, D) unit vectors, of the classes `members_NK` (bool), against class vectors (K, D).

    For each class all items are ranked by their cosine with it; `map` is the mean over classes (macro). Classes that no
    item is of have no average precision: they are left out and counted. A tie counts against the items of the class.
    `chance` is the expected value for a random order. Items of one cluster, entries of `clusters` (N,), are resampled
    together, and the interval is that of the mean over the classes that the resample still has items of.

    Raises:
        ValueError: no class has an item, shapes that do not fit, or vectors that are not unit length.
    """
    check_query_and_pool(z_query, z_class)
    if members_NK.shape != (len(z_query), len(z_class)) or len(names) != len(z_class):
        raise ValueError(
            f"members_NK must be ({len(z_query)}, {len(z_class)}) with a name per class, "
            f"got {tuple(members_NK.shape)} and {len(names)} names"
        )
    members = members_NK.bool().cpu().numpy()
    support_K = members.sum(axis=0)
    if not support_K.any():
        raise ValueError("multi_label needs at least one class with an item")
    names_N = np.arange(len(z_query)) if clusters is None else np.asarray(clusters)
    cluster_names, cluster_N = np.unique(names_N, return_inverse=True)
    drawn = draw_counts(len(cluster_names), num_resamples, seed, len(z_query))
    counts_BN = np.concatenate([counts_BC.astype(np.int32) for counts_BC in drawn])[:, cluster_N]
    once_N = np.ones((1, len(z_query)), dtype=np.int32)

    precision_K = np.full(len(names), np.nan)
    draws_BK = np.full((num_resamples, len(names)), np.nan)
    z_class, z_query = unit_fp32(z_class), unit_fp32(z_query)
    for start in range(0, len(names), _CLASSES_AT_ONCE):
        scores = cosines(z_class[start : start + _CLASSES_AT_ONCE], z_query).cpu().numpy().astype(np.float64)
        for k, scores_N in enumerate(scores, start):
            if support_K[k]:
                order = pessimistic_order(scores_N, members[:, k])
                precision_K[k] = average_precision(order, members[:, k], once_N)[0]
                draws_BK[:, k] = average_precision(order, members[:, k], counts_BN)
    chance_K = [chance_average_precision(int(support), len(z_query)) for support in support_K]
    some = support_K > 0
    has_any_B = np.isfinite(draws_BK).any(axis=1)
    return {
        "map": float(precision_K[some].mean()),
        "ci95_map": list(interval(np.nanmean(draws_BK[has_any_B], axis=1), len(cluster_names))),
        "chance": float(np.mean(np.array(chance_K)[some])),
        "num_classes": int(some.sum()),
        "classes_without_items": int((~some).sum()),
        "queries": len(z_query),
        "resampled": "queries" if clusters is None else "clusters",
        "clusters": len(cluster_names),
        "per_class": {
            name: {"support": int(support), "average_precision": float(ap) if support else None, "chance": chance}
            for name, support, ap, chance in zip(names, support_K, precision_K, chance_K, strict=True)
        },
    }


def pessimistic_order(scores_N: np.ndarray, members_N: np.ndarray) -> np.ndarray:
    """Positions from the best score down; an item of the class stands behind the others that it ties with."""
    return np.lexsort((members_N, -(scores_N - COSINE_TIE_TOLERANCE * members_N)))


def average_precision(order_N: np.ndarray, members_N: np.ndarray, counts_BN: np.ndarray) -> np.ndarray:
    """Average precision (B,) of one order in which items stand as often as each row of `counts_BN` says.

    Copies of an item tie, and recall steps over them at once; NaN where no item of the class is left.
    """
    places_R = np.flatnonzero(members_N[order_N])
    weights_BR = counts_BN[:, order_N[places_R]]
    seen_BR = counts_BN[:, order_N[: places_R[-1] + 1]].cumsum(axis=1)[:, places_R]
    precision_BR = weights_BR.cumsum(axis=1) / np.maximum(seen_BR, 1)
    with np.errstate(invalid="ignore"):
        precision_B: np.ndarray = (weights_BR * precision_BR).sum(axis=1) / weights_BR.sum(axis=1)
    return precision_B


def chance_average_precision(num_relevant: int, num_items: int) -> float | None:
    """Expected average precision of a random order; None where nothing is relevant.

    At place i stands a relevant item with probability R / N, and then (i - 1)(R - 1) / (N - 1) others are expected
    before it; summed over i and divided by R.
    """
    if num_relevant == 0:
        return None
    harmonic = float((1 / np.arange(1, num_items + 1)).sum())
    others = (num_relevant - 1) / max(num_items - 1, 1)
    return (harmonic + others * (num_items - harmonic)) / num_items
