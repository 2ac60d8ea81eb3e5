"""Samples that the page of an explanation shows: sounds to be played, pictures, traces, and the words of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bind.explain.explanation import Explanation
from bind.explain.known import KnownSamples, Neighbour
from bind.report.media import as_media
from bind.report.page_media import Media
from bind.report.sample_words import caption_of, list_facts
from bind.report.values import drawable_or_missing
from bind.types import Modality, Transform

MEETING = "meeting"
"""Beside the sides "a" and "b", whose nearest training samples are shown."""


class KnownValues:
    """What known samples look or sound like; positions are their rows."""

    def __init__(self, known: KnownSamples, transforms: Mapping[Modality, Transform]) -> None:
        self.known, self.transforms = known, transforms

    def fetch(self, modality: Modality, positions: Sequence[int]) -> list[Any]:
        """Drawable values, see `drawable_or_missing`."""
        return [drawable_or_missing(modality, v, self.transforms) for v in self.known.values(modality, positions)]


def page_samples(
    explanation: Explanation, training: KnownSamples, transforms: Mapping[Modality, Transform]
) -> dict[str, Any]:
    """The data of a page, ready for JSON.

    Returns:
        `media`, see `as_media`; `sounds`: "a" or "b" → the place in it of a side that is one; `samples`: "a", "b" and
        "meeting" → their modality and cells, as in a report's gallery.
    """
    media = Media(KnownValues(training, transforms))
    sides = dict(zip("ab", explanation.sides, strict=True))
    nearest = {name: (side.modality, explanation.nearest["ab".index(name)]) for name, side in sides.items()}
    if explanation.meeting_modality is not None:
        nearest[MEETING] = (explanation.meeting_modality, explanation.meeting)
    samples = {
        name: {"modality": modality, "cells": [_cell(training, modality, near, media) for near in neighbours]}
        for name, (modality, neighbours) in nearest.items()
    }
    sounds = {}
    for name, side in sides.items():
        shown = as_media(drawable_or_missing(side.modality, side.value, transforms))
        if shown["kind"] == "sound":
            sounds[name] = len(media.items)
            media.items.append(shown)
    return {"samples": samples, "sounds": sounds, "media": media.items}


def _cell(training: KnownSamples, modality: Modality, near: Neighbour, media: Media) -> dict[str, Any]:
    sample, (source, _) = training.samples[near.row], training.places[near.row]
    value = next(iter(sample.values.get(modality, ())), None)
    return {
        "key": near.key,
        "caption": caption_of(sample),
        "facts": [*([describe_equal(near, modality)] if near.num_equal else []), *list_facts(sample, source, value)],
        "media": media.numbers(modality, [near.row])[0],
        "score": near.score,
    }


def describe_equal(near: Neighbour, modality: Modality) -> str:
    """How many other samples have the same text or file, which are not shown."""
    return f"… and {near.num_equal:,} more {'with these words' if modality == 'text' else 'with the same file'}"
