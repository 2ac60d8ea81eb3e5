"""Exposure of a training to its sources and pairs: figures that weights and plan decide before the first step."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bind.data.coverage import Side, has_sides
from bind.data.plan import BatchPlan
from bind.data.sources.splits import name_source
from bind.types import Source


@dataclass(frozen=True, slots=True)
class SourceExposure:
    """`num_samples` training samples that `num_steps` steps take from, each `num_passes` times on average."""

    name: str
    num_samples: int
    num_steps: int
    num_passes: float


def source_weights(sources: Mapping[str, Source], weights: Mapping[str, float]) -> list[float]:
    """One weight per source: what is given, else 1, or 0 where the source has no training samples.

    Raises:
        ValueError: a name that is no source's, a weight that is no number from 0 on, or one of a source that can't be
            trained on.
    """
    trained_on = {name for name, source in sources.items() if len(source.samples("train"))}
    for name, weight in weights.items():
        if name not in sources:
            close = difflib.get_close_matches(name, sources, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sources)}"
            raise ValueError(f"data.weights.{name}: no source has this name; {hint}")
        if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise ValueError(f"data.weights.{name}={weight}: give a number from 0 (never drawn in training) on")
        if weight and name not in trained_on:
            raise ValueError(
                f"data.weights.{name}={weight}, but {name_source(sources[name])} has no samples of the split 'train'; "
                "give it some, or leave the weight out: it is only evaluated"
            )
    return [float(weights.get(name, name in trained_on)) for name in sources]


def source_exposures(
    plan: BatchPlan, names: Sequence[str], num_batches: int, batches_per_epoch: int
) -> list[SourceExposure]:
    """What the first `num_batches` batches take from each source, counted, not estimated.

    Args:
        plan: of the training split.
        names: of its sources.
        num_batches: in the whole training.
        batches_per_epoch: those of each epoch of the plan that training uses.
    """
    starts = range(0, num_batches, batches_per_epoch)
    used = [plan.sources_of_epoch(e)[: min(batches_per_epoch, num_batches - start)] for e, start in enumerate(starts)]
    steps_per_source = np.bincount(np.concatenate(used), minlength=len(names)).tolist()
    return [
        SourceExposure(name, size, num_steps, num_steps * plan.global_batch / size if size else 0.0)
        for name, size, num_steps in zip(names, plan.sizes, steps_per_source, strict=True)
    ]


def pair_exposures(
    sources: Sequence[Source], exposures: Sequence[SourceExposure], pairs: Mapping[str, tuple[Side, Side]]
) -> list[SourceExposure]:
    """Exposure to each pair: samples with both sides, steps with any of them, and passes of the mean sample.

    Args:
        sources: of the mixture.
        exposures: of the same sources, in their order.
        pairs: name → the two sides.
    """
    of_pairs = []
    for name, sides in pairs.items():
        num_samples, num_steps, num_rows = 0, 0, 0.0
        for source, exposure in zip(sources, exposures, strict=True):
            num_both = int(has_sides(source.samples("train"), sides).sum())
            num_samples += num_both
            num_steps += exposure.num_steps if num_both else 0
            num_rows += num_both * exposure.num_passes
        of_pairs.append(SourceExposure(name, num_samples, num_steps, num_rows / num_samples if num_samples else 0.0))
    return of_pairs
