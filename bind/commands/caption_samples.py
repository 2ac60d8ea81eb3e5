"""Captions of the samples of a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bind.bridge.bridge import BATCH_SIZE, Bridge
from bind.commands.captioned_value import CaptionedValue
from bind.commands.named_inputs import TEXT
from bind.data.datamodule import BindDataModule
from bind.data.sources.splits import require_split
from bind.evaluation.embed import embed_split
from bind.explain.known import KnownSamples
from bind.types import Modality, Source


def caption_split(
    bridge: Bridge,
    sources: Sequence[Source],
    split: str,
    chosen: Sequence[Modality],
    writing: dict[str, Any],
) -> list[CaptionedValue]:
    """A caption of each sample and modality of a split.

    Raises:
        ValueError: where no source has the split or one of the chosen modalities.
    """
    require_split(sources, split, "Name another with split=")
    there = dict.fromkeys(m for source in sources for m in source.modalities() if m in bridge.binder.modalities)
    modalities = list(chosen) or [m for m in there if m != TEXT and m in bridge.modalities]
    if unknown := [m for m in modalities if m not in there]:
        raise ValueError(
            f"modalities={','.join(unknown)}: not in these samples, or unknown to the run; both have {', '.join(there)}"
        )
    for modality in modalities:
        bridge.require_readable(modality)
    captions = []
    for source in sources:
        if not len(source.samples(split)):
            continue
        of_source = [m for m in modalities if m in source.modalities()]
        if bridge.token_modality is None:
            captions += _caption_vectors(bridge, source, split, of_source, writing)
        else:
            for modality in of_source:
                captions += _caption_tokens(bridge, source, split, modality, writing)
    return captions


def _caption_vectors(
    bridge: Bridge,
    source: Source,
    split: str,
    modalities: Sequence[Modality],
    writing: dict[str, Any],
) -> list[CaptionedValue]:
    captions = []
    datamodule = BindDataModule({source.name: source}, bridge.binder.transforms, [], modalities)
    embedded = embed_split(datamodule, bridge.binder, split)
    for modality in modalities:
        if modality in embedded.z:
            texts = bridge.caption_vectors(modality, embedded.z[modality], **writing)
            keys = [embedded.keys[row] for row in embedded.rows[modality].tolist()]
            captions += [CaptionedValue(key, modality, text) for key, text in zip(keys, texts, strict=True)]
    return captions


def _caption_tokens(
    bridge: Bridge, source: Source, split: str, modality: Modality, writing: dict[str, Any]
) -> list[CaptionedValue]:
    """Of each sample's first value; tokens are large, so that a few are in memory at a time."""
    samples = source.samples(split)
    known = KnownSamples.draw([source], split, len(samples))
    rows, captions = known.rows_with(modality), []
    for start in range(0, len(rows), BATCH_SIZE):
        chosen = rows[start : start + BATCH_SIZE]
        texts = bridge.caption(modality, known.values(modality, chosen), **writing)
        keys = [known.samples[row].key for row in chosen]
        captions += [CaptionedValue(key, modality, text) for key, text in zip(keys, texts, strict=True)]
    return captions
