"""Folding of hits: copies of one file or text under several keys are one hit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from bind.search.hits import Hit

MAX_COPIES = 32
"""So many times as many hits are looked through at most, as are wanted."""


@dataclass(frozen=True, slots=True)
class FoldedHit:
    """A hit, and the keys of its copies among those that were looked through."""

    hit: Hit
    other_keys: tuple[str, ...] = ()


def search_folded(search: Callable[[int], Sequence[Hit]], top: int, max_top: int) -> list[FoldedHit]:
    """The best `top` hits of different files and texts, each with its copies.

    Args:
        search: number → so many of the best hits, or as many as there are.
        max_top: the largest number that it takes.
    """
    num = top + 1
    while True:
        hits = search(min(num, max(max_top, top)))
        folded = fold(hits)
        # One more than wanted: then no copy of the last one is behind those that were looked through.
        if len(folded) > top or len(hits) < num or num >= min(max_top, MAX_COPIES * top):
            return folded[:top]
        num *= 4


def fold(hits: Sequence[Hit]) -> list[FoldedHit]:
    """Hits with their copies, in their order, ranked anew.

    Examples:
        >>> paths = {"a": "7.png", "b": "7.png", "c": "1.png"}
        >>> hits = [Hit(key, "image", 0.9, 1, path=path) for key, path in paths.items()]
        >>> [(one.hit.rank, one.hit.key, one.other_keys) for one in fold(hits)]
        [(1, 'a', ('b',)), (2, 'c', ())]
    """
    copies: dict[Hashable, list[Hit]] = {}
    for hit in hits:
        copies.setdefault(_thing_of(hit), []).append(hit)
    return [
        FoldedHit(replace(first, rank=rank), tuple(dict.fromkeys(hit.key for hit in others)))
        for rank, (first, *others) in enumerate(copies.values(), start=1)
    ]


def _thing_of(hit: Hit) -> Hashable:
    """What is shown by a hit; where no file or text is known, each is a thing of its own."""
    if hit.modality == "text" and hit.caption is not None:
        return hit.modality, hit.caption
    if hit.path is not None:
        return hit.modality, hit.path, hit.start_seconds, hit.end_seconds
    return hit.modality, hit.key, hit.number
