"""Labels of a time line: a label set of the run, or a file of phrases, as one vector each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bind.evaluation.label_sets import LabelSet
from bind.model.binder import Binder
from bind.timeline.none_of_these import require_no_none
from bind.timeline.phrases import phrases_of, require_different


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What is looked for: names, the unit vector (K, D) of each, and a fingerprint of names and prompts."""

    names: tuple[str, ...]
    z_KD: np.ndarray
    fingerprint: str

    def __len__(self) -> int:
        return len(self.names)


def embed_labels(binder: Binder, labels: Sequence[str] | Mapping[str, Sequence[str]] | LabelSet) -> Labels:
    """Labels with their vectors: phrases, or names with the prompts of each.

    Raises:
        ValueError: for fewer than two labels, an empty one, or one that is there twice.
    """
    if isinstance(labels, str):
        raise ValueError(f"labels: pass a list of phrases, such as [{labels!r}, …]")
    if isinstance(labels, LabelSet):
        label_set = labels
    elif isinstance(labels, Mapping):
        label_set = LabelSet("labels", (), ("{}",), {name: tuple(texts) for name, texts in labels.items()})
    else:
        label_set = LabelSet("labels", (), ("{}",), {name: (name,) for name in require_different(labels, "labels")})
    names = tuple(label_set.classes)
    if len(names) < 2:
        raise ValueError(f"labels: {len(names)} label(s); a time line needs two or more, between which it chooses")
    require_no_none(names)
    z_KD = label_set.embed(lambda texts: binder.embed("text", texts)).numpy()
    return Labels(names, z_KD, label_set.fingerprint)


def choose_labels(wanted: str, sets: Mapping[str, Mapping[str, Any]], modality: str) -> LabelSet | Sequence[str]:
    """The label set of a run that is called so, or the phrases in a file, one a line.

    Raises:
        ValueError: where it is neither, and for a file that is empty or has a phrase twice.
    """
    phrases = phrases_of(wanted, sets, modality)
    return LabelSet.of(wanted, sets[wanted], []) if phrases is None else phrases
