"""Source of foreign shards without an index: streamed from their first byte to their last."""

from __future__ import annotations

import hashlib
import logging
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np

from bind.data.sources.shards.names import MODALITY_OF_EXTENSION, parse_suffix, refuse_dotted_keys
from bind.data.sources.shards.patterns import Shards, find_shards
from bind.data.sources.shards.range_stream import open_stream
from bind.data.sources.shards.remote import file_size, is_in_object_store, shown
from bind.data.sources.shards.values import Member, sample_values
from bind.terminal import printable_errors
from bind.types import Modality, Sample

logger = logging.getLogger("bind.data")


class StreamingShardSource:
    """Samples of WebDataset tars in their order, without an index: known by shard and place, without group or owner.

    Training takes the shards in shuffled order and each from its start; where a run goes on, it reads the shard it was
    in from its start again. Every process that loads, on every rank, reads every shard: prefer an index where data
    are read more than once, or by more than one process. Needs the package `webdataset`.

    Args:
        shards: where they lie; or one of these per split, else all are of `train`.
        samples_per_shard: how many samples of each shard are taken; each must have as many.
        name: what logs call this dataset; by default its folder's name.
        extensions: as in `IndexedShardSource`.
        captions_key: as in `IndexedShardSource`.

    Raises:
        ValueError: naming the shard that is missing, damaged, or has too few samples.
    """

    @printable_errors()
    def __init__(
        self,
        shards: Shards | Mapping[str, Shards],
        *,
        samples_per_shard: int,
        name: str | None = None,
        extensions: Mapping[str, Modality] | None = None,
        captions_key: str | None = None,
    ) -> None:
        if samples_per_shard < 1:
            raise ValueError(f"data.samples_per_shard={samples_per_shard}: give the number of samples in each shard")
        by_split: Mapping[Any, Shards] = shards if isinstance(shards, Mapping) else {"train": shards}
        self._shards = {split: find_shards(pattern) for split, pattern in by_split.items()}
        self.is_unforkable = any(is_in_object_store(shard) for paths in self._shards.values() for shard in paths)
        self.samples_per_shard = samples_per_shard
        captions = {} if captions_key is None else {"json": "text"}
        self._captions_key = captions_key
        self._extensions = {**MODALITY_OF_EXTENSION, **captions, **(extensions or {})}
        first = next(iter(self._shards.values()))[0]
        self.path = shown(first).rpartition("/")[0] or "."
        self.name = name or self.path.rpartition("/")[2]
        self._streams: dict[tuple[int, str], tuple[int, Iterator[list[Member]]]] = {}
        self._modalities = tuple(sample_values(next(self._stream(first)), captions_key))
        empty: dict[Modality, tuple[Any, ...]] = dict.fromkeys(self._modalities, ())
        self._samples = {
            split: [
                Sample(f"{shown(shard)}#{place}", split, empty) for shard in paths for place in range(samples_per_shard)
            ]
            for split, paths in self._shards.items()
        }
        logger.warning(
            "%s is streamed: every loading process reads every shard, a run that goes on reads its shard from the "
            "start, and samples have neither group nor owner; data=shards reads by an index",
            self.path,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_streams": {}}

    def modalities(self) -> tuple[Modality, ...]:
        """What the first sample of the first shard has."""
        return self._modalities

    def samples(self, split: str) -> Sequence[Sample]:
        """One for every place in every shard of `split`."""
        return self._samples.get(split, [])

    def content_hash(self, split: str, modality: Modality) -> str:
        """A hash of the names and sizes of the shards of `split`: no more is known before they are read."""
        captions = [] if self._captions_key is None else [self._captions_key]
        facts = [
            modality,
            self.samples_per_shard,
            *captions,
            *((shown(shard), file_size(shard)) for shard in self._shards[split]),
        ]
        return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()

    def training_order(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Shards in shuffled order, each from its first sample to its last."""
        return rng.permutation(np.arange(size).reshape(-1, self.samples_per_shard), axis=0).reshape(-1)

    @printable_errors()
    def fetch(
        self,
        split: str,
        indices: Sequence[int],
        modalities: Sequence[Modality],
        rngs: Sequence[np.random.Generator] | None,
    ) -> list[dict[Modality, list[Any]]]:
        """Texts, and `Clip`s of packed files, of these samples; what lies before them in their shards is passed over.

        Raises:
            ValueError: naming the shard that is damaged or has too few samples.
        """
        values: dict[int, dict[Modality, list[Any]]] = {}
        for index in sorted(set(indices)):
            shard, place = divmod(index, self.samples_per_shard)
            members = self._sample_at(self._shards[split][shard], place)
            values[index] = sample_values([m for m in members if m.suffix.modality in modalities], self._captions_key)
        return [values[index] for index in indices]

    def _sample_at(self, shard: str, place: int) -> list[Member]:
        # A file that was open before a fork would be read by two processes at once.
        stream_key = os.getpid(), shard
        position, stream = self._streams.pop(stream_key, (0, None))
        if stream is None or position > place:
            position, stream = 0, self._stream(shard)
        sample = next(islice(stream, place - position, None), None)
        if sample is None:
            raise ValueError(
                f"{shown(shard)}: has fewer than {place + 1} samples; set data.samples_per_shard to the number that "
                "the smallest shard has"
            )
        if place + 1 < self.samples_per_shard:
            # A batch spans two shards at most where it is smaller than a shard.
            self._streams = {**dict(islice(self._streams.items(), 1)), stream_key: (place + 1, stream)}
        return sample

    def _stream(self, shard: str) -> Iterator[list[Member]]:
        try:
            from webdataset.tariterators import group_by_keys, tar_file_expander
        except ImportError as error:
            raise ValueError('streaming shards needs webdataset: pip install "bindspace[shards]"') from error

        try:
            with open_stream(shard) as stream:
                for sample in group_by_keys(tar_file_expander([{"url": shard, "stream": stream}])):
                    names = [name for name in sample if not name.startswith("__")]
                    refuse_dotted_keys(names, self._extensions, f"{shown(shard)}: {sample['__key__']}")
                    suffixes = {name: parse_suffix(name, self._extensions) for name in names}
                    yield [
                        Member(f"{shown(shard)}: {sample['__key__']}.{name}", suffix, cast(bytes, sample[name]))
                        for name, suffix in suffixes.items()
                        if suffix is not None
                    ]
        except tarfile.TarError as error:
            raise ValueError(f"{shown(shard)}: not a whole tar ({error.args[0]}). Fetch or pack it again") from error
