"""When two pictures are nearly the same: as alike to the anchor, and in their thumbnails, as pictures and copies."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import numpy as np
import torch
from PIL import Image

from bind.anchors.dual_encoder import Anchor

NUM_COPIES = 64
COPY_SCALE, COPY_QUALITY = 0.9, 75
"""A copy as it comes about in practice: scaled to 90 % and saved again as JPEG of the usual quality."""
QUANTILE = 0.05
"""Both thresholds are what 95 of 100 such copies of the pictures themselves reach: they fit the anchor and the data."""
THUMBNAIL_PX = 32
BATCH_SIZE = 64
NUM_NEAREST = 3
TILE = 1024, 2**16


def copy_thresholds(
    z_KD: torch.Tensor, thumbnails_KP: torch.Tensor, pictures: Iterable[Image.Image], anchor: Anchor
) -> dict[str, float]:
    """The `cosine` and `thumbnail_correlation` that 95 of 100 of these pictures have with their copies."""
    z_copies_KD, copies_KP = embed_with_thumbnails((copy_of(picture) for picture in pictures), anchor)
    return {
        "cosine": float((z_KD * z_copies_KD).sum(1).quantile(QUANTILE)),
        "thumbnail_correlation": float((thumbnails_KP * copies_KP).sum(1).quantile(QUANTILE)),
    }


def copy_of(picture: Image.Image) -> Image.Image:
    """The picture scaled to 90 % and saved again as JPEG."""
    size = [max(1, round(side * COPY_SCALE)) for side in picture.size]
    file = io.BytesIO()
    picture.resize((size[0], size[1]), Image.Resampling.BICUBIC).save(file, "JPEG", quality=COPY_QUALITY)
    return Image.open(file).convert("RGB")


def thumbnail(picture: Image.Image) -> torch.Tensor:
    """Unit thumbnail without its mean, (32·32·3,); zeros for a picture of one colour, which so resembles none."""
    small = np.asarray(picture.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX), dtype=np.float32).ravel()
    return torch.nn.functional.normalize(torch.from_numpy(small - small.mean()), dim=0)


def embed_with_thumbnails(pictures: Iterable[Image.Image], anchor: Anchor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit embeddings (N, D) of RGB pictures and their thumbnails (N, 32·32·3), both on the CPU."""
    device = next(anchor.parameters()).device
    z: list[torch.Tensor] = []
    thumbnails: list[torch.Tensor] = []
    waiting: list[Image.Image] = []

    def flush() -> None:
        inputs = anchor.transforms["image"].collate(waiting)
        assert isinstance(inputs, dict)
        with torch.inference_mode():
            z.append(anchor.embed("image", {name: x.to(device) for name, x in inputs.items()}).cpu())
        waiting.clear()

    for picture in pictures:
        thumbnails.append(thumbnail(picture))
        waiting.append(picture)
        if len(waiting) == BATCH_SIZE:
            flush()
    if waiting:
        flush()
    return torch.cat(z), torch.stack(thumbnails)


def find_near_duplicates(
    z_ND: torch.Tensor,
    z_MD: torch.Tensor,
    open_one: Callable[[int], Image.Image],
    open_other: Callable[[int], Image.Image],
    anchor: Anchor,
    *,
    max_opened: int | None = None,
) -> tuple[list[tuple[int, int, float]], int]:
    """Of N pictures those that are nearly the same as one of M: both positions and the cosine; how many were left out.

    The three nearest of each are tried, those that reach the cosine of copies by their thumbnails. Thresholds are those
    of up to 64 of the N. Pictures are opened where they are needed, those of `max_opened` of the N at most.
    """
    drawn = np.linspace(0, len(z_ND) - 1, min(NUM_COPIES, len(z_ND))).astype(int).tolist()
    pictures = [open_one(i) for i in drawn]
    thresholds = copy_thresholds(*embed_with_thumbnails(pictures, anchor), pictures, anchor)
    cosines_NK, nearest_NK = _nearest(z_ND, z_MD)
    near_NK = cosines_NK >= thresholds["cosine"]
    candidates = near_NK.any(dim=1).nonzero().flatten().tolist()
    left_out = 0 if max_opened is None else max(0, len(candidates) - max_opened)
    found = []
    for i in candidates[: len(candidates) - left_out]:
        ours = thumbnail(open_one(i))
        for cosine, j in zip(cosines_NK[i][near_NK[i]].tolist(), nearest_NK[i][near_NK[i]].tolist(), strict=True):
            if float(ours @ thumbnail(open_other(j))) >= thresholds["thumbnail_correlation"]:
                found.append((i, j, cosine))
                break
    return found, left_out


def _nearest(z_ND: torch.Tensor, z_MD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and positions (N, K) of the nearest of M, in tiles."""
    cosines, positions = [], []
    for own in z_ND.split(TILE[0]):
        best = own.new_full((len(own), 0), 0.0), torch.zeros(len(own), 0, dtype=torch.long)
        for start in range(0, len(z_MD), TILE[1]):
            scores = own @ z_MD[start : start + TILE[1]].T
            top = scores.topk(min(NUM_NEAREST, scores.shape[1]), dim=1)
            joined = torch.cat([best[0], top.values], dim=1), torch.cat([best[1], top.indices + start], dim=1)
            kept = joined[0].topk(min(NUM_NEAREST, joined[0].shape[1]), dim=1)
            best = kept.values, joined[1].gather(1, kept.indices)
        cosines.append(best[0])
        positions.append(best[1])
    return torch.cat(cosines), torch.cat(positions)
