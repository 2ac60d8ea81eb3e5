"""The zero-shot figures of a split: every label set with every modality that it is for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from bind.evaluation.fused import modality_title
from bind.evaluation.label_sets import LabelSet
from bind.evaluation.queries import items_at, query_results
from bind.evaluation.split import Evaluation
from bind.metrics.multi_label import multi_label
from bind.metrics.zero_shot import per_class, predicted_classes, rank_classes, zero_shot_summary

log = logging.getLogger("bind")


def zero_shot_figures(evaluation: Evaluation, label_sets: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """`{modality}`, or `{modality}/{label set}` where there are several sets → accuracy against text prompts.

    See `LabelSet` for what a set is. Samples with other labels are left out; where a sample may have several, all that
    have any are ranked.

    Raises:
        ValueError: where a set is not right, or no sample of the split has a label of it.
    """
    split, binder = evaluation.split, evaluation.binder
    labels = [sample.label for sample in evaluation.samples]
    figures = {}
    for name, options in label_sets.items():
        label_set = LabelSet.of(name, options, labels)
        members_NK, classes = label_set.members(labels), list(label_set.classes)
        z_class = label_set.embed(lambda texts: binder.embed("text", texts))
        is_query_N = torch.tensor([bool(label) for label in labels]) if label_set.multi_label else members_NK.any(dim=1)
        fused = [m for m in split.z if m in evaluation.fused]
        for modality in [m for m in (*label_set.modalities, *fused) if m in split.z]:
            query_rows = is_query_N[split.rows[modality]].nonzero().flatten()
            query_items, z_query = items_at(split, modality, query_rows), split.z[modality][query_rows]
            members_QK = members_NK[query_items.rows]
            suffix = f"/{name}" if len(label_sets) > 1 else ""
            key = modality + suffix
            if not bool(members_QK.any()):
                log.warning("zero-shot %s: no sample with %s has a label of %s", key, modality, name)
                continue
            resampled, clusters_Q, _ = evaluation.clusters(modality, query_items, query_rows, evaluation.all_N)
            if label_set.multi_label:
                entry = multi_label(z_query, members_QK, z_class, classes, clusters=clusters_Q)
            else:
                target_Q = members_QK.int().argmax(dim=1)
                ranking = rank_classes(z_query, target_Q, z_class)
                entry = zero_shot_summary(ranking, clusters_Q)
                predicted_Q = predicted_classes(ranking, z_query, target_Q, z_class)
                entry["per_class"] = per_class(target_Q, predicted_Q, classes)
                evaluation.queries[f"zero_shot/{key}"] = query_results(
                    split,
                    ranking,
                    query_items,
                    title=f"{modality_title(modality, evaluation.fused)}{suffix}, zero-shot",
                    clusters_Q=clusters_Q,
                    resampled=resampled,
                    pool=(len(classes), label_set.fingerprint),
                )
            figures[key] = entry | {"resampled": resampled, "label_set": name}
            if label := evaluation.known_label(modality):
                figures[key]["label"] = label
    return figures
