"""The zero-shot figures of a split: every label set with every modality that it is for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bind.data.sources.sample_columns import labels_of
from bind.evaluation.caption_wording import CaptionWording, find_caption_wording
from bind.evaluation.fused import modality_title
from bind.evaluation.label_sets import LabelSet, default_label_sets, known_texts
from bind.evaluation.queries import items_at, query_results
from bind.evaluation.split import Evaluation
from bind.metrics.bootstrap import resampled_means
from bind.metrics.multi_label import multi_label
from bind.metrics.zero_shot import per_class, predicted_classes, rank_classes, zero_shot_summary
from bind.types import Pair

log = logging.getLogger("bind")


def zero_shot_figures(
    evaluation: Evaluation, label_sets: Mapping[str, Mapping[str, Any]] | None, pairs: Sequence[Pair]
) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray]]:
    """Zero-shot figures, and the top-1 accuracy of each in every bootstrap resample, where there is one.

    `{modality}`, or `{modality}/{label set}` where there are several sets → accuracy against text prompts.

    See `LabelSet` for what a set is; without any, the samples' own labels are one (`default_label_sets`), and None
    leaves classification out. Where labels are the classes, `templates` are what was put around them: those of the
    data's captions, where these are made of templates; where they are not, `other_caption` is one of them. `kind`:
    `trained` where the loss saw the modality with text, `anchor` where it is the anchor's own, `emergent` else. Samples
    with other labels are left out; where a sample may have several, all that have any are ranked.

    Raises:
        ValueError: where a set is not right, or no sample of the split has a label of it.
    """
    split, binder = evaluation.split, evaluation.binder
    labels = labels_of(evaluation.samples)
    trained = {frozenset((pair.a, pair.b)) for pair in pairs}
    is_default = label_sets == {}
    wording: CaptionWording | None = None
    if is_default:
        modalities = [m for m in split.z if m != "text" and m not in evaluation.fused]
        known = known_texts(binder.anchor)
        wording = find_caption_wording(evaluation.sources, ("train", evaluation.split_name))
        label_sets = default_label_sets(modalities, labels, known, wording.templates if wording else ())
        if known is not None and not label_sets and default_label_sets(modalities, labels):
            log.warning(
                "zero-shot is left out: the anchor %s runs no text tower and has no vectors of the labels; give them "
                "to it (anchor.texts=FILE, see docs/anchors.md)",
                binder.anchor.name,
            )
        if label_sets:
            log.warning(
                "zero-shot: the labels of the samples are the classes (%s)%s; data.zero_shot sets others, null none",
                ", ".join(f"{m}: {options['templates'][0]!r}" for m, options in label_sets.items()),
                ", in the words of the captions" if wording and wording.templates and known is None else "",
            )
    label_sets = label_sets or {}
    figures: dict[str, dict[str, Any]] = {}
    draws: dict[str, np.ndarray] = {}
    for name, options in label_sets.items():
        label_set = LabelSet.of(name, options, labels)
        members_NK, classes = label_set.members(labels), list(label_set.classes)
        z_class = label_set.embed(lambda texts: binder.embed("text", texts)).to(split.device)
        is_query_N = torch.tensor([bool(label) for label in labels]) if label_set.multi_label else members_NK.any(dim=1)
        fused = [m for m in split.z if m in evaluation.fused]
        for modality in [m for m in (*label_set.modalities, *([] if is_default else fused)) if m in split.z]:
            query_rows = is_query_N[split.rows[modality]].nonzero().flatten()
            query_items, z_query = items_at(split, modality, query_rows), split.vectors(modality, query_rows)
            members_QK = members_NK[query_items.rows]
            suffix = f"/{name}" if len(label_sets) > 1 and not is_default else ""
            key = modality + suffix
            if not bool(members_QK.any()):
                log.warning("zero-shot %s: no sample with %s has a label of %s", key, modality, name)
                continue
            resampled, clusters_Q, num_clusters = evaluation.clusters(
                modality, query_items, query_rows, evaluation.all_N
            )
            if label_set.multi_label:
                entry = multi_label(z_query, members_QK, z_class, classes, clusters=clusters_Q)
            else:
                target_Q = members_QK.int().argmax(dim=1)
                ranking = rank_classes(z_query, target_Q, z_class).cpu()
                entry = zero_shot_summary(ranking, clusters_Q)
                draws[key] = resampled_means(ranking.hits(1)[:, None], clusters_Q, num_clusters=num_clusters)[:, 0]
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
            is_trained = frozenset((modality, "text")) in trained
            is_anchors = set(evaluation.inputs_of(modality)) <= set(binder.anchor.modalities)
            kind = "trained" if is_trained else "anchor" if is_anchors else "emergent"
            label_set_name = "label" if is_default else name
            figures[key] = entry | {"resampled": resampled, "label_set": label_set_name, "kind": kind}
            if is_default:
                figures[key]["templates"] = list(label_set.templates)
            if wording and not wording.templates:
                figures[key]["other_caption"] = wording.example
            if label := evaluation.known_label(modality):
                figures[key]["label"] = label
    return figures, draws


def as_pair(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A zero-shot figure as `transfer` takes a pair of a modality and words; at best every class is found."""
    renamed = {"R@1": entry["top1"], "chance_R@1": entry["chance"], "ceiling_R@1": 1.0}
    return renamed | {name: entry[name] for name in ("kind", "clusters", "resampled")}
