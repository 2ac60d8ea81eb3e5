"""What each remedy for the gap makes of validation samples: looked at in the end of a bridge's training."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bind.bridge.bridge import Bridge
from bind.bridge.gap import TEXT
from bind.explain.known import KnownSamples
from bind.report.cells import Cells
from bind.types import Source

ABOUT = (
    "Captions of validation samples. A remedy that names labels more often may still make more up, which labels don't "
    "show: look at captions, and choose with gap="
)


def named_label(caption: str, labels: Iterable[str]) -> str | None:
    """The longest of the labels that a caption has, in whole words and either case.

    Examples:
        >>> named_label("a person walking upstairs", ["walking", "walking upstairs"])
        'walking upstairs'
    """
    present = [label for label in labels if re.search(rf"(?<!\w){re.escape(label)}(?!\w)", caption, re.IGNORECASE)]
    return max(present, key=len, default=None)


def remedy_cells(bridge: Bridge, sources: Sequence[Source], num_samples: int) -> Cells | None:
    """A row for each modality and remedy: how many captions are empty, and how many name their sample's label.

    None where there is nothing to compare: no validation samples, or a bridge that reads tokens.
    """
    if bridge.token_modality is not None or not num_samples:
        return None
    known = KnownSamples.draw(sources, "val", num_samples)
    rows: list[tuple[str, ...]] = []
    for modality in (m for m in bridge.modalities if m != TEXT and known.has(m)):
        z_ND = known.embed(bridge.binder, modality)
        truth = [known.samples[row].label for row in known.rows[modality]]
        labels = sorted({label for label in truth if label})
        for remedy in bridge.gap.remedies_for(modality):
            captions = bridge.caption_vectors(modality, z_ND, gap=remedy)
            named = [named_label(text, labels) == label for text, label in zip(captions, truth, strict=True) if label]
            share = f"{sum(named) / len(named):.2f}" if named else ""
            taken = "*" if remedy == bridge.gap.remedy_of(modality) else ""
            rows.append((modality, remedy + taken, share, f"{captions.count('') / len(captions):.2f}"))
    headers = ("", "gap (* its own)", "name the label", "(nothing)")
    return Cells("Remedies", ABOUT, headers, {"": rows}) if rows else None
