"""Concepts of a split's classes and of its worst confusions as a command."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bind.commands.arguments.explain import CLASSES_JSON
from bind.data.sources.sample_columns import join_samples, labels_of
from bind.evaluation.caption_wording import find_caption_wording
from bind.evaluation.embed import embed_split
from bind.evaluation.embedded import EmbeddedSplit
from bind.evaluation.label_sets import LabelSet, default_label_sets, known_texts
from bind.explain.class_tables import class_cells, confusion_cells
from bind.explain.classes import ClassConcepts, ConfusionConcepts, as_json, explain_classes, explain_confusions
from bind.explain.classes_page import write_classes_page
from bind.explain.concepts import ConceptVocabulary
from bind.explain.known import KnownSamples
from bind.explain.vocabulary import make_vocabulary
from bind.files.writing import write_text
from bind.metrics.zero_shot import predicted_classes, rank_classes
from bind.model.binder import Binder
from bind.report.terminal_table import print_cells
from bind.runs.parts import Parts
from bind.types import Modality

CLASSES_PAGE = "classes.html"


def explain_labels(
    parts: Parts, split_name: str, words: Sequence[str] | None, out: Path, *, num_samples: int, l1: float, run: str
) -> None:
    """Write the concepts of each class of a split, and of its most frequent confusions, of each modality.

    Raises:
        ValueError: where no sample has a label, or the run's data have no words.
    """
    binder, sources = parts.binder, parts.datamodule.sources
    labels = labels_of(join_samples([source.samples(split_name) for source in sources]))
    if not any(labels):
        raise ValueError(
            f"split {split_name!r} has no sample with a label, so there are no classes to explain; name two sides, "
            "a=MODALITY:VALUE b=MODALITY:VALUE, or another split="
        )
    vocabulary, about = make_vocabulary(binder, KnownSamples.draw(sources, "train", num_samples), words)
    split = embed_split(parts.datamodule, binder, split_name)
    modalities = [m for m in split.z if m in binder.modalities and m != "text"]
    label_sets = classified(parts, split_name, labels, modalities)
    classes: list[ClassConcepts] = []
    for modality in modalities:
        of_vectors = [labels[row] for row in split.rows[modality].tolist()]
        order = [label for m, label_set in label_sets if m == modality for label in label_set.classes]
        classes += explain_classes(modality, split.z[modality].cpu(), of_vectors, vocabulary, order=order, l1=l1)
    confusions = [
        confusion
        for modality, label_set in label_sets
        for confusion in _confusions(binder, split, labels, modality, label_set, vocabulary, l1)
    ]
    facts = [f"run {run}", f"split {split_name}", f"concepts: {about}"]
    out.mkdir(parents=True, exist_ok=True)
    names = [label_set.name for _, label_set in label_sets]
    tables = class_cells(classes, split_name), confusion_cells(confusions, split_name, names)
    write_classes_page(out / CLASSES_PAGE, *tables, facts, vocabulary.words)
    content = {"facts": facts, "classes": list(map(as_json, classes)), "confusions": list(map(as_json, confusions))}
    write_text(out / CLASSES_JSON, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    for cells in tables:
        if cells.sections:
            print_cells(cells)
    print(out / CLASSES_PAGE)


def classified(
    parts: Parts, split_name: str, labels: Sequence[str | None], modalities: Sequence[Modality]
) -> list[tuple[Modality, LabelSet]]:
    """Each modality with the label sets that its samples are classified into, one label each, as in an evaluation."""
    sets: Mapping[str, Mapping[str, Any]] = parts.config["data"]["zero_shot"] or {}
    if not sets:
        known = known_texts(parts.binder.anchor)
        wording = find_caption_wording(parts.datamodule.sources, ("train", split_name))
        sets = default_label_sets(modalities, labels, known, wording.templates if wording else ())
    label_sets = [LabelSet.of(name, options, labels) for name, options in sets.items()]
    return [(m, each) for each in label_sets if not each.multi_label for m in each.modalities if m in modalities]


def _confusions(
    binder: Binder,
    split: EmbeddedSplit,
    labels: Sequence[str | None],
    modality: Modality,
    label_set: LabelSet,
    vocabulary: ConceptVocabulary,
    l1: float,
) -> list[ConfusionConcepts]:
    of_vectors = torch.tensor([label_set.has_class_of(labels[row]) for row in split.rows[modality].tolist()])
    if not bool(of_vectors.any()):
        return []
    positions = of_vectors.nonzero().flatten()
    members_QK = label_set.members([labels[row] for row in split.rows[modality][positions].tolist()])
    z_QD, target_Q = split.z[modality][positions].cpu(), members_QK.int().argmax(dim=1)
    z_KD = label_set.embed(lambda texts: binder.embed("text", texts))
    predicted_Q = predicted_classes(rank_classes(z_QD, target_Q, z_KD), z_QD, target_Q, z_KD)
    return explain_confusions(
        modality,
        split.z[modality].cpu(),
        z_QD,
        vocabulary,
        labels_Q=target_Q.tolist(),
        predicted_Q=predicted_Q.tolist(),
        classes=list(label_set.classes),
        label_set=label_set.name,
        l1=l1,
    )
