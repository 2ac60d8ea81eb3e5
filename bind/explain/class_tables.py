"""Tables of the concepts of classes and of confusions, the same for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bind.explain.classes import ClassConcepts, ConfusionConcepts, describe
from bind.explain.concepts import LEAST_EXPLAINED
from bind.report.cells import Cells, without_column


def class_cells(classes: Sequence[ClassConcepts], split_name: str) -> Cells:
    """The concepts of each class, a section for each modality."""
    sections: dict[str, list[tuple[str, ...]]] = {}
    for each in classes:
        row = (each.label, f"{each.num_samples:,}", f"{each.reconstruction_cosine:.2f}", describe(each.concepts))
        sections.setdefault(each.modality, []).append(row)
    caption = (
        "The mean vector of each class, without the mean of its modality, as a mixture of words. Explained: the "
        f"cosine of that vector with the mixture; below {LEAST_EXPLAINED} the words say less than half of it."
    )
    headers = ("class", "samples", "explained", "concepts")
    return Cells(f"Concepts of classes, {split_name} split", caption, headers, sections)


def confusion_cells(confusions: Sequence[ConfusionConcepts], split_name: str, label_sets: Sequence[str] = ()) -> Cells:
    """What samples that are taken for another class have more and less of, a section for each modality.

    Args:
        label_sets: what samples were classified into; of several each row has the name of its own.
    """
    sections: dict[str, list[tuple[str, ...]]] = {}
    for each in confusions:
        samples = f"{each.num_samples:,} of {each.num_of_label:,}"
        row = (f"{each.label} for {each.taken_for}", samples, describe(each.more), describe(each.less))
        sections.setdefault(each.modality, []).append((row[0], each.label_set, *row[1:]))
    caption = (
        "Of samples that are taken for another class: the words that the mean of their vectors has more of, and less "
        "of, than the mean of those samples of their class that are found rightly."
    )
    headers = ("taken", "label set", "samples", "more of", "less of")
    cells = Cells(f"Confusions, {split_name} split", caption, headers, sections)
    if len(set(label_sets)) < 2:
        return without_column(cells, headers.index("label set"))
    return replace(cells, caption=f"{caption} A sample may be in several label sets.")
