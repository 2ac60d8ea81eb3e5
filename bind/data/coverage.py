"""Coverage of pairs by data: a split has to hold samples with both sides of every pair that is trained."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from bind.data.sources.splits import name_source
from bind.types import Modality, Source

Side = Sequence[Modality]
"""The modalities of which a sample needs at least one to be on this side of a pair: several for a fusion."""


def require_pairs(sources: Sequence[Source], split: str, pairs: Mapping[str, tuple[Side, Side]]) -> None:
    """Raise ValueError, naming pair, split and modality, unless `split` has samples with both sides of every pair.

    Args:
        sources: the datasets; one of them has to have both sides.
        split: which samples count.
        pairs: name of the pair → its two sides.
    """
    modalities_of_samples = [frozenset(sample.values) for source in sources for sample in source.samples(split)]
    carried = sorted(frozenset().union(*modalities_of_samples))
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
        if not any(all(set(side) & modalities for side in sides) for modalities in modalities_of_samples):
            raise ValueError(
                f"pairs.{name}: no sample in {where} has both {' and '.join(' or '.join(side) for side in sides)}; "
                f"put what belongs together in one row, or set pairs.{name}.weight=0"
            )
