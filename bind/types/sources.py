"""Protocols of sources: what every one does, and what some can do beyond it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from bind.types.samples import Modality, Sample


class Source(Protocol):
    """One dataset: samples whose metadata is known and whose values are made or opened on request.

    What a source can do beyond this it says by the optional protocols below.
    """

    name: str

    def modalities(self) -> tuple[Modality, ...]:
        """What samples of this source may carry."""

    def samples(self, split: str) -> Sequence[Sample]:
        """The metadata of a split, in a fixed order, nothing where the source has no such split.

        `values` may still be empty lists per modality.
        """

    def content_hash(self, split: str, modality: Modality) -> str:
        """A hash of keys and values of `modality` in their order: equal only where every value is still the same.

        What was computed from a source is stored under it; values that `fetch` draws afresh count undrawn.
        """

    def fetch(
        self,
        split: str,
        indices: Sequence[int],
        modalities: Sequence[Modality],
        rngs: Sequence[np.random.Generator] | None,
    ) -> list[dict[Modality, list[Any]]]:
        """The values of `modalities` of these samples; with `rngs`, a generated source may draw its nuisance afresh."""


@runtime_checkable
class GeneratedSource(Source, Protocol):
    """A source whose `fetch` draws the values of the modalities in `fresh` anew whenever it is given generators."""

    fresh: Collection[Modality]


@runtime_checkable
class FactorSource(GeneratedSource, Protocol):
    """A generated source that knows the factors behind its samples, and so the best retrieval that is possible.

    `carries`: modality → the names of the factors that can be read off it.
    """

    factor_names: tuple[str, ...]
    carries: Mapping[Modality, Sequence[str]]

    def factor_table(self, split: str) -> np.ndarray:
        """The factors of every sample as indices, (N, len(factor_names)) int64, in the order of `samples`."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file on disk or inside a shard: `read(start, stop)` gives these bytes; one file has one `identity`.

    `checksum` is its CRC-32 where that is known without reading it.
    """

    name: str
    identity: Hashable
    num_bytes: int
    modality: Modality
    read: Callable[[int, int], bytes]
    checksum: int | None = None


@dataclass(frozen=True, slots=True)
class FileUses:
    """Uses of stored files by samples, in columns: U uses of F files.

    Attributes:
        rows_U: int64, the sample of each use, ascending.
        numbers_U: int64, which value of its modality that is.
        start_seconds_U, end_seconds_U: float64, 0 and infinity where all of the file is used.
        files_U: int64, the file of each use.
        identities_F2: int64, equal for two rows that are one file.
        num_bytes_F: int64.
        checksums_F: int64, CRC-32, -1 where it is not known without reading the file.
        file: from the number of a file to the file.
    """

    rows_U: np.ndarray
    numbers_U: np.ndarray
    start_seconds_U: np.ndarray
    end_seconds_U: np.ndarray
    files_U: np.ndarray
    identities_F2: np.ndarray
    num_bytes_F: np.ndarray
    checksums_F: np.ndarray
    file: Callable[[int], StoredFile]

    def __len__(self) -> int:
        return len(self.rows_U)


@runtime_checkable
class StoredSource(Source, Protocol):
    """A source that says where its values are stored although they are no `Clip`s of files."""

    def stored(self, split: str, modalities: Sequence[Modality]) -> Iterator[FileUses]:
        """The uses of files by the values of `modalities` that may be compared, in parts, sample by sample.

        Values of one modality of a sample come one after the other, in the order in which `fetch` gives them.
        """


@runtime_checkable
class ColumnarSamples(Protocol):
    """A sequence of samples that has facts of all of them in columns, where a loop over samples would take minutes."""

    def key_ids(self) -> np.ndarray:
        """The `stable_id` (N,) int64 of the key of every sample, in their order."""

    def count_values(self, modality: Modality) -> int:
        """The number of values of a modality that all samples have together."""


@runtime_checkable
class FileSource(Source, Protocol):
    """A source that is read from one place: a manifest, or a pattern of shards."""

    path: Path | str


@runtime_checkable
class OrderedSource(Source, Protocol):
    """A source that is read best in a certain order, such as one shard after the other."""

    def training_order(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """A permutation (size,) int64 of the training samples, another one for each epoch's generator."""


@runtime_checkable
class UnforkableSource(Protocol):
    """A source that says whether its connections break in a process that was forked from one that has them too."""

    is_unforkable: bool
