"""Owners of training samples, and a share of them to train on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from bind.data.plan import Order
from bind.data.sources.sample_columns import owners_of
from bind.types import Sample, Source, stable_id


def training_owners(sources: Iterable[Source]) -> list[str]:
    """The owners of all training samples, sorted; ValueError where a sample has none."""
    owners: set[str] = set()
    for source in sources:
        for owners_of_sample in owners_of(source.samples("train")):
            if not owners_of_sample:
                raise ValueError(
                    f"the source {source.name!r} has training samples without an owner: fill the column owner "
                    "(person, recording, …), of which data.owner_share takes a share"
                )
            owners.update(owners_of_sample)
    return sorted(owners)


def count_owners(num_owners: int, share: float) -> int:
    """How many owners a share is; at least one.

    Examples:
        >>> [count_owners(17, share) for share in (1 / 8, 1 / 4, 1 / 2, 1)]
        [2, 4, 8, 17]
    """
    return max(1, round(share * num_owners))


def choose_owners(owners: Sequence[str], share: float, seed: int) -> set[str]:
    """A share of owners, drawn by `seed`; a smaller one is part of a larger.

    Examples:
        >>> names = ["anna", "ben", "cleo", "dora"]
        >>> choose_owners(names, 0.25, seed=0) < choose_owners(names, 0.5, seed=0) < set(names)
        True
    """
    ordered = sorted(owners, key=lambda owner: stable_id(f"{seed}:{owner}"))
    return set(ordered[: count_owners(len(ordered), share)])


def rows_of_owners(samples: Sequence[Sample], owners: set[str]) -> np.ndarray:
    """The places (R,) int64 of the samples that belong to none but these owners."""
    chosen = [place for place, names in enumerate(owners_of(samples)) if owners.issuperset(names)]
    return np.array(chosen, dtype=np.int64)


def order_of_rows(order: Order, rows: np.ndarray, num_samples: int) -> Order:
    """The order of a source of `num_samples`, with no others than these rows in it."""

    def ordered(rng: np.random.Generator, size: int) -> np.ndarray:
        assert size == len(rows)
        whole = order(rng, num_samples)
        kept: np.ndarray = whole[np.isin(whole, rows)]
        return kept

    return ordered
