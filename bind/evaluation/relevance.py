"""Relevance between values that several samples may hold: a query's relevant items are those of any of its groups.

Shapes: Q queries or P pool items of V distinct values, E entries (value, group).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Holders:
    """The groups of the samples that hold each value of one side of a retrieval.

    Attributes:
        value_Q: int64 (Q,), the value of each query or pool item, 0 … V - 1.
        value_E, group_E: int64 (E,), each value with each of its groups, once.
    """

    value_Q: Tensor
    value_E: Tensor
    group_E: Tensor

    @classmethod
    def distinct(cls, group_Q: Tensor) -> Holders:
        """Values that are all different, each of one group."""
        values = torch.arange(len(group_Q))
        return cls(values, values, group_Q)

    @property
    def have_one_group(self) -> bool:
        """Whether every value is of one group alone."""
        return len(torch.unique(self.value_E)) == len(self.value_E)


def relevance_ids(query: Holders, pool: Holders) -> tuple[Tensor, Tensor, Tensor | None]:
    """Ids by which `bind.metrics.retrieval` knows what is relevant to what.

    Returns:
        Ids of the queries (Q,) and of the pool's entries (E,), and the pool item of each entry; None: entry i is
        that of item i.

    Examples:
        Two sounds, of the groups 7 and 8, have one and the same picture; a third sound has its own:

        >>> sounds = Holders.distinct(torch.tensor([7, 8, 9]))
        >>> pictures = Holders(torch.tensor([0, 1]), torch.tensor([0, 0, 1]), torch.tensor([7, 8, 9]))
        >>> [ids.tolist() for ids in relevance_ids(sounds, pictures)]
        [[7, 8, 9], [7, 8, 9], [0, 0, 1]]

        The shared picture as a query finds both of its sounds; as it is of two groups, it has an id below 0:

        >>> pictures = Holders(torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1]), torch.tensor([7, 8, 9]))
        >>> [ids.tolist() for ids in relevance_ids(pictures, sounds)]
        [[-1, 9, -1], [7, 8, 9, -1, -1], [0, 1, 2, 0, 1]]
    """
    # A pool's items are distinct values: put the entries into the order of the items.
    item_of_value = torch.empty_like(pool.value_Q).scatter_(0, pool.value_Q, torch.arange(len(pool.value_Q)))
    item_E, pool_group_E = item_of_value[pool.value_E], pool.group_E
    num_groups_V = torch.bincount(query.value_E)
    group_V = torch.zeros_like(num_groups_V).scatter_(0, query.value_E, query.group_E)
    if query.have_one_group:
        if pool.have_one_group:
            return group_V[query.value_Q], pool_group_E[item_E.argsort()], None
        return group_V[query.value_Q], pool_group_E, item_E
    several_V = num_groups_V > 1
    value_ids_V = torch.where(several_V, -1 - torch.arange(len(group_V)), group_V)
    of_several_E = several_V[query.value_E]
    values, groups = query.value_E[of_several_E], query.group_E[of_several_E]
    sorted_groups, order = pool_group_E.sort()
    first, last = (torch.searchsorted(sorted_groups, groups, right=right) for right in (False, True))
    num = last - first
    entries = torch.repeat_interleave(torch.arange(len(num)), num)
    offset = torch.arange(len(entries)) - (num.cumsum(0) - num)[entries]
    items = item_E[order[first[entries] + offset]]
    added = torch.stack([value_ids_V[values[entries]], items], dim=1).unique(dim=0)
    ids_E, all_items_E = torch.cat([pool_group_E, added[:, 0]]), torch.cat([item_E, added[:, 1]])
    return value_ids_V[query.value_Q], ids_E, all_items_E
