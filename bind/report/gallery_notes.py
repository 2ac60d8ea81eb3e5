"""Notes above galleries: why even the best first hits are often wrong, where that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bind.evaluation.fused import NO_FUSION, FusedModalities
from bind.metrics.ceiling import carried_factors
from bind.report.outcome import MAX_TRIES, WORDS, article
from bind.types import FactorSource, Modality, Source

LEAST_MISSED = 0.5
"""Of `MAX_TRIES` tries, by the best possible: fewer are not worth a word."""


def gallery_notes(
    retrieval: Mapping[tuple[Modality, Modality], Mapping[str, Any]],
    sources: Sequence[Source],
    fused: FusedModalities = NO_FUSION,
) -> dict[tuple[Modality, Modality], str]:
    """Query and pool → a sentence, where what both show does not tell the right one from others of the pool.

    Args:
        retrieval: figures of a split; only those that have `ceiling_R@1` are spoken of.
        sources: of that split; what modalities show is known of one that is a `FactorSource`.

    Examples:
        >>> from bind.data.sources.toy.world import ToySource
        >>> entry = {"R@1": 0.37, "ceiling_R@1": 0.374, "queries": 2300}
        >>> print(gallery_notes({("audio", "image"): entry}, [ToySource(num_train=1)])["audio", "image"])
        What a sound and a picture have in common is shape, motion and material, not colour and size: several of the \
pool fit equally well, so that the right one can be first in about 37 of 100 tries; it is in 37.
    """
    notes: dict[tuple[Modality, Modality], str] = {}
    source = sources[0]
    if len(sources) > 1 or not isinstance(source, FactorSource):
        return notes
    for (query, pool), entry in retrieval.items():
        tries = min(entry["queries"], MAX_TRIES)
        best = entry.get("ceiling_R@1", 1.0)
        if (1 - best) * tries < LEAST_MISSED:
            continue
        sides = [tuple(fused.get(side, (side,))) for side in (query, pool)]
        both = carried_factors(sides[0], source.carries) & carried_factors(sides[1], source.carries)
        known = _join([name for name in source.factor_names if name in both]) or "nothing"
        others = _join([name for name in source.factor_names if name not in both])
        words = " and ".join(f"{article(word)} {word}" for word in (WORDS.get(side, side) for side in (query, pool)))
        notes[query, pool] = (
            f"What {words} have in common is {known}, not {others}: several of the pool fit equally well, so that the "
            f"right one can be first in about {best * tries:.0f} of {tries} tries; it is in "
            f"{entry['R@1'] * tries:.0f}."
        )
    return notes


def _join(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
