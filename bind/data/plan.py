"""Plans of batches: which samples make up which step, as a function of (seed, step): a step is all to restore."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Order = Callable[[np.random.Generator, int], np.ndarray]
"""From a generator and a number of samples to a permutation of them, (size,) int64."""


def free_order(rng: np.random.Generator, size: int) -> np.ndarray:
    """Any permutation, all equally likely."""
    return rng.permutation(size)


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """The samples of one source that one rank takes at one step; `seeds` (one tuple per sample) start its generator."""

    source: int
    indices: tuple[int, ...]
    seeds: tuple[tuple[int, ...], ...] | None = None


class BatchPlan:
    """Shuffled batches from one source at a time; every rank draws the same source at the same step.

    Iterating yields the rest of the epoch that `start_step` lies in, and the next iteration the epoch after it. A
    sample's seed is a function of (seed, step, sample), so its augmentation does not depend on workers or ranks.

    Args:
        sizes: number of training samples per source.
        batch_size: rows per rank and step.
        seed: of the whole run.
        alpha: sources are drawn in proportion to weight * size ** alpha.
        weights: of each source; one with 0 is never drawn. None weighs all alike.
        orders: of each source, how a pass over it is shuffled; None: freely.
        steps_per_epoch: None counts every sample of every source once, incomplete batches dropped.
        start_step: where to go on.
        rank, world_size: this process's place; the global batch of a step is cut in rank order.

    Raises:
        ValueError: where a source that is drawn is smaller than the global batch.

    Examples:
        >>> plan = BatchPlan([8, 4], batch_size=2, seed=0)
        >>> len(plan), [request.source for request in plan]
        (6, [0, 0, 0, 0, 1, 1])
        >>> resumed = BatchPlan([8, 4], batch_size=2, seed=0, start_step=4)
        >>> list(resumed) == list(BatchPlan([8, 4], batch_size=2, seed=0))[4:]
        True
    """

    def __init__(
        self,
        sizes: Sequence[int],
        batch_size: int,
        *,
        seed: int,
        alpha: float = 1.0,
        weights: Sequence[float] | None = None,
        orders: Sequence[Order] | None = None,
        steps_per_epoch: int | None = None,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        global_batch = batch_size * world_size
        source_weights = np.ones(len(sizes)) if weights is None else np.asarray(weights, dtype=np.float64)
        for size, weight in zip(sizes, source_weights, strict=True):
            if weight > 0 and size < global_batch:
                processes = f" on {world_size} processes" if world_size > 1 else ""
                raise ValueError(
                    f"data.batch_size={batch_size}{processes} is larger than the {size} training samples of a source; "
                    f"set data.batch_size={max(1, size // world_size)} or less"
                )
        self.sizes = tuple(sizes)
        self.orders = tuple(orders or [free_order] * len(sizes))
        self.batch_size = batch_size
        self.global_batch = global_batch
        self.seed = seed
        self.steps_per_epoch = steps_per_epoch or sum(
            size // global_batch for size, weight in zip(sizes, source_weights, strict=True) if weight > 0
        )
        self.start_step = self.step = start_step
        self.rank = rank
        unscaled = source_weights * np.asarray(sizes, dtype=np.float64) ** alpha
        self.probabilities = unscaled / unscaled.sum()

    def __len__(self) -> int:
        return self.steps_per_epoch

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of `epoch`, from `start_step` on; Lightning calls this where an epoch begins.

        Lightning may have begun an iteration that it does not use, and loader processes begin those by themselves.
        """
        self.step = max(self.start_step, epoch * self.steps_per_epoch)

    def sources_of_epoch(self, epoch: int) -> np.ndarray:
        """The source of each step of an epoch, (steps_per_epoch,) int64."""
        rng = np.random.default_rng([self.seed, 0, epoch])
        return rng.choice(len(self.sizes), size=self.steps_per_epoch, p=self.probabilities)

    def __iter__(self) -> Iterator[BatchRequest]:
        epoch, first = divmod(self.step, self.steps_per_epoch)
        num_drawn = np.zeros(len(self.sizes), dtype=np.int64)
        for past in range(epoch):
            num_drawn += np.bincount(self.sources_of_epoch(past), minlength=len(self.sizes))
        permutations: dict[int, tuple[int, np.ndarray]] = {}
        # Before the first batch: a loop that ends in mid-epoch (limit_train_batches) must not get the same epoch again.
        self.step = (epoch + 1) * self.steps_per_epoch
        for position, source in enumerate(self.sources_of_epoch(epoch).tolist()):
            if position >= first:
                step = epoch * self.steps_per_epoch + position
                yield self._request(source, int(num_drawn[source]), step, permutations)
            num_drawn[source] += 1

    def _request(
        self, source: int, turn: int, step: int, permutations: dict[int, tuple[int, np.ndarray]]
    ) -> BatchRequest:
        """The `turn`-th batch drawn from `source`, at `step`; `permutations` holds the latest pass of each source."""
        size = self.sizes[source]
        in_pass, batch = divmod(turn, size // self.global_batch)
        if source not in permutations or permutations[source][0] != in_pass:
            order = self.orders[source](np.random.default_rng([self.seed, 1, source, in_pass]), size)
            permutations[source] = (in_pass, order)
        start = batch * self.global_batch + self.rank * self.batch_size
        indices = tuple(permutations[source][1][start : start + self.batch_size].tolist())
        return BatchRequest(source, indices, tuple((self.seed, 2, step, source, index) for index in indices))


class EvaluationPlan:
    """Every sample of every source once, in order; rank r takes the r-th of `world_size` consecutive stretches.

    Batches are smaller than `batch_size` where that would leave a rank without any.
    """

    def __init__(self, sizes: Sequence[int], batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        batch_size = min(batch_size, max(1, sum(sizes) // world_size))
        requests = [
            BatchRequest(source, tuple(range(start, min(start + batch_size, size))))
            for source, size in enumerate(sizes)
            for start in range(0, size, batch_size)
        ]
        first, last = (len(requests) * r // world_size for r in (rank, rank + 1))
        self.requests = requests[first:last]

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[BatchRequest]:
        return iter(self.requests)
