"""Concepts of whole classes, and of samples that are taken for another class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from bind.explain.concepts import DEFAULT_L1, ConceptMixture, ConceptVocabulary
from bind.types import Modality

NUM_CONCEPTS = 5
"""That are shown of a class, and of each side of a confusion."""
NUM_CONFUSIONS = 8
"""Of a modality, the most frequent."""
MIN_SAMPLES = 3
"""Of a confusion: a mean of fewer says what else these samples have."""

Concepts = list[tuple[str, float]]
"""Words with their weights, the largest first."""


@dataclass(frozen=True)
class ClassConcepts:
    """The concepts of the mean vector of a class, with their weights."""

    modality: Modality
    label: str
    num_samples: int
    concepts: Concepts
    reconstruction_cosine: float


@dataclass(frozen=True)
class ConfusionConcepts:
    """What the samples of `label` that are taken for `taken_for` have more of, and less of, than those that are not.

    Attributes:
        label_set: the classes that samples were classified into.
        num_samples: that are taken for it.
        num_of_label: all of the label.
        more: concepts with the weight by which the mean of the confused ones has more of them.
        less: the same of those that it has less of.
        reconstruction_cosine: the smaller one of both means.
    """

    modality: Modality
    label_set: str
    label: str
    taken_for: str
    num_samples: int
    num_of_label: int
    more: Concepts
    less: Concepts
    reconstruction_cosine: float


def explain_classes(
    modality: Modality,
    z_ND: Tensor,
    labels: Sequence[str | None],
    vocabulary: ConceptVocabulary,
    *,
    order: Sequence[str] = (),
    l1: float = DEFAULT_L1,
) -> list[ClassConcepts]:
    """The concepts of each class of a modality.

    The mean of all vectors (N, D) is taken off, that of samples without a label too.

    Args:
        order: labels in the order in which their classes are listed; others follow by name.

    Examples:
        >>> import torch
        >>> vocabulary = ConceptVocabulary(["dog", "cat"], torch.eye(2), torch.zeros(2))
        >>> z_ND = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> [(c.label, c.num_samples, c.concepts[0][0]) for c in explain_classes("audio", z_ND, "aab", vocabulary)]
        [('a', 2, 'dog'), ('b', 1, 'cat')]
    """
    mean_D, explained = z_ND.double().mean(dim=0), []
    there = {label for label in labels if label}
    for label in dict.fromkeys([label for label in order if label in there] + sorted(there)):
        of_label = [row for row, other in enumerate(labels) if other == label]
        mixture = vocabulary.decompose(z_ND[of_label].double().mean(dim=0), mean_D, l1=l1)
        concepts = _largest(vocabulary.words, mixture.weights_V)
        explained.append(ClassConcepts(modality, label, len(of_label), concepts, mixture.reconstruction_cosine))
    return explained


def explain_confusions(
    modality: Modality,
    z_ND: Tensor,
    z_QD: Tensor,
    vocabulary: ConceptVocabulary,
    *,
    labels_Q: Sequence[int],
    predicted_Q: Sequence[int],
    classes: Sequence[str],
    label_set: str = "",
    l1: float = DEFAULT_L1,
) -> list[ConfusionConcepts]:
    """The most frequent confusions of three samples or more, and how their concepts differ from the right ones'.

    A class of which no sample is right has nothing to compare with, and is left out.

    Args:
        z_ND: all vectors of the modality, whose mean is taken off.
        z_QD: those that were classified.
        labels_Q: the class of each, as a place in `classes`.
        predicted_Q: the class that each was taken for.
        label_set: what these classes are called.
    """
    mean_D, labels, predicted = z_ND.double().mean(dim=0), np.asarray(labels_Q), np.asarray(predicted_Q)

    def mixture_of(rows: np.ndarray) -> ConceptMixture:
        return vocabulary.decompose(z_QD[rows.nonzero()[0]].double().mean(dim=0), mean_D, l1=l1)

    counts = Counter((int(a), int(b)) for a, b in zip(labels, predicted, strict=True) if a != b)
    explained = []
    for (label, taken_for), count in counts.most_common(NUM_CONFUSIONS):
        is_right = (labels == label) & (predicted == label)
        if count < MIN_SAMPLES or not is_right.any():
            continue
        confused, right = mixture_of((labels == label) & (predicted == taken_for)), mixture_of(is_right)
        more_V = confused.weights_V - right.weights_V
        explained.append(
            ConfusionConcepts(
                modality,
                label_set,
                classes[label],
                classes[taken_for],
                count,
                int((labels == label).sum()),
                _largest(vocabulary.words, more_V),
                _largest(vocabulary.words, -more_V),
                min(confused.reconstruction_cosine, right.reconstruction_cosine),
            )
        )
    return explained


def describe(concepts: Concepts) -> str:
    """Concepts in words.

    Examples:
        >>> describe([("dog", 0.42), ("rain", 0.1)]), describe([])
        ('dog 0.42, rain 0.10', 'none')
    """
    return ", ".join(f"{word} {weight:.2f}" for word, weight in concepts) or "none"


def as_json(explained: ClassConcepts | ConfusionConcepts) -> dict[str, Any]:
    """Plain values; concepts as word → weight."""
    values = dict(vars(explained))
    return {name: dict(value) if isinstance(value, list) else value for name, value in values.items()}


def _largest(words: Sequence[str], weights_V: np.ndarray) -> Concepts:
    order = np.argsort(-weights_V, kind="stable")[:NUM_CONCEPTS]
    return [(words[n], round(float(weights_V[n]), 4)) for n in order.tolist() if weights_V[n] > 1e-4]
