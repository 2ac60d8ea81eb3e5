"""Further negatives at no cost: the anchor is frozen, so vectors of its cache are exact and never stale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bind.types import EmbeddingCache, Modality, Source


class AnchorBank:
    """Cached training vectors of the anchor, some of them drawn for every step, the same ones on every rank.

    Args:
        size: vectors per step, K; all there are where they are fewer.
        z: modality → (N, D) unit vectors.
        group_ids: modality → int64 (N,).
        seed: of the run; with the step it determines what is drawn.
    """

    def __init__(
        self, size: int, z: Mapping[Modality, Tensor], group_ids: Mapping[Modality, Tensor], seed: int
    ) -> None:
        self.size, self.z, self.group_ids, self.seed = size, dict(z), dict(group_ids), seed

    @classmethod
    def from_cache(
        cls, size: int, cache: EmbeddingCache, sources: Sequence[Source], modalities: Sequence[Modality], seed: int
    ) -> AnchorBank:
        """Of what `cache` holds of the training samples; modalities that it lacks have no bank."""
        z: dict[Modality, list[Tensor]] = {}
        group_ids: dict[Modality, list[Tensor]] = {}
        for modality in modalities:
            for position, source in enumerate(sources):
                samples = source.samples("train")
                found = cache.lookup(modality, [s.key for s in samples], source=position, split="train")
                if found is not None:
                    counts = torch.tensor([len(each) for each in found])
                    ids = torch.tensor([sample.group_id for sample in samples]).repeat_interleave(counts)
                    z.setdefault(modality, []).append(torch.cat(found))
                    group_ids.setdefault(modality, []).append(ids)
        joined = {m: torch.cat(of_sources) for m, of_sources in z.items()}
        return cls(size, joined, {m: torch.cat(of_sources) for m, of_sources in group_ids.items()}, seed)

    def draw(self, modality: Modality, step: int, device: torch.device) -> tuple[Tensor, Tensor] | None:
        """(K, D) vectors and their int64 (K,) group ids; None where `modality` has no bank."""
        if modality not in self.z:
            return None
        num_all = len(self.z[modality])
        rng = np.random.default_rng([self.seed, 3, step])
        index = torch.from_numpy(rng.choice(num_all, size=min(self.size, num_all), replace=False, shuffle=False))
        return self.z[modality][index].to(device), self.group_ids[modality][index].to(device)
