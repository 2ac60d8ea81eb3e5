"""Datasets of batches: from a request for samples to a collated batch, by fetch, transform and stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bind.data.collate import collate_clips
from bind.data.hashes import repeated_hashes
from bind.data.plan import BatchRequest
from bind.data.sources.sample_columns import key_hashes, keys_and_group_ids, keys_of
from bind.data.sources.sample_table import SampleTable
from bind.terminal import printable_errors
from bind.types import Batch, CachedVectors, EmbeddingCache, Modality, Source, Transform, second_view

OF_EVALUATION, OF_SECOND_VIEW = 3, 1
"""In seeds: what a sample draws where nothing else is random, and a second time."""


class BatchDataset(torch.utils.data.Dataset[Batch]):
    """`dataset[request]` is the `Batch` of that request (use it with `DataLoader(batch_size=None)`).

    In training (the request carries seeds) every sample draws one of its values per modality and its augmentation from
    its own generator; in evaluation all values are there and nothing is random.

    Args:
        sources: the datasets of the mixture, in the order that requests count them.
        split: `train`, `val` or `test`.
        modalities: what to load.
        transforms: one per modality that is loaded.
        cache: embeddings and features that replace loading where it has them.
        views_of: modalities that a batch has twice, the second time drawn anew: what a source draws for a sample in
            training (a window, one of several values) and the transform's augmentation, in evaluation too, where they
            are the same at every call. Nothing else changes by it.

    Raises:
        ValueError: where two samples of the split share a key.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        split: str,
        modalities: Sequence[Modality],
        transforms: Mapping[Modality, Transform],
        cache: EmbeddingCache | None = None,
        *,
        views_of: Sequence[Modality] = (),
    ) -> None:
        self.sources = list(sources)
        self.views_of = tuple(views_of)
        self.split = split
        self.modalities = tuple(modalities)
        self.transforms = dict(transforms)
        self.cache = cache
        self.samples = [source.samples(split) for source in self.sources]
        self._refuse_shared_keys()

    def _refuse_shared_keys(self) -> None:
        if len(self.samples) == 1 and isinstance(self.samples[0], SampleTable):
            return  # a table was refused if any came twice
        hashes = np.concatenate([key_hashes(samples) for samples in self.samples])
        if not len(repeated_hashes(hashes)):
            return
        source_of: dict[str, str] = {}
        for source, samples in zip(self.sources, self.samples, strict=True):
            for key in keys_of(samples):
                if key in source_of:
                    raise ValueError(
                        f"the key {key!r} occurs twice in {self.split}, in {source_of[key]} and "
                        f"{source.name}: caches and figures know samples by their keys, so give each another"
                    )
                source_of[key] = source.name

    @property
    def sizes(self) -> list[int]:
        """Number of samples of each source."""
        return [len(samples) for samples in self.samples]

    @printable_errors()
    def __getitem__(self, request: BatchRequest) -> Batch:
        source = self.sources[request.source]
        samples = self.samples[request.source]
        modalities = [m for m in self.modalities if m in source.modalities()]
        keys, group_ids = keys_and_group_ids(samples, request.indices)
        rngs = None if request.seeds is None else _Generators(request.seeds)

        cached = {m: x for m in modalities if (x := self._take(m, keys, request.source, rngs)) is not None}
        loaded = [m for m in modalities if m not in cached]
        fetched = source.fetch(self.split, request.indices, loaded, rngs) if loaded else []

        batch = Batch(
            keys=keys,
            group_ids_B=torch.tensor(group_ids, dtype=torch.long),
            inputs={},
            rows={},
            source=source.name,
            modalities=tuple(modalities),
        )
        for modality in modalities:
            if modality in cached:
                rows_of_batch, vectors_ND, num_clips = _choose_vectors(cached[modality], rngs)
                if len(rows_of_batch):
                    batch.rows[modality] = torch.from_numpy(rows_of_batch)
                    batch.cached[modality] = vectors_ND
            else:
                num_clips = self._add_inputs(batch, modality, modality, fetched, rngs)
            if num_clips is not None:
                batch.num_clips[modality] = num_clips
        self._add_views(batch, request)
        return batch

    def _add_views(self, batch: Batch, request: BatchRequest) -> None:
        modalities = [m for m in self.views_of if m in batch.modalities]
        if not modalities:
            return
        seeds = request.seeds or [(OF_EVALUATION, request.source, index) for index in request.indices]
        rngs = _Generators([(*seed, OF_SECOND_VIEW) for seed in seeds])
        source = self.sources[request.source]
        fetched = source.fetch(self.split, request.indices, modalities, rngs)
        batch.modalities = (*batch.modalities, *(second_view(m) for m in modalities))
        for modality in modalities:
            self._add_inputs(batch, modality, second_view(modality), fetched, rngs)

    def _add_inputs(
        self,
        batch: Batch,
        modality: Modality,
        name: Modality,
        fetched: Sequence[Mapping[Modality, Sequence[Any]]],
        rngs: Sequence[np.random.Generator] | None,
    ) -> Tensor | None:
        """Put what was fetched of a modality into `batch` under `name`; the clips per item where there are several."""
        rows, items = _choose_values([row.get(modality, ()) for row in fetched], rngs)
        if not items:
            return None
        batch.rows[name] = torch.tensor(rows, dtype=torch.long)
        transform = self.transforms[modality]
        tensors = [transform(item, None if rngs is None else rngs[row]) for row, item in zip(rows, items, strict=True)]
        batch.inputs[name], num_clips = collate_clips(transform, tensors)
        return num_clips

    def _take(
        self, modality: Modality, keys: list[str], source: int, rngs: Sequence[np.random.Generator] | None
    ) -> CachedVectors | None:
        if self.cache is None:
            return None
        return self.cache.take(modality, keys, source=source, split=self.split, rngs=rngs)


