"""Engine that fills the anchor cache: samples in, embeddings out, part by part."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bind.cache.store import CacheFolder
from bind.media.pictures import open_image
from bind.media.views import random_view
from bind.processes.workers import PrefetchLoader, explained_worker_death
from bind.types import FrozenTower, Inputs, Modality, Source, StoredVector, Transform, stable_id


@dataclass(frozen=True, slots=True)
class EmbeddingJob:
    """The values of one source, split and modality, each in `num_views` views, as inputs of the anchor's tower."""

    source: Source
    split: str
    modality: Modality
    transform: Transform
    num_views: int = 1

    def load(self, indices: Sequence[int]) -> tuple[np.ndarray, Inputs | None]:
        """Values per sample (n,) and the tower's inputs (R·K, …), the views of a value side by side; None if R = 0."""
        samples = self.source.samples(self.split)
        fetched = self.source.fetch(self.split, indices, [self.modality], None)
        values = [row.get(self.modality, ()) for row in fetched]
        items = []
        for index, several in zip(indices, values, strict=True):
            for position, value in enumerate(several):
                items.append(self.transform(value, None))
                if self.num_views > 1 and isinstance(value, StoredVector):
                    raise ValueError(f"{value.name}: a vector has no crops. Set cache.views=1")
                for view in range(1, self.num_views):
                    rng = np.random.default_rng([stable_id(samples[index].key), position, view])
                    items.append(self.transform(random_view(open_image(value), rng), None))
        return np.array([len(several) for several in values]), self.transform.collate(items) if items else None

    def embed(self, anchor: FrozenTower, inputs: Inputs | None) -> np.ndarray:
        """Unit vectors (R, K, D) in fp16 of what `load` gave."""
        if inputs is None:
            return np.zeros((0, self.num_views, anchor.dim), np.float16)
        device = next(anchor.parameters()).device
        moved = {name: x.to(device) for name, x in inputs.items()} if isinstance(inputs, dict) else inputs.to(device)
        z: Tensor = anchor.embed(self.modality, moved)
        return z.half().cpu().numpy().reshape(-1, self.num_views, anchor.dim)


class _Batches(Dataset[tuple[int, range, np.ndarray, Inputs | None]]):
    """Loads the samples of a request, in a loader's process where there are any."""

    def __init__(self, job: EmbeddingJob) -> None:
        self.job = job

    def __getitem__(self, request: tuple[int, range]) -> tuple[int, range, np.ndarray, Inputs | None]:
        part, indices = request
        return part, indices, *self.job.load(indices)


def _return_unchanged(item: object) -> object:
    return item


@dataclass(frozen=True, slots=True)
class Engine:
    """How batches are run here.

    Args:
        batch_size: rows per batch.
        num_workers: processes that load them; 0 loads in this one.
        timeout_seconds: how long a batch of theirs is waited for, and another process that fills the same folder.
    """

    batch_size: int = 64
    num_workers: int = 0
    timeout_seconds: float = 600.0

    def fill(
        self,
        job: EmbeddingJob,
        anchor: FrozenTower,
        folder: CacheFolder,
        parts: Sequence[int],
        advance: Callable[[int], None],
    ) -> bool:
        """Make those of `parts` that no other process has claimed; returns whether there was any."""
        claimed = (part for part in parts if folder.claim(part))  # lazily: each right before it is embedded
        if (first := next(claimed, None)) is None:
            return False
        mine = itertools.chain([first], claimed)

        def go_on(num_samples: int) -> None:
            folder.show_life()
            advance(num_samples)

        for part, counts, z_RKD in self.embed_parts(job, anchor, mine, folder.sizes, go_on):
            folder.write_part(part, counts, z_RKD)
            folder.release(part)
        return True

    def embed_parts(
        self,
        job: EmbeddingJob,
        anchor: FrozenTower,
        parts: Iterable[int],
        sizes: Sequence[int],
        advance: Callable[[int], None],
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Number, counts and vectors of each of `parts` as it is complete; `parts` is read as they are needed."""
        num_samples = max(1, self.batch_size // job.num_views)

        def requests() -> Iterator[tuple[int, range]]:
            for part in parts:
                first, last = part * sizes[0], part * sizes[0] + sizes[part]
                for start in range(first, last, num_samples):
                    yield part, range(start, min(start + num_samples, last))

        loader = PrefetchLoader(
            _Batches(job),
            requests(),
            sources=[job.source],
            num_workers=self.num_workers,
            timeout_seconds=self.timeout_seconds,
            collate_fn=_return_unchanged,
            generator=torch.Generator(),  # a cache that is filled draws no more numbers than one that is there
        )
        counts: list[np.ndarray] = []
        z: list[np.ndarray] = []
        with explained_worker_death():
            for part, indices, counts_of_batch, inputs in loader:
                counts.append(counts_of_batch)
                z.append(job.embed(anchor, inputs))
                advance(len(indices))
                if sum(map(len, counts)) == sizes[part]:
                    yield part, np.concatenate(counts), np.concatenate(z)
                    counts, z = [], []
