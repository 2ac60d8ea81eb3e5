"""Wording of captions: what stands around the labels in them, so that classes can be put into the same words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bind.data.sources.sample_columns import has_modality
from bind.evaluation.label_sets import label_phrase, split_labels
from bind.types import Source

MAX_SAMPLES = 500
"""So many samples with a caption are looked at, evenly spread over each source."""
MAX_TEMPLATES = 8
MIN_SHARE = 0.5
"""Of the captions that have to be made of templates."""


@dataclass(frozen=True)
class CaptionWording:
    """The templates that captions are made of, the most frequent first; none where they are free texts.

    Attributes:
        templates: each has stood around two different labels at least.
        example: one of the captions.
    """

    templates: tuple[str, ...]
    example: str


def find_caption_wording(sources: Iterable[Source], splits: Sequence[str]) -> CaptionWording | None:
    """The wording of the captions of labelled samples, in the first of these splits that has any; None without."""
    sources = list(sources)
    for split in splits:
        captions = [pair for source in sources for pair in _labelled_captions(source, split)]
        if captions:
            return CaptionWording(find_templates(captions), captions[0][1])
    return None


def find_templates(captions: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The templates that at least half of these (label, caption) are made of, the most frequent first; else none.

    A template has `{}` where the label stands, in capitals or not and with a blank for its `_`.

    Examples:
        >>> find_templates([("dog", "a recording of a dog"), ("door_knock", "a recording of a door knock")])
        ('a recording of a {}',)
        >>> find_templates([("dog", "it barks all night"), ("rain", "water falls on a roof")])
        ()
    """
    counts: Counter[str] = Counter()
    labels_of_template: dict[str, set[str]] = {}
    for label, caption in captions:
        if (template := _template_of(label, caption)) is not None:
            counts[template] += 1
            labels_of_template.setdefault(template, set()).add(label)
    shared = [template for template, _ in counts.most_common() if len(labels_of_template[template]) > 1][:MAX_TEMPLATES]
    is_common = sum(counts[template] for template in shared) >= MIN_SHARE * len(captions)
    return tuple(shared) if is_common else ()


def _template_of(label: str, caption: str) -> str | None:
    if "{}" in caption:
        return None
    for phrase in dict.fromkeys((label, label_phrase(label))):
        template, num = re.subn(rf"(?<!\w){re.escape(phrase)}(?!\w)", "{}", caption, count=1, flags=re.IGNORECASE)
        if num:
            return template
    return None


def _labelled_captions(source: Source, split: str) -> list[tuple[str, str]]:
    """Label and caption of samples that are of one class and have both, of those that are looked at."""
    samples = source.samples(split)
    with_text = np.flatnonzero(has_modality(samples, "text"))
    drawn = with_text[np.linspace(0, len(with_text) - 1, min(MAX_SAMPLES, len(with_text))).astype(int)].tolist()
    label_of = {i: samples[i].label for i in drawn}
    drawn = [i for i in drawn if len(split_labels(label_of[i], multi_label=True)) == 1]
    values = source.fetch(split, drawn, ["text"], None) if drawn else []
    return [
        (str(label_of[i]), text)
        for i, of_sample in zip(drawn, values, strict=True)
        for text in of_sample.get("text", ())
        if isinstance(text, str)
    ]
