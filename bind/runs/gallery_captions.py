"""Captions of a report's gallery: what a bridge says of its sounds, traces and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bind.model.binder import Binder
from bind.report.nearest import Gallery
from bind.report.values import SplitValues
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
    bridge: Bridge, values: SplitValues, galleries: Sequence[Gallery]
) -> Mapping[tuple[Modality, int], str]:
    """Modality and place among its vectors → caption, of all queries that the bridge reads but texts."""
    places: dict[Modality, dict[int, None]] = {}
    for gallery in galleries:
        if gallery.query in bridge.modalities and gallery.query != TEXT:
            places.setdefault(gallery.query, {}).update(dict.fromkeys(query.position for query in gallery.rows))
    captions: dict[tuple[Modality, int], str] = {}
    for modality, positions in places.items():
        if bridge.token_modality is None:
            texts = bridge.caption_vectors(modality, values.split.z[modality][list(positions)])
        else:
            texts = bridge.caption(modality, values.fetch_values(modality, list(positions)))
        captions |= {(modality, position): text for position, text in zip(positions, texts, strict=True)}
    return captions
