"""All embeddings of a split, on the CPU, every sample once: what retrieval and zero-shot figures are made of."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bind.distributed import gather_objects, gather_rows, rank, row_counts
from bind.metrics import retrieval
from bind.types import Batch, Embeddings, Modality


class EmbeddedSplit:
    """All embeddings of a split, every sample once and in one order on every rank.

    Attributes:
        keys: N sample keys.
        group_ids_N: int64 (N,).
        z: modality → (N_m, D) on the CPU.
        rows: modality → int64 (N_m,), the sample of each vector.
        copies: modality → bool (N_m,), vectors of a value that an earlier sample of the group has too, such as a
            template's caption; a pool holds such a value once.
    """

    def __init__(
        self, keys: list[str], group_ids_N: Tensor, z: Mapping[Modality, Tensor], rows: Mapping[Modality, Tensor]
    ) -> None:
        self.keys = keys
        self.group_ids_N = group_ids_N
        self.z = dict(z)
        self.rows = dict(rows)
        self.repeated: dict[Modality, Tensor] = {}

    @classmethod
    def gather(cls, parts: Iterable[tuple[Batch, Embeddings]], device: torch.device | str = "cpu") -> EmbeddedSplit:
        """Concatenate batches on this rank's `device`, in rank order; a sample that two ranks saw counts once.

        Ranks hold consecutive stretches of a split, so the order is that of the split under any number of processes.
        """
        parts = list(parts)
        device = torch.device(device)  # given, because a rank without a batch has to take part too
        nothing = torch.zeros(0, dtype=torch.long, device=device)
        keys = [key for batch, _ in parts for key in batch.keys]
        keys_of_rank = gather_objects(keys)
        sizes = [len(k) for k in keys_of_rank[: rank()]] + [len(batch) for batch, _ in parts]
        starts = [0, *itertools.accumulate(sizes)][rank() :]

        def gathered(own: list[Tensor], empty: Tensor) -> Tensor:
            x = torch.cat([empty, *own])
            return gather_rows(x, row_counts(len(x), device)).cpu()

        dims: dict[Modality, int] = {}
        for found in gather_objects({m: z.shape[1] for _, e in parts for m, z in e.z.items()}):
            dims.update(found)
        z, rows = {}, {}
        for m in sorted(dims):
            own = [(e, start) for (_, e), start in zip(parts, starts, strict=False) if m in e.z]
            z[m] = gathered([e.z[m].detach().float() for e, _ in own], torch.zeros(0, dims[m], device=device))
            rows[m] = gathered([e.rows[m] + start for e, start in own], nothing)
        group_ids = gathered([batch.group_ids_B for batch, _ in parts], nothing)
        return cls([key for own_keys in keys_of_rank for key in own_keys], group_ids, z, rows)._deduplicated()

    @classmethod
    def collect(cls, parts: Iterable[tuple[Batch, Embeddings]]) -> EmbeddedSplit:
        """Concatenate the batches of this process alone, which has seen the whole split."""
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
        )

    def _deduplicated(self) -> EmbeddedSplit:
        """Every key once."""
        first: dict[str, int] = {}
        for position, key in enumerate(self.keys):
            first.setdefault(key, position)
        if len(first) == len(self.keys):
            return self
        kept = torch.tensor(sorted(first.values()))
        renumbered = torch.full((len(self.keys),), -1, dtype=torch.long)
        renumbered[kept] = torch.arange(len(kept))
        z, rows = {}, {}
        for modality, old in self.rows.items():
            mask = renumbered[old] >= 0
            z[modality], rows[modality] = self.z[modality][mask], renumbered[old[mask]]
        return EmbeddedSplit([self.keys[i] for i in kept.tolist()], self.group_ids_N[kept], z, rows)

    def retrieval(self, query: Modality, pool: Modality, *, one_per_group: bool) -> dict[str, Any]:
        """Metrics of ranking every `pool` vector for every `query` vector; relevant are those of the query's group."""
        queries, candidates = self.query_and_pool_rows(query, pool, one_per_group=one_per_group)
        return retrieval(
            self.z[query][queries],
            self.z[pool][candidates],
            self.group_ids_N[self.rows[query][queries]],
            self.group_ids_N[self.rows[pool][candidates]],
        )

    def query_and_pool_rows(self, query: Modality, pool: Modality, *, one_per_group: bool) -> tuple[Tensor, Tensor]:
        """Positions among the query's and the pool's vectors.

        With `one_per_group` the pool is the first sample of each group that has `pool`, and all other samples ask.
        """
        asking = self.query_rows(query, [pool], one_per_group=one_per_group)
        return asking, self.pool_rows(pool, one_per_group=one_per_group)

    def query_rows(self, query: Modality, pool: Sequence[Modality], *, one_per_group: bool) -> Tensor:
        """Positions of the queries among the vectors of a modality, where the pool is made of `pool`."""
        rows = self.rows[query]
        return (~self.is_pool_item(pool)[rows]).nonzero().flatten() if one_per_group else torch.arange(len(rows))

    def pool_rows(self, pool: Modality, *, one_per_group: bool) -> Tensor:
        """Positions of the pool's items among the vectors of a modality."""
        rows = self.rows[pool]
        kept = self.is_pool_item([pool])[rows] if one_per_group else torch.ones(len(rows), dtype=torch.bool)
        return (kept & ~self.repeated[pool] if pool in self.repeated else kept).nonzero().flatten()

    def is_pool_item(self, pool: Sequence[Modality]) -> Tensor:
        """Bool (N,): the first sample of each group among those that have any of `pool`."""
        rows = torch.cat([self.rows[m] for m in pool])
        groups, group_of_row = self.group_ids_N[rows].unique(return_inverse=True)
        first = rows.new_full((len(groups),), len(self.keys)).scatter_reduce(0, group_of_row, rows, "amin")
        is_first = torch.zeros(len(self.keys), dtype=torch.bool)
        is_first[first] = True
        return is_first
