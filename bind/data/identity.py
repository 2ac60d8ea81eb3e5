"""Identity of data: what a run was trained on, so that it does not go on with something else unnoticed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.hashes import joined_bytes, string_bytes
from bind.data.sources.sample_columns import entries_of
from bind.data.sources.sample_table import SampleTable
from bind.types import Clip, Sample, StoredVector

MAX_ROWS = 100_000
MAX_FILES = 4096
"""About so many files of a split, evenly spread, are asked for their size: millions would take minutes."""


def identify_samples(samples: Sequence[Sample]) -> dict[str, Any]:
    """The number of samples, and a hash of their keys, groups, texts, spans and the names and sizes of their files.

    Neither folders nor times count: data that was copied or moved is the same. Of a table with more than 100,000
    samples paths count as the table has them, by the hashes of its columns.

    Examples:
        >>> before = [Sample("a", "train", {"text": ["a dog barks"]}), Sample("b", "train", {})]
        >>> now = [Sample("a", "train", {"text": ["a dog howls"]}), Sample("b", "train", {})]
        >>> identify_samples(before)["num_samples"], identify_samples(before) == identify_samples(now)
        (2, False)
    """
    if isinstance(samples, SampleTable) and samples.identity_hash is not None:
        return {"num_samples": len(samples), "hash": samples.identity_hash}
    digest = hashlib.blake2b(digest_size=8)
    if isinstance(samples, SampleTable) and len(samples) > MAX_ROWS and samples.hashes:
        digest.update(repr(sorted(samples.hashes.items())).encode())
        for index in range(0, len(samples), len(samples) // MAX_FILES):
            for modality, files in sorted(samples.values(index, samples.modalities).items()):
                digest.update(repr((modality, [_describe(file, with_size=True) for file in files])).encode())
        return {"num_samples": len(samples), "hash": digest.hexdigest()}
    if isinstance(samples, SampleTable) and not any(map(samples.count_values, samples.modalities)):
        hasher = IdentityHasher()
        for part in samples.parts(["key", "group"]):
            hasher.add(part)
        return {"num_samples": len(samples), "hash": hasher.hexdigest()}
    every = max(1, len(samples) // MAX_FILES)
    for index, (key, group, values_of_sample) in enumerate(entries_of(samples)):
        digest.update(repr((key, group)).encode())
        for modality, values in sorted(values_of_sample.items()):
            for value in values:
                digest.update(repr((modality, *_describe(value, with_size=index % every == 0))).encode())
    return {"num_samples": len(samples), "hash": digest.hexdigest()}


class IdentityHasher:
    """Hasher of samples without values that come in parts, in their order, as `identify_samples` hashes them."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=8)

    def add(self, part: pa.RecordBatch) -> None:
        """Take the `key` and the `group` of the next samples into account."""
        for content in _reprs_of_keys_and_groups(part.column("key"), part.column("group")):
            self._digest.update(content)

    def hexdigest(self) -> str:
        """The hash of all samples so far."""
        return self._digest.hexdigest()


def _reprs_of_keys_and_groups(keys: Any, groups: Any) -> Iterator[bytes | memoryview]:
    """The bytes of `repr((key, group))` of every sample, one after the other, in parts."""
    content = np.concatenate([string_bytes(keys)[0], string_bytes(groups)[0]])
    if ((content < 0x20) | (content > 0x7E) | (content == ord("'")) | (content == ord("\\"))).any():
        yield "".join(map(repr, zip(keys.to_pylist(), groups.to_pylist(), strict=True))).encode()
    elif len(keys) and groups.null_count == len(keys):
        yield b"('"
        yield from joined_bytes(keys, "', None)('")
        yield b"', None)"
    else:
        groups = pc.fill_null(pc.binary_join_element_wise("'", groups, "'", ""), "None")
        yield string_bytes(pc.binary_join_element_wise("('", keys, "', ", groups, ")", ""))[0].data


def _describe(value: Any, with_size: bool) -> tuple[Any, ...]:
    if isinstance(value, Clip):
        span = (value.start_seconds, value.end_seconds)
        if not isinstance(value.path, Path):
            return span
        return (value.path.name, *span, _size(value.path) if with_size else None)
    if isinstance(value, StoredVector):
        return (hashlib.blake2b(value.values.tobytes(), digest_size=8).hexdigest(),)
    return (value,) if isinstance(value, str) else ()


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:  # whoever reads it says so; here it is another file than the one that was there
        return None


def changes_of_data(before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What differs between two `BindDataModule.identity`, in words."""
    for source in before.keys() - now.keys():
        yield f"source {source} is gone"
    for source in now.keys() - before.keys():
        yield f"source {source} is new"
    for source in before.keys() & now.keys():
        for split in ("train", "val"):
            a, b = before[source][split], now[source][split]
            if a["num_samples"] != b["num_samples"]:
                yield f"{split} of source {source} has {b['num_samples']} samples instead of {a['num_samples']}"
            elif a != b:
                yield f"{split} of source {source} has other keys, groups, texts, spans or files, or another order"
