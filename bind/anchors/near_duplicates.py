"""Near duplicates: two pictures as alike, for the anchor and as thumbnails, as one before and after recompression."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import numpy as np
import torch
from PIL import Image

from bind.anchors.processors import ImageTransform
from bind.media.pictures import open_image
from bind.types import Anchor, Clip, PackedFile

NUM_MADE_DUPLICATES = 64
DUPLICATE_SCALE, DUPLICATE_JPEG_QUALITY = 0.9, 75
"""A near duplicate as practice makes it: scaled to 90 % and saved again as JPEG of the usual quality."""
QUANTILE = 0.05
"""Both thresholds are what 95 of 100 near duplicates made of the pictures reach: they fit the anchor and the data."""
THUMBNAIL_PX = 32
BATCH_SIZE = 64
NUM_NEAREST = 3
TILE = 1024, 2**16


def measure_thresholds(
    z_KD: torch.Tensor, thumbnails_KP: torch.Tensor, pictures: Iterable[Image.Image], anchor: Anchor
) -> dict[str, float]:
    """The `cosine` and `thumbnail_correlation` that 95 of 100 of these pictures have with near duplicates of them."""
    z_made_KD, made_KP = embed_with_thumbnails((make_near_duplicate(picture) for picture in pictures), anchor)
    return {
        "cosine": float((z_KD * z_made_KD).sum(1).quantile(QUANTILE)),
        "thumbnail_correlation": float((thumbnails_KP * made_KP).sum(1).quantile(QUANTILE)),
    }


def why_not_comparable(anchor: Anchor) -> str | None:
    """Why pictures can't be compared in an anchor's space: it embeds none, or opens them in a way of its own."""
    if "image" not in anchor.transforms:
        return f"{anchor.name} embeds no pictures, {', '.join(anchor.modalities)} alone"
    if not isinstance(anchor.transforms["image"], ImageTransform):
        kind = type(anchor.transforms["image"]).__name__
        return f"{anchor.name} reads pictures with {kind}, and only those that ImageTransform opens are compared"
    return None


def make_near_duplicate(picture: Image.Image) -> Image.Image:
    """Scale the picture to 90 % and save it again as JPEG."""
    size = [max(1, round(side * DUPLICATE_SCALE)) for side in picture.size]
    file = io.BytesIO()
    picture.resize((size[0], size[1]), Image.Resampling.BICUBIC).save(file, "JPEG", quality=DUPLICATE_JPEG_QUALITY)
    return open_image(Clip(PackedFile("a copy of a picture", file.getvalue())))


def make_thumbnail(picture: Image.Image) -> torch.Tensor:
    """Unit thumbnail without its mean, (32·32·3,); zeros for a picture of one colour, which so resembles none."""
    small = np.asarray(picture.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX), dtype=np.float32).ravel()
    return torch.nn.functional.normalize(torch.from_numpy(small - small.mean()), dim=0)


def embed_with_thumbnails(pictures: Iterable[Image.Image], anchor: Anchor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit embeddings (N, D) of RGB pictures and their thumbnails (N, 32·32·3), both on the CPU."""
    device = next(anchor.parameters(), torch.empty(0)).device  # the CPU where it has no weights
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
        thumbnails.append(make_thumbnail(picture))
        waiting.append(picture)
        if len(waiting) == BATCH_SIZE:
            flush()
    if waiting:
        flush()
    return torch.cat(z), torch.stack(thumbnails)


def find_near_duplicates(
    z_ND: torch.Tensor,
    z_MD: torch.Tensor,
    *,
    open_one: Callable[[int], Image.Image],
    open_other: Callable[[int], Image.Image],
    anchor: Anchor,
    max_opened: int | None = None,
) -> tuple[list[tuple[int, int, float]], int]:
    """Find those of N pictures that are nearly the same as one of M.

    The three nearest of each are tried; those that reach the threshold of the cosine are compared by their thumbnails.
    Thresholds are measured on up to 64 of the N.

    Args:
        z_ND: unit embeddings of the N.
        z_MD: unit embeddings of the M.
        open_one: opens the i-th of the N, where it is needed.
        open_other: opens the j-th of the M.
        anchor: what embedded them.
        max_opened: how many of the N are compared by thumbnails at most; None: all.

    Returns:
        (i, j, cosine) of each pair, one at most for each of the N; and how many of the N `max_opened` left out.
    """
    drawn = np.linspace(0, len(z_ND) - 1, min(NUM_MADE_DUPLICATES, len(z_ND))).astype(int).tolist()
    pictures = [open_one(i) for i in drawn]
    thresholds = measure_thresholds(*embed_with_thumbnails(pictures, anchor), pictures, anchor)
    cosines_NK, nearest_NK = _nearest(z_ND, z_MD)
    near_NK = cosines_NK >= thresholds["cosine"]
    candidates = near_NK.any(dim=1).nonzero().flatten().tolist()
    left_out = 0 if max_opened is None else max(0, len(candidates) - max_opened)
    pairs = []
    for i in candidates[: len(candidates) - left_out]:
        thumbnail = make_thumbnail(open_one(i))
        for cosine, j in zip(cosines_NK[i][near_NK[i]].tolist(), nearest_NK[i][near_NK[i]].tolist(), strict=True):
            if float(thumbnail @ make_thumbnail(open_other(j))) >= thresholds["thumbnail_correlation"]:
                pairs.append((i, j, cosine))
                break
    return pairs, left_out


def _nearest(z_ND: torch.Tensor, z_MD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and positions (N, K) of the nearest of M, in tiles."""
    cosines, positions = [], []
    for z_tile in z_ND.split(TILE[0]):
        best = z_tile.new_full((len(z_tile), 0), 0.0), torch.zeros(len(z_tile), 0, dtype=torch.long)
        for start in range(0, len(z_MD), TILE[1]):
            scores = z_tile @ z_MD[start : start + TILE[1]].T
            top = scores.topk(min(NUM_NEAREST, scores.shape[1]), dim=1)
            joined = torch.cat([best[0], top.values], dim=1), torch.cat([best[1], top.indices + start], dim=1)
            kept = joined[0].topk(min(NUM_NEAREST, joined[0].shape[1]), dim=1)
            best = kept.values, joined[1].gather(1, kept.indices)
        cosines.append(best[0])
        positions.append(best[1])
    return torch.cat(cosines), torch.cat(positions)
