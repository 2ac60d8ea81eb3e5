"""Coverage of pairs by data: a split has to hold samples with both sides of every pair that is trained."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np

from bind.data.sources.sample_columns import has_modality, modalities_of
from bind.data.sources.splits import name_source
from bind.types import Modality, Sample, Source

Side = Sequence[Modality]
"""The modalities of which a sample needs at least one to be on this side of a pair: several for a fusion."""


def has_sides(samples: Sequence[Sample], sides: Sequence[Side]) -> np.ndarray:
    """Bool (N,): the samples that have a modality of every side."""
    has = {m: has_modality(samples, m) for m in {m for side in sides for m in side}}
    has_all: np.ndarray = np.all([np.any([has[m] for m in side], axis=0) for side in sides], axis=0)
    return has_all


def require_pairs(sources: Sequence[Source], split: str, pairs: Mapping[str, tuple[Side, Side]]) -> None:
    """Raise ValueError, naming pair, split and modality, unless `split` has samples with both sides of every pair.

    Args:
        sources: the datasets; one of them has to have both sides.
        split: which samples count.
        pairs: name of the pair → its two sides.
    """
    parts = [source.samples(split) for source in sources]
    has = [{m: has_modality(part, m) for m in modalities_of(part)} for part in parts]
    carried = sorted({m for of_part in has for m, has_N in of_part.items() if has_N.any()})
    where = f"split {split!r} of " + ", ".join(map(name_source, sources))
    for name, sides in pairs.items():
        for side in sides:
            if not set(side) & set(carried):
                missing = " or ".join(side)
                close = difflib.get_close_matches(missing, carried, n=1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                raise ValueError(
                    f"pairs.{name}: no sample in {where} has {missing}; {hint}They have {', '.join(carried)}. "
                    f"Add it to the data, or set pairs.{name}.weight=0"
                )
        if not any(has_sides(part, sides).any() for part in parts):
            raise ValueError(
                f"pairs.{name}: no sample in {where} has both {' and '.join(' or '.join(side) for side in sides)}; "
                f"put what belongs together in one row, or set pairs.{name}.weight=0"
            )


def require_modalities(sources: Sequence[Source], split: str, needed: Mapping[str, Modality]) -> None:
    """Raise ValueError, naming key, split and modality, unless some sample of `split` has each one.

    Args:
        sources: the datasets; one of them has to have it.
        split: which samples count.
        needed: key of the config that needs it → modality.
    """
    for key, modality in needed.items():
        if not any(has_sides(source.samples(split), [[modality]]).any() for source in sources):
            where = f"split {split!r} of " + ", ".join(map(name_source, sources))
            raise ValueError(f"{key}: no sample in {where} has {modality}; add it to the data, or set {key}.weight=0")
