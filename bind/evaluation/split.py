"""A split under evaluation: its embeddings beside the metadata of its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from bind.evaluation.embedded import EmbeddedSplit
from bind.evaluation.fused import fused_modalities
from bind.evaluation.queries import QueryResults
from bind.metrics.clusters import choose_clusters, owner_clusters
from bind.model.binder import Binder
from bind.types import Modality, Sample, Source


@dataclass
class Evaluation:
    """A split under evaluation.

    Attributes:
        split: its embeddings.
        samples: the metadata of each of its N samples.
        fused: fused modality → the modalities that it is made of.
        queries: key of a task → its results query by query, filled while figures are computed.
    """

    split: EmbeddedSplit
    binder: Binder
    sources: Sequence[Source]
    split_name: str
    one_per_group: bool
    queries: dict[str, QueryResults] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fused = fused_modalities(self.binder)
        self.samples: list[Sample] = [s for source in self.sources for s in source.samples(self.split_name)]
        assert len(self.samples) == len(self.split.keys), "a split is evaluated whole"
        mark_repeated_values(self.split, self.sources, self.split_name)
        self.all_N = torch.ones(len(self.samples), dtype=torch.bool)
        self.owner_cluster_N = owner_clusters([sample.owners for sample in self.samples])

    def query_and_pool_masks(self, pool: Modality) -> tuple[Tensor, Tensor]:
        """Bool (N,) each: the samples that may be queries for a pool of this modality, and those it may be made of."""
        if not self.one_per_group:
            return self.all_N, self.all_N
        in_pool_N = self.split.is_pool_item(self.inputs_of(pool))
        return ~in_pool_N, in_pool_N

    def inputs_of(self, modality: Modality) -> list[Modality]:
        """The modalities whose vectors stand for this one: itself, or the inputs of a fusion of scores."""
        return [modality] if modality in self.split.rows else [*self.fused[modality]]

    def clusters(self, modality: Modality, is_query_N: Tensor) -> tuple[str, np.ndarray]:
        """What is resampled together and the cluster (N,) of each sample.

        Where one text stands in many samples of a group, its queries are one query repeated many times, whoever owns
        the samples: then owners do not count.
        """
        alone = np.arange(len(self.samples))
        owner_cluster_N = alone if modality in self.split.repeated else self.owner_cluster_N
        return choose_clusters(owner_cluster_N, self.split.group_ids_N.numpy(), is_query_N.numpy())

    def have_a_common_group(self, query: Modality, pool: Modality) -> bool:
        """Whether a query can have anything relevant."""
        split, sides = self.split, []
        for side in (query, pool):
            sides.append(split.group_ids_N[torch.cat([split.rows[m] for m in self.inputs_of(side)])])
        return bool(torch.isin(*sides).any())


def mark_repeated_values(split: EmbeddedSplit, sources: Sequence[Source], split_name: str) -> None:
    """Note which texts an earlier sample of their group has too: captions made from templates.

    As pool items such copies would fill the first places with one and the same text, right or wrong, and the deeper
    figures would measure how often it was written down. Equal texts of different groups stay: they are ties.
    """
    if "text" not in split.rows:
        return
    texts: list[str] = []
    for source in (source for source in sources if "text" in source.modalities()):
        all_indices = range(len(source.samples(split_name)))
        texts += [t for values in source.fetch(split_name, all_indices, ["text"], None) for t in values.get("text", ())]
    assert len(texts) == len(split.rows["text"]), "every text of a split has a vector"
    groups = split.group_ids_N[split.rows["text"]].tolist()
    first: dict[tuple[int, str], int] = {}
    is_repeated = [first.setdefault(item, i) != i for i, item in enumerate(zip(groups, texts, strict=True))]
    if any(is_repeated):
        split.repeated["text"] = torch.tensor(is_repeated)
