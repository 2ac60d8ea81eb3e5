"""Near duplicates of pictures: neighbours in the anchor's space whose thumbnails agree as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from bind.anchors.near_duplicates import NUM_MADE_DUPLICATES, embed_with_thumbnails, measure_thresholds
from bind.media.pictures import open_image
from bind.studies.doctor.duplicates import name_in_manifest
from bind.studies.doctor.findings import Finding, FindingKind, Item
from bind.types import Anchor

NEAR_ACROSS = FindingKind("nearly the same picture in two splits", 1.0, "look at the pairs; keep copies in one split")
NEAR_WITHIN = FindingKind(
    "nearly the same picture in two groups", 1.0, "look at the pairs; give such samples one `group`: they are negatives"
)

MAX_PICTURES = 20_000
"""More are thinned out evenly: all pairs of so many take seconds, and a tower on a CPU ten minutes."""
TILE = 2048


def check_near_duplicates(
    items: Sequence[Item], anchor: Anchor, folder: Path
) -> tuple[list[Finding], dict[str, float], list[str]]:
    """Find near duplicates in two splits, or in two groups of one; also returns thresholds and notes.

    `items` are readable, one per picture. They take D + 3,072 numbers each, 0.3 GB at most.
    """
    notes = []
    if len(items) > MAX_PICTURES:
        notes.append(f"near duplicates were looked for among {MAX_PICTURES} of {len(items)} pictures, drawn evenly")
        items = [items[i] for i in np.linspace(0, len(items) - 1, MAX_PICTURES).astype(int)]
    drawn = np.linspace(0, len(items) - 1, min(NUM_MADE_DUPLICATES, len(items))).astype(int)
    z_ND, thumbnails_NP = embed_with_thumbnails((open_image(item.clip) for item in items), anchor)
    pictures = (open_image(items[i].clip) for i in drawn)
    thresholds = measure_thresholds(z_ND[drawn], thumbnails_NP[drawn], pictures, anchor)
    findings = []
    for i, j in _pairs(z_ND, thumbnails_NP, thresholds):
        a, b = items[i], items[j]
        if a.split == b.split and a.group_id == b.group_id:
            continue
        detail = f"like {name_in_manifest(b.clip.path, folder)}: cosine {float(z_ND[i] @ z_ND[j]):.3f}"
        kind = NEAR_WITHIN if a.split == b.split else NEAR_ACROSS
        findings.append(Finding(kind, a.modality, name_in_manifest(a.clip.path, folder), detail, (a.key, b.key)))
    return findings, thresholds, notes


def _pairs(z_ND: torch.Tensor, thumbnails_NP: torch.Tensor, thresholds: dict[str, float]) -> Iterator[tuple[int, int]]:
    """i < j that pass both thresholds; in tiles, so that no (N, N) matrix is made."""
    for first in range(0, len(z_ND), TILE):
        for second in range(first, len(z_ND), TILE):
            near = z_ND[first : first + TILE] @ z_ND[second : second + TILE].T >= thresholds["cosine"]
            rows, columns = (index + start for index, start in zip(near.nonzero().T, (first, second), strict=True))
            rows, columns = rows[rows < columns], columns[rows < columns]
            for part in torch.split(torch.arange(len(rows)), TILE):
                agreement = (thumbnails_NP[rows[part]] * thumbnails_NP[columns[part]]).sum(1)
                alike = part[agreement >= thresholds["thumbnail_correlation"]]
                yield from zip(rows[alike].tolist(), columns[alike].tolist(), strict=True)
