"""Pictures that are nearly the same: neighbours in the anchor's space whose thumbnails agree as well."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from bind.anchors.processors import open_image
from bind.studies.doctor.duplicates import name_of
from bind.studies.doctor.findings import Finding, Item, Kind

if TYPE_CHECKING:
    from bind.anchors.dual_encoder import Anchor

NEAR_ACROSS = Kind("nearly the same picture in two splits", 1.0, "look at the pairs; keep copies in one split")
NEAR_WITHIN = Kind(
    "nearly the same picture in two groups", 1.0, "look at the pairs; give such samples one `group`: they are negatives"
)

MAX_PICTURES = 20_000
"""More are thinned out evenly: all pairs of so many take seconds, and a tower on a CPU ten minutes."""
NUM_COPIES = 64
COPY_SCALE, COPY_QUALITY = 0.9, 75
"""A copy as it comes about in practice: scaled to 90 % and saved again as JPEG of the usual quality."""
QUANTILE = 0.05
"""Both thresholds are what 95 of 100 such copies of the pictures themselves reach: they fit the anchor and the data."""
THUMBNAIL_PX = 32
BATCH_SIZE = 64
TILE = 2048


def near_duplicates(
    items: Sequence[Item], anchor: Anchor, folder: Path
) -> tuple[list[Finding], dict[str, float], list[str]]:
    """Pairs of pictures as alike as a picture and its copy, in two splits or in two groups of one; thresholds; notes.

    `items` are readable, one per picture. They take D + 3,072 numbers each, 0.3 GB at most.
    """
    notes = []
    if len(items) > MAX_PICTURES:
        notes.append(f"near duplicates were looked for among {MAX_PICTURES} of {len(items)} pictures, drawn evenly")
        items = [items[i] for i in np.linspace(0, len(items) - 1, MAX_PICTURES).astype(int)]
    drawn = np.linspace(0, len(items) - 1, min(NUM_COPIES, len(items))).astype(int)
    z_ND, thumbnails_NP = _embedded((open_image(item.clip) for item in items), anchor)
    z_KD, thumbnails_KP = _embedded((copy_of(open_image(items[i].clip)) for i in drawn), anchor)
    thresholds = {
        "cosine": float((z_ND[drawn] * z_KD).sum(1).quantile(QUANTILE)),
        "thumbnail_correlation": float((thumbnails_NP[drawn] * thumbnails_KP).sum(1).quantile(QUANTILE)),
    }
    findings = []
    for i, j in _pairs(z_ND, thumbnails_NP, thresholds):
        a, b = items[i], items[j]
        if a.split == b.split and a.group_id == b.group_id:
            continue
        said = f"like {name_of(b.clip.path, folder)}: cosine {float(z_ND[i] @ z_ND[j]):.3f}"
        kind = NEAR_WITHIN if a.split == b.split else NEAR_ACROSS
        findings.append(Finding(kind, a.modality, name_of(a.clip.path, folder), said, (a.key, b.key)))
    return findings, thresholds, notes


def copy_of(picture: Image.Image) -> Image.Image:
    """The picture scaled to 90 % and saved again as JPEG."""
    size = [max(1, round(side * COPY_SCALE)) for side in picture.size]
    file = io.BytesIO()
    picture.resize((size[0], size[1]), Image.Resampling.BICUBIC).save(file, "JPEG", quality=COPY_QUALITY)
    return Image.open(file).convert("RGB")


def _embedded(pictures: Iterator[Image.Image], anchor: Anchor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit embeddings (N, D) and unit thumbnails without their mean (N, 32·32·3)."""
    z: list[torch.Tensor] = []
    thumbnails: list[torch.Tensor] = []
    waiting: list[Image.Image] = []

    def flush() -> None:
        inputs = anchor.transforms["image"].collate(waiting)
        assert isinstance(inputs, dict)
        with torch.inference_mode():
            z.append(anchor.embed("image", inputs).cpu())
        waiting.clear()

    for picture in pictures:
        small = np.asarray(picture.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX), dtype=np.float32).ravel()
        thumbnails.append(torch.from_numpy(small - small.mean()))
        waiting.append(picture)
        if len(waiting) == BATCH_SIZE:
            flush()
    if waiting:
        flush()
    return torch.cat(z), torch.nn.functional.normalize(torch.stack(thumbnails), dim=1)


def _pairs(z_ND: torch.Tensor, thumbnails_NP: torch.Tensor, thresholds: dict[str, float]) -> Iterator[tuple[int, int]]:
    """i < j that pass both thresholds; in tiles, so that no (N, N) matrix is made."""
    for first in range(0, len(z_ND), TILE):
        for second in range(first, len(z_ND), TILE):
            near = z_ND[first : first + TILE] @ z_ND[second : second + TILE].T >= thresholds["cosine"]
            rows, columns = (index + start for index, start in zip(near.nonzero().T, (first, second), strict=True))
            rows, columns = rows[rows < columns], columns[rows < columns]
            for part in torch.arange(len(rows)).split(TILE):
                agreement = (thumbnails_NP[rows[part]] * thumbnails_NP[columns[part]]).sum(1)
                alike = part[agreement >= thresholds["thumbnail_correlation"]]
                yield from zip(rows[alike].tolist(), columns[alike].tolist(), strict=True)
