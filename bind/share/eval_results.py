"""Figures as the hub reads them: the metadata of a model card with its `model-index`, and `.eval_results`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bind.model.hub import TAGS
from bind.report.leakage_table import leakage_note
from bind.share.run_facts import RunFacts

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

EVAL_RESULTS_FILE = ".eval_results/bindspace.yaml"
OWN_DATA = "own-data"
"""What `model-index` calls data that have no name on the hub."""
NUM_DIGITS = 5


@dataclass(frozen=True)
class _Figure:
    """One figure of trained or emergent modalities, and what it was measured on."""

    key: str
    title: str
    task: str
    metric: str
    metric_name: str
    value: float
    notes: str


def _figures(facts: RunFacts) -> Iterator[_Figure]:
    leakage = facts.metrics.get("leakage")
    audit = leakage_note(leakage) if leakage else "leakage: unknown"
    for (query, pool), entry in facts.figures_by_pair()["retrieval"].items():
        if entry.get("kind") != "anchor":
            notes = f"{entry['queries']} queries, pool {entry['pool']}, {_bounds(entry, 'R@1')}; {audit}"
            title = f"{query} → {pool}"
            key = f"{query}_to_{pool}"
            yield _Figure(key, title, "retrieval", "recall_at_1", "R@1", entry["R@1"], notes)
    for key, entry in (facts.metrics.get("zero_shot") or {}).items():
        if entry.get("kind") != "anchor" and "top1" in entry:
            notes = f"{entry['queries']} queries, {entry['num_classes']} classes, {_bounds(entry, 'top1')}; {audit}"
            title = f"classes of {key}, zero-shot"
            yield _Figure(
                f"zero_shot_{key}", title, "zero-shot-classification", "accuracy", "top-1", entry["top1"], notes
            )


def _bounds(entry: dict[str, float | list[float]], name: str) -> str:
    chance = entry.get(f"chance_{name}", entry.get("chance"))
    interval = entry.get(f"ci95_{name}")
    text = f"chance {chance:.3f}" if isinstance(chance, float) else "chance unknown"
    return text + (f", 95 % interval {interval[0]:.3f}–{interval[1]:.3f}" if isinstance(interval, list) else "")


def card_metadata(facts: RunFacts) -> ModelCardData:
    """The head of a model card."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=figure.task,
            dataset_type=facts.dataset or OWN_DATA,
            dataset_name=facts.dataset or ", ".join(facts.sources),
            dataset_split=facts.metrics["split"],
            metric_type=figure.metric,
            metric_name=f"{figure.title}: {figure.metric_name} ({figure.notes})",
            metric_value=round(figure.value, NUM_DIGITS),
        )
        for figure in _figures(facts)
    ]
    return ModelCardData(
        library_name="bindspace",
        license=facts.licences.weights,
        base_model=facts.base_models or None,
        datasets=[facts.dataset] if facts.dataset else None,
        pipeline_tag="feature-extraction",
        tags=[*TAGS, "sentence-transformers", *facts.binder.encoders],
        model_name=facts.name,
        eval_results=results or None,
    )


def eval_results_yaml(facts: RunFacts) -> str | None:
    """The text of `.eval_results/bindspace.yaml`; None where the data have no name on the hub, which it needs."""
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    if facts.dataset is None:
        return None
    entries = [
        EvalResultEntry(
            dataset_id=facts.dataset,
            task_id=figure.key,
            value=round(figure.value, NUM_DIGITS),
            notes=f"{figure.metric_name}, {facts.metrics['split']} split, {figure.notes}",
        )
        for figure in _figures(facts)
    ]
    return (
        yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True) if entries else None
    )
