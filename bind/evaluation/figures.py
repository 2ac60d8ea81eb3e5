"""All figures of a split, and their form in `metrics.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bind.evaluation.anchor import anchor_tasks_at_chance
from bind.evaluation.embedded import EmbeddedSplit
from bind.evaluation.fused import add_plain_sum
from bind.evaluation.queries import QueryResults, retrieval_key
from bind.evaluation.retrieval import retrieval_figures
from bind.evaluation.split import NO_TRAINED_VALUES, Evaluation, TrainedValues
from bind.evaluation.zero_shot import as_pair, zero_shot_figures
from bind.files.plain_data import Kind, read_json, require_each, require_kinds
from bind.metrics.geometry import space
from bind.metrics.transfer import transfer
from bind.model.binder import Binder
from bind.types import Embeddings, Pair, Source

KINDS: dict[str, Kind] = {"split": str, "retrieval": dict}
OPTIONAL_KINDS: dict[str, Kind] = dict.fromkeys(
    ("anchor", "zero_shot", "summary", "space", "leakage", "seconds", "hardware"), dict
)


def read_metrics(path: Path) -> dict[str, Any]:
    """The figures in a `metrics.json`; ValueError, naming the file, where it holds none."""
    metrics = require_kinds(read_json(path), KINDS, str(path), optional=OPTIONAL_KINDS)
    for part in ("retrieval", "zero_shot"):
        require_each(metrics.get(part, {}).values(), lambda entry: isinstance(entry, dict), str(path), "figures")
    return metrics


def evaluate_split(
    split: EmbeddedSplit,
    binder: Binder,
    pairs: Sequence[Pair],
    sources: Sequence[Source],
    split_name: str,
    *,
    one_per_group: bool,
    label_sets: Mapping[str, Mapping[str, Any]] | None,
    trained_values: TrainedValues = NO_TRAINED_VALUES,
) -> tuple[dict[str, Any], dict[str, QueryResults]]:
    """The figures of `metrics.json` but for the seconds, and the results of each task query by query.

    Retrieval stands under (query, pool); `as_json` names these pairs. The plain sum of what a fusion combines is added
    to the split.

    Args:
        one_per_group: the pool is the first sample of each group, all others are queries; else every sample is both.
        label_sets: name → options of a `LabelSet`, `data.zero_shot` of a config; where there are none, the samples'
            labels are one, and None leaves classification out.
        trained_values: modality that is known on purpose → its values that were trained on, by key and number.
    """
    add_plain_sum(split, binder)
    evaluation = Evaluation(split, binder, sources, split_name, one_per_group, trained_values)
    retrieval, draws = retrieval_figures(evaluation, pairs)
    unfused = {
        retrieval_key(*pair): entry for pair, entry in retrieval.items() if not evaluation.fused.keys() & set(pair)
    }
    zero_shot, zero_shot_draws = zero_shot_figures(evaluation, label_sets, pairs)
    if "text" not in split.z:  # else retrieval has counted the same pairs
        of_words = {key: as_pair(entry) for key, entry in zero_shot.items() if key in zero_shot_draws}
        unfused, draws = unfused | of_words, draws | zero_shot_draws
    anchor: dict[str, Any] = {"name": binder.anchor.name, "fingerprint": binder.anchor.fingerprint}
    if at_chance := anchor_tasks_at_chance(retrieval, zero_shot):
        anchor["at_chance"] = at_chance
    metrics = {
        "split": split_name,
        "anchor": anchor,
        "retrieval": retrieval,
        "zero_shot": zero_shot,
        "summary": transfer(unfused, draws),
        "space": space(Embeddings(split.z, split.rows, len(split.keys)), pairs),
    }
    return metrics, evaluation.queries


def as_json(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """`metrics` of `evaluate_split` as `metrics.json` has them: a pair (query, pool) is called `{query}_to_{pool}`.

    Examples:
        >>> as_json({"split": "test", "retrieval": {("audio", "image"): {"R@1": 0.5}}})
        {'split': 'test', 'retrieval': {'audio_to_image': {'R@1': 0.5}}}
    """
    return {**metrics, "retrieval": {retrieval_key(*pair): entry for pair, entry in metrics["retrieval"].items()}}
