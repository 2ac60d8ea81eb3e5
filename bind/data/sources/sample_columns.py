"""Columns of any samples: of a table taken from its columns, of other sequences by a loop."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.hashes import hash_strings
from bind.data.sources.file_identities import FileIdentities
from bind.data.sources.sample_table import SPLITS, SampleTable, join_arrays
from bind.types import Clip, Modality, Sample, group_id_of


def has_modality(samples: Sequence[Sample], modality: Modality) -> np.ndarray:
    """Bool (N,): the samples that have a modality, be its values in memory or not."""
    if isinstance(samples, SampleTable):
        return samples.has(modality)
    return np.fromiter((modality in sample.values for sample in samples), bool, len(samples))


def keys_of(samples: Sequence[Sample]) -> list[str]:
    """The keys of samples, in their order."""
    if isinstance(samples, SampleTable):
        return samples.keys()
    return [sample.key for sample in samples]


def key_column(samples: Sequence[Sample]) -> Any:
    """The keys of samples, in their order, as one Arrow array of large strings."""
    kind = pa.large_string()
    if isinstance(samples, SampleTable):
        return pa.concat_arrays([pa.array([], kind), *(part.column(0).cast(kind) for part in samples.parts(["key"]))])
    return pa.array(keys_of(samples), kind)


def labels_of(samples: Sequence[Sample]) -> list[str | None]:
    """The labels of samples, in their order."""
    return samples.labels() if isinstance(samples, SampleTable) else [sample.label for sample in samples]


def distinct_cells(samples: Sequence[Sample], name: Literal["label", "group"]) -> list[str | None]:
    """The labels or groups that samples have, each once, in the order of their first samples."""
    if isinstance(samples, SampleTable):
        parts = [pc.unique(part.column(0)).to_pylist() for part in samples.parts([name])]
        return list(dict.fromkeys(cell for part in parts for cell in part))
    return list(dict.fromkeys(getattr(sample, name) for sample in samples))


def owners_of(samples: Sequence[Sample]) -> list[Sequence[str]]:
    """The owners of samples, in their order."""
    if isinstance(samples, SampleTable):
        return list(samples.owners())
    return [sample.owners for sample in samples]


def join_samples(parts: Sequence[Sequence[Sample]]) -> Sequence[Sample]:
    """The samples of several sources one after the other; those of one stay columns."""
    return parts[0] if len(parts) == 1 else list(itertools.chain.from_iterable(parts))


def keys_and_group_ids(samples: Sequence[Sample], indices: Sequence[int]) -> tuple[list[str], list[int]]:
    """The keys and the group ids of some samples."""
    if isinstance(samples, SampleTable):
        keys, groups = samples.keys_and_groups(indices)
        return keys, list(map(group_id_of, keys, groups))
    chosen = [samples[i] for i in indices]
    return [sample.key for sample in chosen], [sample.group_id for sample in chosen]


def key_hashes(samples: Sequence[Sample]) -> np.ndarray:
    """The hashes (N,) uint64 of the keys."""
    return samples.key_hashes() if isinstance(samples, SampleTable) else hash_strings(pa.array(keys_of(samples)))


def owner_hashes(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """Of every owner of every sample: the place of the sample, and the hash of the owner's name."""
    if isinstance(samples, SampleTable):
        return samples.owner_hashes()
    places = [place for place, sample in enumerate(samples) for _ in sample.owners]
    names = [owner for sample in samples for owner in sample.owners]
    return np.array(places, np.int64), hash_strings(pa.array(names, pa.string()))


def file_hashes(samples: Sequence[Sample], modality: Modality) -> tuple[np.ndarray, np.ndarray]:
    """Of every file that samples have of a modality: the place of the sample, and the `FileIdentities` of the file."""
    if isinstance(samples, SampleTable):
        if modality == "text" or modality in samples.vectors:
            return np.zeros(0, np.int64), np.zeros(0, np.uint64)
        identities = FileIdentities(samples.folder)
        parts = [(places, identities.of(paths)[0]) for places, paths in samples.flat_values(modality)]
        places, hashes = zip(*parts, strict=True) if parts else ((), ())
        return join_arrays(places, np.int64), join_arrays(hashes, np.uint64)
    files = [
        (place, str(value.path))
        for place, sample in enumerate(samples)
        for value in sample.values.get(modality, ())
        if isinstance(value, Clip) and isinstance(value.path, Path)
    ]
    paths = pa.array([path for _, path in files], pa.string())
    return np.array([place for place, _ in files], np.int64), FileIdentities(Path()).of(paths)[0]


def modalities_of(samples: Sequence[Sample]) -> list[Modality]:
    """The modalities that samples may have."""
    if isinstance(samples, SampleTable):
        return list(samples.modalities)
    return list(dict.fromkeys(modality for sample in samples for modality in sample.values))


def split_codes(samples: Sequence[Sample]) -> np.ndarray:
    """The split (N,) of every sample, as a place in `SPLITS`."""
    if isinstance(samples, SampleTable):
        return samples.split_codes()
    return np.array([SPLITS.index(sample.split) for sample in samples], np.int8)


def entries_of(
    samples: Sequence[Sample], modalities: Sequence[Modality] | None = None
) -> Iterator[tuple[str, str | None, Mapping[Modality, Sequence[Any]]]]:
    """Key, group, and values of these modalities, all by default, of every sample."""
    if isinstance(samples, SampleTable):
        return samples.entries(samples.modalities if modalities is None else modalities)
    return ((sample.key, sample.group, sample.values) for sample in samples)
