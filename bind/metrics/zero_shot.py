"""Zero-shot classification: an item takes the class whose prompt embedding is nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from bind.metrics.cosine import check_unit, cosines, unit_fp32
from bind.metrics.ranking import Ranking
from bind.metrics.retrieval import rank_by_cosine

_QUERIES_AT_ONCE = 4096


def class_embeddings(z_prompts: Sequence[Tensor]) -> Tensor:
    """One unit vector per class, (K, D): the mean of the class's P_k unit prompt embeddings (P_k, D), normalised again.

    Raises:
        ValueError: no classes, a class without prompts, vectors that are not unit length, or prompts that cancel out.

    Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision (2021), section 3.1.4.

    Examples:
        >>> z_prompts = torch.eye(3)
        >>> class_embeddings([z_prompts[:1], z_prompts[1:]])  # one prompt for the first class, two for the second
        tensor([[1.0000, 0.0000, 0.0000],
                [0.0000, 0.7071, 0.7071]])
    """
    if not z_prompts:
        raise ValueError("class_embeddings needs at least one class with prompts")
    for index, z in enumerate(z_prompts):
        check_unit(f"z_prompts[{index}]", z)
    means = torch.stack([z.float().mean(0) for z in z_prompts])
    lengths = means.norm(dim=-1)
    if bool((lengths < 1e-6).any()):
        raise ValueError(f"the prompts of class {int(lengths.argmin())} cancel out: their mean has no direction")
    return normalize(means, dim=-1)


def zero_shot(
    z_query: Tensor, labels: Tensor, z_class: Tensor, *, clusters: np.ndarray | None = None
) -> dict[str, Any]:
    """Top-1 and top-5 accuracy of (N, D) unit vectors with labels (N,) in 0 … K - 1 against class vectors (K, D).

    Right means that fewer than one (five) other classes score as high as the true one: a tie counts as wrong.
    `chance` is 1 / K. Queries of one cluster, entries of `clusters` (N,), are resampled together for the intervals.

    Raises:
        ValueError: as in `bind.metrics.retrieval`, or a label outside 0 … K - 1.

    Examples:
        >>> z_class = torch.eye(3)
        >>> z_query = z_class[[0, 0, 1, 2]]
        >>> figures = zero_shot(z_query, torch.tensor([0, 1, 1, 2]), z_class)  # the second is taken for class 0
        >>> figures["top1"], round(figures["chance"], 3), figures["num_classes"], figures["queries"]
        (0.75, 0.333, 3, 4)
    """
    return zero_shot_summary(rank_classes(z_query, labels, z_class), clusters)


def rank_classes(z_query: Tensor, labels: Tensor, z_class: Tensor) -> Ranking:
    """Where the true class stands; arguments and errors as in `zero_shot`."""
    num_classes = len(z_class)
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"labels must lie in 0 … {num_classes - 1}, one per row of z_class, "
            f"got {int(labels.min())} … {int(labels.max())}"
        )
    return rank_by_cosine(z_query, z_class, labels, torch.arange(num_classes, device=z_class.device))


def zero_shot_summary(ranking: Ranking, clusters: np.ndarray | None = None) -> dict[str, Any]:
    """The figures of `metrics.json` from where the true class stands among all."""
    figures = ranking.summary(clusters)
    num_classes = figures["pool"]
    return {
        "top1": figures["R@1"],
        "top5": figures["R@5"],
        "num_classes": num_classes,
        "chance": 1 / num_classes,
        "chance_top5": figures["chance_R@5"],
        "queries": figures["queries"],
        "resampled": figures["resampled"],
        "clusters": figures["clusters"],
        "ci95_top1": figures["ci95_R@1"],
        "ci95_top5": figures["ci95_R@5"],
    }


def predicted_classes(ranking: Ranking, z_query: Tensor, labels: Tensor, z_class: Tensor) -> Tensor:
    """The class (N,) that each query is taken for: its own where `ranking` has that first, else the best other.

    Where two classes tie, that is never the true one, so the share of right ones is top-1.
    """
    assert len(ranking.ranks_Q) == len(z_query), "every query has its own class in the pool"
    z_class, best = unit_fp32(z_class), []
    for start in range(0, len(z_query), _QUERIES_AT_ONCE):
        tile = slice(start, start + _QUERIES_AT_ONCE)
        scores = cosines(unit_fp32(z_query[tile]), z_class)
        best.append(scores.scatter(1, labels[tile, None].to(scores.device), -torch.inf).argmax(dim=1))
    return torch.where(ranking.ranks_Q == 1, labels, torch.cat(best).to(labels.device))


def per_class(labels: Tensor, predicted: Tensor, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Class → its `support` (queries), `recall`, `precision`, and `taken_for`: how many went to which class.

    A recall of no queries is None, and so is the precision of a class that nothing was taken for.
    """
    num_classes = len(names)
    counts_KK = torch.bincount(labels * num_classes + predicted, minlength=num_classes**2).view(num_classes, -1)
    taken_K = counts_KK.sum(dim=0).tolist()
    figures = {}
    for k, (name, row) in enumerate(zip(names, counts_KK.tolist(), strict=True)):
        support = sum(row)
        figures[name] = {
            "support": support,
            "recall": row[k] / support if support else None,
            "precision": row[k] / taken_K[k] if taken_K[k] else None,
            "taken_for": {names[j]: count for j, count in enumerate(row) if count},
        }
    return figures
