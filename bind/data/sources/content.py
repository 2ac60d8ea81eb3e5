"""Hashes of the content of a source: a cache finds vectors by them, and no longer once any value has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import astuple, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bind.data.sources.sample_columns import entries_of
from bind.data.sources.sample_table import SampleTable
from bind.types import Clip, Modality, Sample, Source, StoredVector

NUM_PROBES = 16
NUM_FILES = 1000
"""About so many files of a table with very many are asked for their size and time."""


def hash_files(samples: Sequence[Sample], modality: Modality, folder: Path) -> str:
    """Hash keys, texts, spans, and of each file its path below `folder`, its size and when it was last written.

    Reading a million pictures takes hours, their sizes and times are had in seconds. Copies that keep the times
    (`rsync -a`, `cp -p`, `tar`) count as the same, wherever they lie. A file that was replaced by one of the same size
    with the old time is not noticed.

    Raises:
        ValueError: for a file that does not exist.
    """
    digest = hashlib.blake2b(digest_size=16)
    facts: dict[Path, tuple[str, int, int]] = {}
    for key, _, values in entries_of(samples, [modality]):
        digest.update(repr(key).encode())
        for value in values.get(modality, ()):
            if isinstance(value, Clip):
                assert isinstance(value.path, Path)
                clock = ("first_row",) if value.from_first_row else ()
                value = (*_file_facts(value.path, folder, facts), value.start_seconds, value.end_seconds, *clock)
            digest.update(value.values.tobytes() if isinstance(value, StoredVector) else repr(value).encode())
    return digest.hexdigest()


def hash_many_files(table: SampleTable, modality: Modality) -> str:
    """The same for more samples than files can be asked for: of columns, and of some files, evenly spread."""
    columns = {name: hashed for name, hashed in sorted(table.hashes.items()) if name == "key" or _is_of(name, modality)}
    digest = hashlib.blake2b(repr(columns).encode(), digest_size=16)
    facts: dict[Path, tuple[str, int, int]] = {}
    for row in range(0, len(table), max(1, len(table) // NUM_FILES)):
        for value in table.values(row, [modality]).get(modality, ()):
            if isinstance(value, Clip) and isinstance(value.path, Path):
                digest.update(repr(_file_facts(value.path, table.folder, facts)).encode())
    return digest.hexdigest()


def _is_of(column: str, modality: Modality) -> bool:
    return column in (modality, *(modality + suffix for suffix in ("_start_seconds", "_end_seconds", "_clock")))


def _file_facts(path: Path, folder: Path, facts: dict[Path, tuple[str, int, int]]) -> tuple[str, int, int]:
    """Path below `folder`, size in bytes and time of change in nanoseconds, kept in `facts`."""
    if path not in facts:
        try:
            stat = os.stat(path)
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}; restore it or drop its row") from error
        facts[path] = os.path.relpath(path, folder), stat.st_size, stat.st_mtime_ns
    return facts[path]


def hash_generated(source: Source, split: str, modality: Modality, *arguments: Any) -> str:
    """Hash keys and `arguments` of a source that generates its values, and some values, so that new code counts too."""
    samples = source.samples(split)
    digest = hashlib.blake2b(repr((source.name, split, modality, arguments)).encode(), digest_size=16)
    for sample in samples:
        digest.update(repr(sample.key).encode())
    probes = np.unique(np.linspace(0, len(samples) - 1, NUM_PROBES).astype(int)).tolist()
    for values in source.fetch(split, probes, [modality], None):
        for value in values.get(modality, ()):
            _update(digest, value)
    return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).data)
    elif is_dataclass(value) and not isinstance(value, type):
        for part in astuple(value):
            _update(digest, part)
    else:
        digest.update(repr(value).encode())
