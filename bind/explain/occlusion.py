"""Occlusion: how much of a cosine is lost where a region of an input is hidden.

A region is hidden beside others that are drawn at random, many times, since many regions say the same: without the
fifth contact four others still tell of it. What a region takes off on average is its effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bind.explain.grids import InputGrid, PictureGrid, TimedGrid, WordGrid, count_numbers
from bind.model.binder import Binder
from bind.types import Modality

BATCH_SIZE = 64
MAX_NUMBERS = 50_000_000
"""Of the inputs that are in memory at a time: four pictures of 12 megapixels."""
SHARE_OF_REGIONS, SHARE_OF_PATCHES = 0.25, 0.35
"""Hidden at a time: of regions, and of the patches of a picture, whose neighbours often say the same."""
MIN_MASKS, MASKS_OF_REGION = 64, 4
"""How many are drawn: so many for each region, and no fewer than that."""
NUM_OF_TIMES, MIN_ORDERS = 240, 4
"""How many inputs with hidden times are embedded: so many orders of them as that allows, and no fewer."""

LEAST_SHARE = 0.1
"""Of what all regions at once take off: a region with less does not matter alone, and has no full colour."""
LEAST_SCALE = 0.02
"""Of a cosine: the smallest effect that is drawn in full colour."""


@dataclass(frozen=True)
class OcclusionMap:
    """What hiding each region of an input takes off a cosine.

    Attributes:
        row_names, column_names: of the regions.
        effects_RK: (rows, columns), the cosine lost without a region, on average over which others are hidden; below 0
            where hiding it helps.
        effect_of_all: the cosine less the one without all of them at once. The sum of the single effects is another
            number where regions say the same (then it is smaller) or only together say something (larger).
        effects_of_times_K: (columns,), of times that are hidden whole, one after another in random orders, what each
            takes off on average; they add up to what is lost where all is quiet. None where columns are no times.
    """

    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    effects_RK: np.ndarray
    effect_of_all: float
    effects_of_times_K: np.ndarray | None = None

    @property
    def sum_of_effects(self) -> float:
        """Of the single regions."""
        return float(self.effects_RK.sum())

    @property
    def largest(self) -> float:
        """Effect of a single region, whichever its sign."""
        return float(np.abs(self.effects_RK).max(initial=0.0))

    @property
    def matters_only_together(self) -> bool:
        """Whether no region takes off a tenth of what all at once do, nor their single effects together half of it."""
        of_all = abs(self.effect_of_all)
        return self.largest < LEAST_SHARE * of_all and abs(self.sum_of_effects) < of_all / 2

    @property
    def scale(self) -> float:
        """The effect that is drawn in full colour, so that a map of next to nothing looks like it."""
        return max(self.largest, LEAST_SHARE * abs(self.effect_of_all), LEAST_SCALE)

    def strongest(self, num_regions: int = 3) -> list[tuple[str, float]]:
        """The regions that matter most, by name, and what hiding each takes off."""
        order = np.argsort(-self.effects_RK, axis=None, kind="stable")[:num_regions]
        rows, columns = np.unravel_index(order, self.effects_RK.shape)
        names = [
            ", ".join(name for name in (self.column_names[k], self.row_names[r]) if name)
            for r, k in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
        return [(name, float(self.effects_RK[r, k])) for name, r, k in zip(names, rows, columns, strict=True)]

    def strongest_time(self) -> tuple[str, float] | None:
        """The time that matters most and what hiding it whole takes off; None where columns are no times."""
        if self.effects_of_times_K is None:
            return None
        column = int(self.effects_of_times_K.argmax())
        return self.column_names[column], float(self.effects_of_times_K[column])


def occlude(binder: Binder, modality: Modality, item: Any, grid: InputGrid, other_D: Tensor) -> OcclusionMap:
    """Hide regions of an input, and all of them, and see what is lost of its cosine with a unit vector.

    Args:
        item: what the modality's transform gave of the value.
        other_D: the vector of the other side.
    """
    num_rows, num_columns = len(grid.row_names), len(grid.column_names)
    num_at_once = max(1, min(BATCH_SIZE, MAX_NUMBERS // max(1, count_numbers(item))))

    def score(masks_MR: np.ndarray, hide: Callable[[np.ndarray], list[Any]]) -> np.ndarray:
        means: list[float] = []
        for start in range(0, len(masks_MR), num_at_once):
            variants = [hide(mask) for mask in masks_MR[start : start + num_at_once]]
            cosines = cosines_of(binder, modality, [each for of_mask in variants for each in of_mask], other_D)
            ends = np.cumsum([len(of_mask) for of_mask in variants])
            means += [float(part.mean()) for part in np.split(cosines, ends[:-1])]
        return np.asarray(means)

    masks_MR = draw_masks(grid)
    with_all_MR = np.concatenate([masks_MR, np.ones_like(masks_MR[:1])])
    scores_M = score(with_all_MR, lambda mask: grid.hide(mask.reshape(num_rows, num_columns)))
    effects_RK = fit_effects(masks_MR, scores_M[:-1]).reshape(num_rows, num_columns)
    [cosine] = cosines_of(binder, modality, [item], other_D)
    effects_of_times_K = None
    if isinstance(grid, TimedGrid):
        orders_OK = draw_orders(num_columns)
        scores = score(masks_of_orders(orders_OK), lambda mask: [grid.hide_times(mask)])
        effects_of_times_K = mean_of_orders(orders_OK, cosine, scores)
    effect_of_all = float(cosine - scores_M[-1])
    return OcclusionMap(grid.row_names, grid.column_names, effects_RK, effect_of_all, effects_of_times_K)


def draw_masks(grid: InputGrid) -> np.ndarray:
    """Which of a grid's R regions are hidden, bool (M, R): first none, then a quarter by chance, of patches a third
    of them, always the same ones.

    Words are hidden one by one: they are few, and seldom say the same.

    Examples:
        >>> draw_masks(WordGrid("red star", ["a dog"])).tolist()
        [[False, False], [True, False], [False, True]]
        >>> from bind.explain.grids import SensorGrid
        >>> masks_MR = draw_masks(SensorGrid(torch.ones(6, 40), [torch.zeros(6, 40)], list("abcdef"), seconds=2.0))
        >>> masks_MR.shape, round(float(masks_MR.mean()), 2)
        ((241, 60), 0.25)
    """
    num_regions = len(grid.row_names) * len(grid.column_names)
    if isinstance(grid, WordGrid):
        masks_MR = np.eye(num_regions, dtype=bool)
    else:
        num_masks = max(MIN_MASKS, MASKS_OF_REGION * num_regions)
        share = SHARE_OF_PATCHES if isinstance(grid, PictureGrid) else SHARE_OF_REGIONS
        masks_MR = np.random.default_rng(0).random((num_masks, num_regions)) < share
    return np.concatenate([np.zeros_like(masks_MR[:1]), masks_MR])


def fit_effects(masks_MR: np.ndarray, scores_M: np.ndarray) -> np.ndarray:
    """What hiding each region takes off (R,), so that their sums come as near as can be to the scores under the masks.

    Scores may be vectors (M, D), then so are the effects (R, D). In the limit of many masks this is the mean over what
    else is hidden of what a region takes off.

    Source: Hammer and Holzman 1992; for pictures Petsiuk et al. 2018 (RISE) and Ribeiro et al. 2016 (LIME).

    Examples:
        >>> masks_MR = np.random.default_rng(0).random((20, 3)) < 0.5
        >>> scores_M = 0.9 - masks_MR @ np.array([0.5, 0.0, 0.1])
        >>> fit_effects(masks_MR, scores_M).round(6) + 0.0
        array([0.5, 0. , 0.1])
    """
    design_MP = np.column_stack([np.ones(len(masks_MR)), masks_MR])
    effects: np.ndarray = -np.linalg.lstsq(design_MP, scores_M, rcond=None)[0][1:]
    return effects


def draw_orders(num_times: int) -> np.ndarray:
    """Orders (O, K) in which K times are hidden, each beside its reverse, always the same for as many times.

    Examples:
        >>> draw_orders(10).shape, draw_orders(100).shape
        ((24, 10), (4, 100))
    """
    rng = np.random.default_rng(0)
    num_pairs = max(MIN_ORDERS, NUM_OF_TIMES // num_times) // 2
    orders = [rng.permutation(num_times) for _ in range(num_pairs)]
    return np.stack([order for forward in orders for order in (forward, forward[::-1])])


def masks_of_orders(orders_OK: np.ndarray) -> np.ndarray:
    """Which times are hidden after each step of each order, bool (O · K, K).

    Examples:
        >>> masks_of_orders(np.array([[1, 0]])).tolist()
        [[False, True], [True, True]]
    """
    steps_OK = np.argsort(orders_OK, axis=1)
    masks_OKK: np.ndarray = steps_OK[:, None, :] <= np.arange(orders_OK.shape[1])[:, None]
    return masks_OKK.reshape(-1, orders_OK.shape[1])


def mean_of_orders(orders_OK: np.ndarray, score: np.ndarray | float, scores_M: np.ndarray) -> np.ndarray:
    """What each time takes off (K,) where it is hidden next, on average over orders: Shapley values.

    Scores may be vectors (M, D), then so are the effects (K, D).

    Args:
        score: with nothing hidden.
        scores_M: under `masks_of_orders`.

    Source: Shapley 1953, by sampled orders as Castro et al. 2009.

    Examples:
        >>> orders_OK = np.array([[0, 1], [1, 0]])
        >>> scores_M = np.array([0.9, 0.0, 0.9, 0.0])  # both say the same: half of it each
        >>> mean_of_orders(orders_OK, 0.9, scores_M)
        array([0.45, 0.45])
    """
    num_orders, num_times = orders_OK.shape
    scores = scores_M.reshape(num_orders, num_times, *np.shape(score))
    first = np.broadcast_to(score, (num_orders, 1, *np.shape(score)))
    lost = -np.diff(scores, axis=1, prepend=first)
    of_times = lost[np.arange(num_orders)[:, None], np.argsort(orders_OK, axis=1)]
    effects: np.ndarray = of_times.mean(axis=0)
    return effects


def cosines_of(binder: Binder, modality: Modality, items: list[Any], other_D: Tensor) -> np.ndarray:
    """Cosines (N,) fp64 of N inputs with a unit vector."""
    starts = range(0, len(items), BATCH_SIZE)
    parts = [binder.embed_items(modality, items[s : s + BATCH_SIZE], chunk_size=BATCH_SIZE) for s in starts]
    cosines: np.ndarray = (torch.cat(parts).double().cpu() @ other_D.double().cpu()).numpy()
    return cosines
