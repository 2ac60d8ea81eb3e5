"""A split under evaluation: its embeddings beside the metadata of its samples."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from bind.data.same_values import equal_values
from bind.data.sources.sample_columns import join_samples, owners_of
from bind.evaluation.embedded import EmbeddedSplit
from bind.evaluation.fused import fused_modalities
from bind.evaluation.queries import Items, QueryResults, items_at
from bind.metrics.clusters import choose_clusters, cluster_equal_values, owner_clusters
from bind.model.binder import Binder
from bind.types import Modality, Sample, Source

TrainedValues = Mapping[Modality, Collection[tuple[str, int]]]
"""Modality of `evaluation.known` → the values of the split that were trained on: key of the sample, and which value."""

NO_TRAINED_VALUES: TrainedValues = MappingProxyType({})


@dataclass
class Evaluation:
    """A split under evaluation.

    Attributes:
        split: its embeddings.
        samples: the metadata of each of its N samples.
        trained_values: modality that is known on purpose → its values that were trained on.
        fused: fused modality → the modalities that it is made of.
        queries: key of a task → its results query by query, filled while figures are computed.
    """

    split: EmbeddedSplit
    binder: Binder
    sources: Sequence[Source]
    split_name: str
    one_per_group: bool
    trained_values: TrainedValues = field(default_factory=dict)
    queries: dict[str, QueryResults] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fused = fused_modalities(self.binder)
        self.samples: Sequence[Sample] = join_samples([source.samples(self.split_name) for source in self.sources])
        assert len(self.samples) == len(self.split.keys), "a split is evaluated whole"
        self.split.mark_equal_values(equal_values(self.sources, self.split_name, [*self.split.rows]))
        self.all_N = torch.ones(len(self.samples), dtype=torch.bool)
        self.owner_cluster_N = owner_clusters(owners_of(self.samples))

    def query_and_pool_masks(self, pool: Modality) -> tuple[Tensor, Tensor]:
        """Bool (N,) each: the samples that may be queries for a pool of this modality, and those it may be made of."""
        if not self.one_per_group:
            return self.all_N, self.all_N
        in_pool_N = self.split.is_pool_item(self.inputs_of(pool))
        return ~in_pool_N, in_pool_N

    def inputs_of(self, modality: Modality) -> list[Modality]:
        """The modalities whose vectors stand for this one: itself, or the inputs of a fusion of scores."""
        return [modality] if modality in self.split.rows else [*self.fused[modality]]

    def clusters(
        self, modality: Modality, items: Items, positions: Tensor | None, is_query_N: Tensor
    ) -> tuple[str, np.ndarray, int]:
        """What is resampled together, the cluster (Q,) of each query, and the number of clusters of the whole split.

        Queries with equal values are one query repeated, so they are one cluster. Where they come from several owners
        or groups, as captions made from templates do, these say nothing of them.

        Args:
            items: the queries.
            positions: theirs among the modality's vectors; None where they are made of several modalities.
            is_query_N: bool (N,), the samples that may be queries.
        """
        group_ids_N = self.split.group_ids_N.numpy()
        if positions is None or modality not in self.split.value_ids:
            resampled, cluster_N = choose_clusters(self.owner_cluster_N, group_ids_N, is_query_N.numpy())
            return resampled, cluster_N[items.rows], int(cluster_N.max()) + 1
        value_Q = self.split.value_ids[modality][positions].numpy()
        alone_Q, num_alone = cluster_equal_values(np.arange(len(group_ids_N))[items.rows], value_Q, len(group_ids_N))
        num_distinct = len(np.unique(alone_Q))
        for name, ids_N, most in (
            ("owners", self.owner_cluster_N, num_distinct),
            ("groups", group_ids_N, len(value_Q)),
        ):
            cluster_N = np.unique(ids_N, return_inverse=True)[1]
            clusters_Q, num_clusters = cluster_equal_values(cluster_N[items.rows], value_Q, int(cluster_N.max()) + 1)
            if 1 < len(np.unique(clusters_Q)) < most:
                return name, clusters_Q, num_clusters
        return "samples", alone_Q, num_alone

    def sample_clusters(self, modality: Modality, is_query_N: Tensor) -> tuple[str, np.ndarray]:
        """What is resampled together and the cluster (N,) of each sample, by its first value of this modality."""
        rows = self.split.rows[modality]
        positions = (torch.searchsorted(rows, rows) == torch.arange(len(rows))).nonzero().flatten()
        items = items_at(self.split, modality, positions)
        resampled, clusters_Q, num_clusters = self.clusters(modality, items, positions, is_query_N)
        cluster_N = num_clusters + np.arange(len(self.samples))
        cluster_N[items.rows] = clusters_Q
        return resampled, np.unique(cluster_N, return_inverse=True)[1]

    def known_label(self, *sides: Modality) -> str:
        """What is new and what was trained on, such as "new audio, known image"; empty where all is new."""
        inputs = [m for side in sides for m in self.inputs_of(side)]
        if not any(self.trained_values.get(m) for m in inputs):
            return ""
        return ", ".join(f"{'known' if self.trained_values.get(m) else 'new'} {m}" for m in inputs)

    def count_trained(self, modality: Modality, items: Items) -> int:
        """How many of these values of a modality that is known on purpose were trained on."""
        trained = self.trained_values[modality]
        places = zip(items.rows.tolist(), items.values.tolist(), strict=True)
        return sum((self.split.keys[row], number) in trained for row, number in places)

    def have_a_common_group(self, query: Modality, pool: Modality) -> bool:
        """Whether a query can have anything relevant."""
        split, sides = self.split, []
        for side in (query, pool):
            sides.append(split.group_ids_N[torch.cat([split.rows[m] for m in self.inputs_of(side)])])
        return bool(torch.isin(*sides).any())
