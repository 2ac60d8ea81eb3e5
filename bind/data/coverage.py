"""Whether a split holds what the loss is to learn from."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

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
    carried = [frozenset(sample.values) for source in sources for sample in source.samples(split)]
    found = sorted(frozenset().union(*carried))
    where = f"split {split!r} of " + ", ".join(str(getattr(source, "path", source.name)) for source in sources)
    for name, sides in pairs.items():
        for side in sides:
            if not set(side) & set(found):
                asked = " or ".join(side)
                close = difflib.get_close_matches(asked, found, n=1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                raise ValueError(
                    f"pairs.{name}: no sample in {where} has {asked}; {hint}They have {', '.join(found)}. "
                    f"Add it to the data, or set pairs.{name}.weight=0"
                )
        if not any(all(set(side) & values for side in sides) for values in carried):
            raise ValueError(
                f"pairs.{name}: no sample in {where} has both {' and '.join(' or '.join(side) for side in sides)}; "
                f"put what belongs together in one row, or set pairs.{name}.weight=0"
            )
