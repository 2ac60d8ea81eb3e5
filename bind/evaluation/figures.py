"""All figures of a split, as `metrics.json` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bind.evaluation.embedded import EmbeddedSplit
from bind.evaluation.fused import add_plain_sum, is_fused_key
from bind.evaluation.queries import QueryResults
from bind.evaluation.retrieval import retrieval_figures
from bind.evaluation.split import Evaluation
from bind.evaluation.zero_shot import zero_shot_figures
from bind.metrics.geometry import space
from bind.metrics.transfer import transfer
from bind.model.binder import Binder
from bind.types import Embeddings, Pair, Source


def evaluate_split(
    split: EmbeddedSplit,
    binder: Binder,
    pairs: Sequence[Pair],
    sources: Sequence[Source],
    split_name: str,
    *,
    one_per_group: bool,
    label_sets: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Any], dict[str, QueryResults]]:
    """`metrics.json` but for the seconds, and what each query found."""
    add_plain_sum(split, binder)
    evaluation = Evaluation(split, binder, sources, split_name, one_per_group)
    retrieval, draws = retrieval_figures(evaluation, pairs)
    unfused = {name: e for name, e in retrieval.items() if not is_fused_key(name, binder)}
    metrics = {
        "split": split_name,
        "anchor": {"name": binder.anchor.name, "fingerprint": binder.anchor.fingerprint},
        "retrieval": retrieval,
        "zero_shot": zero_shot_figures(evaluation, label_sets),
        "summary": transfer(unfused, draws),
        "space": space(Embeddings(split.z, split.rows, len(split.keys)), pairs),
    }
    return metrics, evaluation.queries
