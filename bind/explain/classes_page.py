"""Page of the concepts of classes and of confusions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from bind.explain.classes import ClassConcepts, ConfusionConcepts, describe
from bind.explain.concepts import LEAST_EXPLAINED
from bind.explain.document import table, write_document

ABOUT_CLASSES = (
    "The mean vector of each class, without the mean of its modality, as a mixture of words. Explained: the cosine of "
    f"that vector with the mixture; below {LEAST_EXPLAINED} the words say less than half of it."
)
ABOUT_CONFUSIONS = (
    "Of samples that are taken for another class: the words that the mean of their vectors has more of, and less of, "
    "than the mean of those samples of their class that are found rightly."
)


def write_classes_page(
    path: Path, classes: Sequence[ClassConcepts], confusions: Sequence[ConfusionConcepts], facts: Sequence[str]
) -> None:
    """Write the page, a table of classes and one of confusions for each modality."""
    parts = ["<h1>What classes are made of</h1>", f'<p class="note">{escape(" · ".join(facts))}</p>']
    for modality in dict.fromkeys(each.modality for each in classes):
        rows = [
            (each.label, f"{each.num_samples:,}", f"{each.reconstruction_cosine:.2f}", describe(each.concepts))
            for each in classes
            if each.modality == modality
        ]
        parts += [
            f"<h2>{escape(modality)}</h2>",
            f'<p class="note">{ABOUT_CLASSES}</p>',
            table(("class", "samples", "explained", "concepts"), rows),
        ]
        confused = [
            (
                f"{each.label}, taken for {each.taken_for}",
                f"{each.num_samples} of {each.num_of_label}",
                describe(each.more),
                describe(each.less),
            )
            for each in confusions
            if each.modality == modality
        ]
        if confused:
            headers = ("confusion", "samples", "more of", "less of")
            parts += [f'<p class="note">{ABOUT_CONFUSIONS}</p>', table(headers, confused)]
    write_document(path, "What classes are made of", parts)
