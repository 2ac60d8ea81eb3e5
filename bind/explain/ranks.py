"""Rank of a thing among candidates, each counted once however often it is there."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bind.metrics import COSINE_TIE_TOLERANCE
from bind.types import Clip, PackedFile, StoredVector


@dataclass(frozen=True)
class PoolRank:
    """Where b stands among the candidates for a.

    Attributes:
        rank: among `num_distinct`.
        num_distinct: candidates that are different things, b with them: the same text or file counts once.
        num_pool: candidates with every copy.
        pool: what these are.
    """

    rank: int
    num_distinct: int
    num_pool: int
    pool: str

    def __str__(self) -> str:
        if self.num_distinct == self.num_pool:
            return f"rank {self.rank:,} of {self.num_pool:,} ({self.pool})"
        return f"rank {self.rank:,} of {self.num_distinct:,} different candidates ({self.pool}; equal ones count once)"


def identity_of(value: Any, key: str | None) -> Hashable:
    """What two values have in common that are one and the same: a text, or a file and its span; else the sample's key.

    Examples:
        >>> identity_of("a dog", "key 1") == identity_of("a dog", None)
        True
        >>> identity_of(Clip(Path("a.wav")), "key 1") == identity_of(Clip(Path.cwd() / "a.wav"), None)
        True
        >>> identity_of(Clip(Path("a.wav"), 0.0, 1.0), "key 1") == identity_of(Clip(Path("a.wav"), 1.0, 2.0), "key 1")
        False
    """
    if isinstance(value, Clip):
        path = value.path.name if isinstance(value.path, PackedFile) else Path(value.path).resolve()
        return replace(value, path=Path(path))
    if isinstance(value, str | StoredVector):
        return value
    return ("sample", key) if key is not None else ("value", id(value))


def rank_among(
    cosine: float,
    identity: Hashable,
    cosines_N: Sequence[float],
    identities_N: Sequence[Hashable],
    pool: str,
    *,
    leave_out: Sequence[Hashable] = (),
) -> PoolRank:
    """The rank of a thing with this cosine among candidates and itself; others that are as close count before it.

    Args:
        leave_out: candidates that do not count.
        pool: what the candidates are.

    Examples:
        >>> print(rank_among(0.5, "a dog", [0.5, 0.5, 0.9, 0.9, 0.1], ["a dog", "a dog", "rain", "rain", "x"], "test"))
        rank 2 of 3 different candidates (test; equal ones count once)
    """
    others: dict[Hashable, float] = {}
    num_pool = 0
    for other, cosine_of_other in zip(identities_N, np.asarray(cosines_N).tolist(), strict=True):
        if other in leave_out:
            continue
        num_pool += 1
        if other != identity:
            others[other] = max(cosine_of_other, others.get(other, -1.0))
    is_in_pool = identity in identities_N and identity not in leave_out
    rank = 1 + sum(of_other >= cosine - COSINE_TIE_TOLERANCE for of_other in others.values())
    about = pool if is_in_pool else f"b and {pool}"
    return PoolRank(rank, 1 + len(others), num_pool + (not is_in_pool), about)