class _Generators(Sequence[np.random.Generator]):
    """The generator of each sample of a request, made when it is first used: they take longer than looking up."""

    def __init__(self, seeds: Sequence[tuple[int, ...]]) -> None:
        self.seeds = seeds
        self._generators: list[np.random.Generator | None] = [None] * len(seeds)

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, row: Any) -> Any:
        if self._generators[row] is None:
            self._generators[row] = np.random.default_rng(self.seeds[row])
        return self._generators[row]


def _choose_vectors(
    cached: CachedVectors, rngs: Sequence[np.random.Generator] | None
) -> tuple[np.ndarray, Tensor, Tensor | None]:
    """Rows (V,), vectors and clips per value of one modality, chosen as in `_choose_values`."""
    counts = cached.num_values_B
    if rngs is None:
        num_clips = None if cached.num_clips_V is None else torch.from_numpy(cached.num_clips_V)
        return np.repeat(np.arange(len(counts)), counts), cached.vectors_ND, num_clips
    assert cached.num_clips_V is None, "in training a value is one clip"
    if (counts == 1).all():
        return np.arange(len(counts)), cached.vectors_ND, None
    rows = counts.nonzero()[0]
    places = (np.cumsum(counts) - counts)[rows]
    drawn = [int(rngs[row].integers(counts[row])) if counts[row] > 1 else 0 for row in rows.tolist()]
    places += np.array(drawn, dtype=np.int64)  # also where no sample has any
    return rows, cached.vectors_ND[torch.from_numpy(places)], None


def _choose_values(
    values: Sequence[Sequence[Any]], rngs: Sequence[np.random.Generator] | None
) -> tuple[list[int], list[Any]]:
    """Rows and items of one modality: one value per row that has any in training, all of them in evaluation."""
    rows: list[int] = []
    items: list[Any] = []
    for row, values_of_row in enumerate(values):
        chosen = list(values_of_row)
        if rngs is not None and len(chosen) > 1:
            chosen = [chosen[int(rngs[row].integers(len(chosen)))]]
        rows += [row] * len(chosen)
        items += chosen
    return rows, items
