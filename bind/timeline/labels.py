"""Labels of a time line: a label set of the run, or a file of phrases, as one vector each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bind.evaluation.label_sets import LabelSet
from bind.files.content import decode_text
from bind.files.reading import read_bytes
from bind.model.binder import Binder
from bind.timeline.none_of_these import require_no_none

MAX_BYTES = 2**20
"""Of a file of phrases."""


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
    if wanted in sets:
        return LabelSet.of(wanted, sets[wanted], [])
    path = Path(wanted).expanduser()
    known = ", ".join(sets) or "none"
    if not path.is_file():
        raise ValueError(
            f"labels={wanted}: neither a label set of the run ({known}) nor a file. Write a file of phrases, one a "
            f"line, as the texts are that {modality} was trained with"
        )
    return read_phrases(path)


def read_phrases(path: Path) -> Sequence[str]:
    """The phrases of a text file, one a line; empty lines are left out.

    Raises:
        ValueError: naming the file, where it is no text, has fewer than two phrases, or one of them twice.
    """
    lines = [line.strip() for line in decode_text(read_bytes(path, max_bytes=MAX_BYTES), path).splitlines()]
    phrases = [line for line in lines if line]
    if len(phrases) < 2:
        raise ValueError(f"{path}: {len(phrases)} phrase(s) in it; write two or more, one a line")
    return require_different(phrases, str(path))


def require_different(phrases: Sequence[str], where: str) -> Sequence[str]:
    """`phrases`; ValueError, with `where`, where one is empty or there twice."""
    seen: set[str] = set()
    for number, phrase in enumerate(phrases, start=1):
        if not phrase.strip():
            raise ValueError(f"{where}: phrase {number} is empty. Leave it out")
        if phrase in seen:
            raise ValueError(f"{where}: {phrase!r} is there twice. Leave one out")
        seen.add(phrase)
    return phrases
