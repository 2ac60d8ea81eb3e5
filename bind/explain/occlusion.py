"""Occlusion: how much of a cosine is lost where a region of an input is hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bind.explain.grids import InputGrid, count_numbers
from bind.model.binder import Binder
from bind.types import Modality

BATCH_SIZE = 64
MAX_NUMBERS = 50_000_000
"""Of the inputs that are in memory at a time: four pictures of 12 megapixels."""


@dataclass(frozen=True)
class OcclusionMap:
    """What hiding each region of an input takes off a cosine.

    Attributes:
        row_names, column_names: of the regions.
        effects_RK: (rows, columns), the cosine less the one without the region; below 0 where hiding it helps.
        effect_of_all: the cosine less the one without all of them at once. The sum of the single effects is another
            number where regions say the same (then it is smaller) or only together say something (larger).
    """

    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    effects_RK: np.ndarray
    effect_of_all: float

    @property
    def sum_of_effects(self) -> float:
        """Of the single regions."""
        return float(self.effects_RK.sum())

    def strongest(self, num_regions: int = 3) -> list[tuple[str, float]]:
        """The regions that matter most, by name, and what hiding each takes off."""
        order = np.argsort(-self.effects_RK, axis=None, kind="stable")[:num_regions]
        rows, columns = np.unravel_index(order, self.effects_RK.shape)
        names = [
            ", ".join(name for name in (self.column_names[k], self.row_names[r]) if name)
            for r, k in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
        return [(name, float(self.effects_RK[r, k])) for name, r, k in zip(names, rows, columns, strict=True)]


def occlude(binder: Binder, modality: Modality, item: Any, grid: InputGrid, other_D: Tensor) -> OcclusionMap:
    """Hide each region of an input, and all of them, and see what is lost of its cosine with a unit vector.

    Args:
        item: what the modality's transform gave of the value.
        other_D: the vector of the other side.
    """
    shape = len(grid.row_names), len(grid.column_names)
    masks = np.zeros((shape[0] * shape[1] + 1, *shape), dtype=bool)
    masks[np.arange(len(masks) - 1), *np.unravel_index(np.arange(len(masks) - 1), shape)] = True
    masks[-1] = True
    [cosine] = cosines_of(binder, modality, [item], other_D)
    means: list[np.ndarray] = []
    num_at_once = max(1, min(BATCH_SIZE, MAX_NUMBERS // max(1, count_numbers(item))))
    for start in range(0, len(masks), num_at_once):
        variants = [grid.hide(mask) for mask in masks[start : start + num_at_once]]
        scores = cosines_of(binder, modality, [item for of_mask in variants for item in of_mask], other_D)
        ends = np.cumsum([len(of_mask) for of_mask in variants])
        means += [part.mean() for part in np.split(scores, ends[:-1])]
    scores_M = np.asarray(means)
    effects_M = cosine - scores_M
    return OcclusionMap(grid.row_names, grid.column_names, effects_M[:-1].reshape(shape), float(effects_M[-1]))


def cosines_of(binder: Binder, modality: Modality, items: list[Any], other_D: Tensor) -> np.ndarray:
    """Cosines (N,) fp64 of N inputs with a unit vector."""
    starts = range(0, len(items), BATCH_SIZE)
    parts = [binder.embed_items(modality, items[s : s + BATCH_SIZE], chunk_size=BATCH_SIZE) for s in starts]
    cosines: np.ndarray = (torch.cat(parts).double().cpu() @ other_D.double().cpu()).numpy()
    return cosines
