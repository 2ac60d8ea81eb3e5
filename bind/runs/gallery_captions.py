"""Captions of a report's gallery: what a bridge says of its sounds, traces and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bind.evaluation.embedded import EmbeddedSplit
from bind.model.binder import Binder
from bind.report.nearest import Gallery
from bind.types import Modality

if TYPE_CHECKING:
    from bind.bridge.bridge import Bridge

TEXT = "text"


def load_bridge(folder: Path | None, binder: Binder) -> Bridge | None:
    """The bridge in a folder, where one is named: language models are imported then only."""
    if folder is None:
        return None
    from bind.bridge.bridge import Bridge

    return Bridge.load(folder, binder)


def caption_queries(
    bridge: Bridge, split: EmbeddedSplit, galleries: Sequence[Gallery]
) -> Mapping[tuple[Modality, int], str]:
    """Modality and place among its vectors → caption, of all queries but texts and fused ones."""
    places: dict[Modality, dict[int, None]] = {}
    for gallery in galleries:
        if gallery.query in bridge.binder.modalities and gallery.query != TEXT:
            places.setdefault(gallery.query, {}).update(dict.fromkeys(query.position for query in gallery.rows))
    captions: dict[tuple[Modality, int], str] = {}
    for modality, positions in places.items():
        texts = bridge.caption_vectors(modality, split.z[modality][list(positions)])
        captions |= {(modality, position): text for position, text in zip(positions, texts, strict=True)}
    return captions
