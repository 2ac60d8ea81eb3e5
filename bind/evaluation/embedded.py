"""The embeddings of a whole split, on the CPU, every sample once: retrieval and zero-shot figures are made of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bind.data.value_ids import ValueIds
from bind.distributed import gather_objects, gather_rows, rank, row_counts
from bind.evaluation.relevance import Holders, relevance_ids
from bind.metrics import rank_by_cosine
from bind.types import Batch, Embeddings, Modality


class EmbeddedSplit:
    """All embeddings of a split, every sample once and in one order on every rank.

    Attributes:
        keys: N sample keys.
        group_ids_N: int64 (N,).
        z: modality → (N_m, D) on the CPU.
        rows: modality → int64 (N_m,), the sample of each vector.
        value_ids: modality → int64 (N_m,), equal for vectors of equal values, such as a caption or a picture that
            several samples share; a pool holds such a value once. Only modalities in which values are equal.
        device: where vectors are ranked: on a GPU a pool of 100,000 takes a second, on a CPU minutes.

    Examples:
        >>> import torch
        >>> vectors = {"image": torch.eye(3), "audio": torch.eye(3)[[0, 2]]}
        >>> rows = {"image": torch.arange(3), "audio": torch.tensor([0, 2])}  # the second sample has no sound
        >>> split = EmbeddedSplit(["dog", "cat", "bird"], torch.tensor([0, 1, 2]), vectors, rows)
        >>> figures = split.retrieval("audio", "image", one_per_group=False)
        >>> figures["R@1"], figures["queries"], figures["pool"]
        (1.0, 2, 3)
    """

    def __init__(
        self,
        keys: list[str],
        group_ids_N: Tensor,
        z: Mapping[Modality, Tensor],
        rows: Mapping[Modality, Tensor],
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.keys = keys
        self.group_ids_N = group_ids_N
        self.z = dict(z)
        self.rows = dict(rows)
        self.value_ids: dict[Modality, Tensor] = {}

    @classmethod
    def gather(cls, parts: Iterable[tuple[Batch, Embeddings]], device: torch.device | str = "cpu") -> EmbeddedSplit:
        """Concatenate batches on this rank's `device`, in rank order; a sample that two ranks saw counts once.

        Ranks hold consecutive stretches of a split, so the order is that of the split under any number of processes.
        """
        parts = list(parts)
        device = torch.device(device)  # an argument, because a rank without a batch has to take part too
        no_rows = torch.zeros(0, dtype=torch.long, device=device)
        keys = [key for batch, _ in parts for key in batch.keys]
        keys_of_rank = gather_objects(keys)
        sizes = [len(k) for k in keys_of_rank[: rank()]] + [len(batch) for batch, _ in parts]
        starts = [0, *itertools.accumulate(sizes)][rank() :]

        def gather(local: list[Tensor], empty: Tensor) -> Tensor:
            x = torch.cat([empty, *local])
            return gather_rows(x, row_counts(len(x), device)).cpu()

        dims: dict[Modality, int] = {}
        for dims_of_rank in gather_objects({m: z.shape[1] for _, e in parts for m, z in e.z.items()}):
            dims.update(dims_of_rank)
        z, rows = {}, {}
        for m in sorted(dims):
            local = [(e, start) for (_, e), start in zip(parts, starts, strict=False) if m in e.z]
            z[m] = gather([e.z[m].detach().float() for e, _ in local], torch.zeros(0, dims[m], device=device))
            rows[m] = gather([(e.rows[m] + start).to(device) for e, start in local], no_rows)
        group_ids = gather([batch.group_ids_B.to(device) for batch, _ in parts], no_rows)
        return cls(list(itertools.chain(*keys_of_rank)), group_ids, z, rows, device)._deduplicated()

    @classmethod
    def collect(cls, parts: Iterable[tuple[Batch, Embeddings]], device: torch.device | str = "cpu") -> EmbeddedSplit:
        """Concatenate the batches of this process alone, which has seen the whole split; `device` ranks them."""
        parts = list(parts)
        starts = torch.tensor([0, *(len(batch) for batch, _ in parts)]).cumsum(0).tolist()
        z: dict[Modality, list[Tensor]] = {}
        rows: dict[Modality, list[Tensor]] = {}
        for (_, embeddings), start in zip(parts, starts, strict=False):
            for m, z_m in embeddings.z.items():
                z.setdefault(m, []).append(z_m.detach().float().cpu())
                rows.setdefault(m, []).append(embeddings.rows[m].cpu() + start)
        return cls(
            [key for batch, _ in parts for key in batch.keys],
            torch.cat([batch.group_ids_B.cpu() for batch, _ in parts]),
            {m: torch.cat(x) for m, x in z.items()},
            {m: torch.cat(x) for m, x in rows.items()},
            device,
        )

    def _deduplicated(self) -> EmbeddedSplit:
        """The split with every key once: the first sample of each."""
        first: dict[str, int] = {}
        for position, key in enumerate(self.keys):
            first.setdefault(key, position)
        if len(first) == len(self.keys):
            return self
        kept = torch.tensor(sorted(first.values()))
        new_row_N = torch.full((len(self.keys),), -1, dtype=torch.long)
        new_row_N[kept] = torch.arange(len(kept))
        z, rows = {}, {}
        for modality, old_rows in self.rows.items():
            is_kept = new_row_N[old_rows] >= 0
            z[modality], rows[modality] = self.z[modality][is_kept], new_row_N[old_rows[is_kept]]
        return EmbeddedSplit([self.keys[i] for i in kept.tolist()], self.group_ids_N[kept], z, rows, self.device)

    def mark_equal_values(self, equal: Mapping[Modality, ValueIds]) -> None:
        """Note which values are equal, by `bind.data.same_values.equal_values` of the whole split."""
        for modality in [m for m in equal if m in self.rows]:
            rows = self.rows[modality]
            numbers = torch.arange(len(rows)) - torch.searchsorted(rows, rows)
            ids = equal[modality].find(self.keys, numbers.numpy(), rows.numpy())
            alone = ids.max(initial=0) + 1 + np.arange(len(ids))
            _, ids_m = torch.unique(torch.from_numpy(np.where(ids < 0, alone, ids)), return_inverse=True)
            if len(ids) and int(ids_m.max()) + 1 < len(ids):
                self.value_ids[modality] = ids_m

    def retrieval(
        self, query: Modality, pool: Modality, *, one_per_group: bool, num_resamples: int = 1000
    ) -> dict[str, Any]:
        """Metrics of ranking the distinct `pool` values for every `query` vector; without resamples no intervals.

        Relevant are those that any sample of the query's group, or of a sample with an equal query, has.
        """
        query_rows, pool_rows = self.query_and_pool_rows(query, pool, one_per_group=one_per_group)
        query_groups, pool_groups, pool_items = relevance_ids(
            self.holders(query, query_rows), self.holders(pool, pool_rows, one_per_group=one_per_group)
        )
        z_query, z_pool = self.vectors(query, query_rows), self.vectors(pool, pool_rows)
        ranking = rank_by_cosine(z_query, z_pool, query_groups, pool_groups, pool_items=pool_items)
        return ranking.cpu().summary(num_resamples=num_resamples)

    def vectors(self, modality: Modality, positions: Tensor) -> Tensor:
        """Vectors of a modality, where they are ranked."""
        return self.z[modality][positions].to(self.device)

    def holders(self, modality: Modality, positions: Tensor, *, one_per_group: bool = False) -> Holders:
        """The groups of the samples that hold each of the values at `positions`; `one_per_group` where it is a pool."""
        groups = self.group_ids_N[self.rows[modality]]
        if modality not in self.value_ids:
            return Holders.distinct(groups[positions])
        ids = self.value_ids[modality]
        values, value_of_position = torch.unique(ids[positions], return_inverse=True)
        among = self._pool_mask(modality, one_per_group=one_per_group) & torch.isin(ids, values)
        entries = torch.stack([torch.searchsorted(values, ids[among]), groups[among]], dim=1).unique(dim=0)
        return Holders(value_of_position, *entries.unbind(1))

    def groups_of(self, modality: Modality, position: int) -> set[int]:
        """The groups of the samples that hold the value at this position among the vectors of a modality."""
        rows = self.rows[modality]
        if modality not in self.value_ids:
            return {int(self.group_ids_N[rows[position]])}
        ids = self.value_ids[modality]
        return set(self.group_ids_N[rows[ids == ids[position]]].tolist())

    def query_and_pool_rows(self, query: Modality, pool: Modality, *, one_per_group: bool) -> tuple[Tensor, Tensor]:
        """Positions among the query's and the pool's vectors.

        With `one_per_group` the pool is the first sample of each group that has `pool`, and all other samples are
        queries.
        """
        query_rows = self.query_rows(query, [pool], one_per_group=one_per_group)
        return query_rows, self.pool_rows(pool, one_per_group=one_per_group)

    def query_rows(self, query: Modality, pool: Sequence[Modality], *, one_per_group: bool) -> Tensor:
        """Positions of the queries among the vectors of a modality, where the pool is made of `pool`."""
        rows = self.rows[query]
        return (~self.is_pool_item(pool)[rows]).nonzero().flatten() if one_per_group else torch.arange(len(rows))

    def pool_rows(self, pool: Modality, *, one_per_group: bool) -> Tensor:
        """Positions of the pool's items, of equal values the first, among the vectors of a modality."""
        positions = self.pool_values(pool, one_per_group=one_per_group)
        if pool not in self.value_ids:
            return positions
        ids = self.value_ids[pool][positions]
        first = torch.full((int(ids.max()) + 1,), len(ids)).scatter_reduce(0, ids, torch.arange(len(ids)), "amin")
        return positions[first[first < len(ids)].sort().values]

    def pool_values(self, pool: Modality, *, one_per_group: bool) -> Tensor:
        """Positions of all values that a pool is made of, before equal ones count once."""
        return self._pool_mask(pool, one_per_group=one_per_group).nonzero().flatten()

    def _pool_mask(self, modality: Modality, *, one_per_group: bool) -> Tensor:
        """Bool (N_m,): the vectors that a pool is made of, before equal values count once."""
        rows = self.rows[modality]
        return self.is_pool_item([modality])[rows] if one_per_group else torch.ones(len(rows), dtype=torch.bool)

    def is_pool_item(self, pool: Sequence[Modality]) -> Tensor:
        """Bool (N,): the first sample of each group among those that have any of `pool`."""
        rows = torch.cat([self.rows[m] for m in pool])
        groups, group_of_row = torch.unique(self.group_ids_N[rows], return_inverse=True)
        first = rows.new_full((len(groups),), len(self.keys)).scatter_reduce(0, group_of_row, rows, "amin")
        is_first = torch.zeros(len(self.keys), dtype=torch.bool)
        is_first[first] = True
        return is_first
