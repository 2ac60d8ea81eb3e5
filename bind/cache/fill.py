"""Engine that fills the feature cache: samples in, embeddings or features out, part by part."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bind.cache.store import CacheFolder
from bind.media.pictures import open_image
from bind.media.views import random_view
from bind.processes.workers import PrefetchLoader, explained_worker_death
from bind.types import FrozenTower, Inputs, Modality, Source, StoredVector, Transform, stable_id

Loaded: TypeAlias = "tuple[np.ndarray, np.ndarray, Inputs | None]"
"""Rows of each sample (n,); at the first row of a value its clips and else 0 (R,); inputs (R·K, …), None if R = 0."""


@dataclass(frozen=True, slots=True)
class EmbeddingJob:
    """The values of one source, split and modality, each in `num_views` views, as inputs of a frozen tower.

    Views of a picture are crops of it. Where `features` of an encoder are computed, they are what its transform makes
    of a value with a generator; plain is what it makes without one, in training the clip in the middle.
    """

    source: Source
    split: str
    modality: Modality
    transform: Transform
    num_views: int = 1
    features: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the vectors on disk: half precision is enough for unit vectors, features have any length."""
        return np.dtype("<f4" if self.features else "<f2")

    def load(self, indices: Sequence[int]) -> Loaded:
        """What the tower is given of some samples; the views of a value are side by side."""
        samples = self.source.samples(self.split)
        fetched = self.source.fetch(self.split, indices, [self.modality], None)
        values = [row.get(self.modality, ()) for row in fetched]
        items: list[Any] = []
        clips: list[int] = []
        counts = []
        for index, several in zip(indices, values, strict=True):
            before = len(clips)
            for position, value in enumerate(several):
                plain = self._plain(value)
                clips += [len(plain), *[0] * (len(plain) - 1)]
                items += plain
                for view in range(1, self.num_views):
                    rng = np.random.default_rng([stable_id(samples[index].key), position, view])
                    items.append(self._view(value, rng))
            counts.append(len(clips) - before)
        return np.array(counts), np.array(clips, np.int32), self.transform.collate(items) if items else None

    def _plain(self, value: Any) -> list[Any]:
        item = self.transform(value, None)
        clips = item if isinstance(item, list) else [item]
        return [clips[len(clips) // 2]] if self.split == "train" else clips

    def _view(self, value: Any, rng: np.random.Generator) -> Any:
        if self.features:
            return self.transform(value, rng)
        if isinstance(value, StoredVector):
            raise ValueError(f"{value.name}: a vector has no crops. Set cache.views=1")
        return self.transform(random_view(open_image(value), rng), None)

    def embed(self, tower: FrozenTower, inputs: Inputs | None) -> np.ndarray:
        """Vectors (R, K, D) of what `load` gave."""
        if inputs is None:
            return np.zeros((0, self.num_views, tower.dim), self.dtype)
        device = next(tower.parameters(), torch.empty(0)).device  # the CPU where it has no weights
        moved = {name: x.to(device) for name, x in inputs.items()} if isinstance(inputs, dict) else inputs.to(device)
        z: Tensor = tower.embed(self.modality, moved)
        array: np.ndarray = (z.float() if self.features else z.half()).cpu().numpy()
        return array.reshape(-1, self.num_views, tower.dim)


class _Batches(Dataset[tuple[int, range, Loaded]]):
    """Loads the samples of a request, in a loader's process where there are any."""

    def __init__(self, job: EmbeddingJob) -> None:
        self.job = job

    def __getitem__(self, request: tuple[int, range]) -> tuple[int, range, Loaded]:
        part, indices = request
        return part, indices, self.job.load(indices)


@dataclass(frozen=True, slots=True)
class Part:
    """The samples of one part: their rows (n,), the clips of values (R,) as in `Loaded`, and vectors (R, K, D)."""

    number: int
    counts: np.ndarray
    clips_R: np.ndarray
    vectors_RKD: np.ndarray


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

        for part in self.embed_parts(job, anchor, mine, folder.sizes, go_on):
            folder.write_part(part.number, part.counts, part.vectors_RKD, part.clips_R if job.features else None)
            folder.release(part.number)
        return True

    def embed_parts(
        self,
        job: EmbeddingJob,
        anchor: FrozenTower,
        parts: Iterable[int],
        sizes: Sequence[int],
        advance: Callable[[int], None],
    ) -> Iterator[Part]:
        """Each of `parts` as it is complete; `parts` is read as they are needed."""
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
        batches: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        with explained_worker_death():
            for part, indices, (counts, clips, inputs) in loader:
                batches.append((counts, clips, job.embed(anchor, inputs)))
                advance(len(indices))
                if sum(len(counts) for counts, *_ in batches) == sizes[part]:
                    yield Part(part, *(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))
                    batches = []
