"""The anchor's own task on the data: where it can't find pictures by captions, words that never met can't work."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from bind.data.sources.sample_table import SampleTable
from bind.data.value_ids import ValueIds
from bind.evaluation.anchor import is_at_chance
from bind.evaluation.embedded import EmbeddedSplit
from bind.studies.doctor.findings import Finding, FindingKind
from bind.types import Anchor, Modality, TextLookup

UNKNOWN_DATA = FindingKind(
    "anchor that does not know these data",
    1.0,
    "untrained words can't work with it: choose another (--anchor, anchor.pretrained=), or train with text",
)

MAX_SAMPLES = 200
MIN_SAMPLES = 20
"""Of fewer the intervals hold chance whatever the anchor knows."""
BATCH = 32


@functools.lru_cache(maxsize=1)
def load_named(name: str) -> Anchor:
    """The anchor of `anchor.pretrained=NAME`."""
    from bind.anchors.dual_encoder import PretrainedAnchor

    return PretrainedAnchor(name)


def load_anchor(anchor: str | Anchor) -> Anchor:
    """An anchor by its name, or itself."""
    return load_named(anchor) if isinstance(anchor, str) else anchor


def check_anchor(
    samples: SampleTable, readable: Callable[[Modality], np.ndarray], anchor: Anchor, name: str
) -> tuple[list[Finding], dict[str, Any]]:
    """Retrieve pictures or sounds by captions and back with the anchor alone, over at most 200 samples.

    `readable` gives the samples, bool (N,), of which the first value of a modality can be read.
    """
    findings: list[Finding] = []
    measured: dict[str, Any] = {}
    for modality in ("image", "audio"):
        if {modality, "text"} <= set(anchor.modalities) and not isinstance(anchor, TextLookup):
            of_modality = _check_modality(samples, readable(modality), anchor, name, modality)
            findings += of_modality[0]
            measured |= of_modality[1]
    return findings, measured


def _check_modality(
    samples: SampleTable, is_readable_N: np.ndarray, anchor: Anchor, name: str, modality: str
) -> tuple[list[Finding], dict[str, Any]]:
    with_both = np.flatnonzero(is_readable_N & samples.has("text"))
    if len(with_both) < MIN_SAMPLES:
        return [], {}
    drawn = np.unique(np.linspace(0, len(with_both) - 1, min(MAX_SAMPLES, len(with_both))).astype(int))
    both = list(samples.at(with_both[drawn]))
    keys = [str(i) for i in range(len(both))]
    texts, clips = [s.values["text"][0] for s in both], [s.values[modality][0] for s in both]
    z = {"text": _embed(anchor, "text", texts), modality: _embed(anchor, modality, clips)}
    rows = torch.arange(len(both))
    split = EmbeddedSplit(keys, torch.tensor([s.group_id for s in both]), z, dict.fromkeys(z, rows))
    split.mark_equal_values(
        {
            "text": ValueIds.of({(key, 0): texts.index(text) for key, text in zip(keys, texts, strict=True)}),
            modality: ValueIds.of({(key, 0): clips.index(clip) for key, clip in zip(keys, clips, strict=True)}),
        }
    )
    pairs = ((modality, "text"), ("text", modality))
    figures = {f"{a} → {b}": split.retrieval(a, b, one_per_group=False) for a, b in pairs}
    measured = {
        task: {k: figures[task][k] for k in ("R@1", "chance_R@1", "queries", "pool")} | {"anchor": name}
        for task in figures
    }
    if not all(map(is_at_chance, figures.values())):
        return [], measured
    detail = ", ".join(f"{task}: R@1 {e['R@1']:.2f}, chance {e['chance_R@1']:.2f}" for task, e in figures.items())
    return [Finding(UNKNOWN_DATA, f"{modality}, text", name, detail)], measured


def _embed(anchor: Anchor, modality: str, values: Sequence[Any]) -> torch.Tensor:
    transform = anchor.transforms[modality]
    parts = []
    for start in range(0, len(values), BATCH):
        items = [transform(value, None) for value in values[start : start + BATCH]]
        parts.append(anchor.embed(modality, transform.collate(items)))
    return torch.cat(parts).cpu()
