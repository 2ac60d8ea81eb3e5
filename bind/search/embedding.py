"""Embedding for an index: the samples of a source that it lacks, committed part by part, so that a call goes on where
one before was stopped."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from rich.progress import track
from torch import Tensor

from bind.data.dataset import BatchDataset
from bind.data.plan import BatchRequest
from bind.data.sources.sample_columns import has_modality, keys_of
from bind.evaluation import fusion_inputs
from bind.model.binder import Binder
from bind.processes.workers import PrefetchLoader
from bind.search.store import PART_VECTORS, IndexStore
from bind.types import Clip, Modality, Sample, Source

COMMIT_SECONDS = 60.0
"""After which what is embedded is committed: all that a killed process loses."""


class FileList:
    """Files as a source: a sample per file, of one split, whose key is its path.

    Args:
        files: modality → paths.
    """

    name = "files"
    split = "test"

    def __init__(self, files: Mapping[Modality, Sequence[str]]) -> None:
        self.files = dict(files)
        pairs = [(modality, path) for modality, paths in files.items() for path in paths]
        self._samples = [Sample(path, self.split, {modality: [Clip(Path(path))]}) for modality, path in pairs]

    def modalities(self) -> tuple[Modality, ...]:
        """Those of the files."""
        return tuple(self.files)

    def samples(self, split: str) -> Sequence[Sample]:
        """All of them, whatever the split."""
        return self._samples

    def content_hash(self, split: str, modality: Modality) -> str:
        """Not known: nothing of them is cached."""
        raise NotImplementedError

    def fetch(
        self, split: str, indices: Sequence[int], modalities: Sequence[Modality], rngs: Any
    ) -> list[dict[Modality, list[Any]]]:
        """Their clips; transforms decode them."""
        return [{m: list(v) for m, v in self._samples[i].values.items() if m in modalities} for i in indices]


def missing_rows(
    store: IndexStore, samples: Sequence[Sample], modality: Modality, inputs: Sequence[Modality]
) -> np.ndarray:
    """Numbers of the samples that have all `inputs`, and of which the index has no vector of `modality`."""
    has_all = np.logical_and.reduce([has_modality(samples, m) for m in inputs])
    keys = pa.array(keys_of(samples), pa.string())
    is_there = pc.is_in(keys, value_set=store.keys_of(modality).combine_chunks()).to_numpy(zero_copy_only=False)
    rows: np.ndarray = np.flatnonzero(has_all & ~is_there)
    return rows


@dataclass(frozen=True, slots=True)
class EmbeddingTask:
    """What is embedded of a source, and by what.

    Attributes:
        modality: of the vectors; a fused one needs several of a sample.
        batch_size: rows that are embedded at a time.
        num_workers: processes that read and decode; 0: this one.
        columns_of: a sample's cells in the table of the index, besides those of its value.
    """

    binder: Binder
    source: Source
    split: str
    modality: Modality
    batch_size: int
    num_workers: int
    columns_of: Callable[[Sample], Mapping[str, Any]]

    def missing_rows(self, store: IndexStore) -> np.ndarray:
        """Numbers of the samples that an index lacks."""
        inputs = fusion_inputs(self.modality, self.binder)
        return missing_rows(store, self.source.samples(self.split), self.modality, inputs)


def embed_rows(task: EmbeddingTask, rows: np.ndarray) -> Iterator[tuple[Tensor, list[dict[str, Any]]]]:
    """Unit vectors (N, D) of some samples, batch by batch, and the cells of each in the table of an index.

    Raises:
        ValueError: naming the file that can't be read.
    """
    binder, samples = task.binder, task.source.samples(task.split)
    starts = range(0, len(rows), task.batch_size)
    requests = [BatchRequest(0, tuple(rows[start : start + task.batch_size].tolist())) for start in starts]
    loader = PrefetchLoader(
        BatchDataset([task.source], task.split, fusion_inputs(task.modality, binder), binder.transforms),
        requests,
        sources=[task.source],
        num_workers=min(task.num_workers, max(0, len(requests) - 1)),
    )
    device = next(binder.parameters()).device
    binder.eval()
    for request, batch in zip(requests, loader, strict=True):
        with torch.inference_mode():
            embeddings = binder(batch.to(device, non_blocking=True))
            z_ND = embeddings.z[task.modality].float().cpu().clone()
        of_batch = [samples[i] for i in request.indices]
        yield z_ND, _cells(of_batch, task.modality, embeddings.rows[task.modality].tolist(), task.columns_of)


def embed_source(store: IndexStore, task: EmbeddingTask) -> int:
    """Embed what an index lacks of a split's modality, in the block of `store.writing()`; returns how many vectors.

    Where it ends early, by an error or by a signal, what was embedded before is committed, and the next call goes on.

    Raises:
        ValueError: naming the file that can't be read.
    """
    rows = task.missing_rows(store)
    shown = track(
        embed_rows(task, rows),
        f"index {task.split} {task.modality}",
        -(-len(rows) // task.batch_size),
        transient=True,
        disable=not sys.stdout.isatty(),
    )
    with committing(store, task.modality) as pending:
        for z_ND, cells in shown:
            pending.add(z_ND, cells)
    return pending.num_vectors


def _cells(
    samples: Sequence[Sample],
    modality: Modality,
    rows: Sequence[int],
    columns_of: Callable[[Sample], Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The cells of each vector of a batch."""
    cells = []
    numbers = np.arange(len(rows)) - np.searchsorted(rows, rows)
    for row, number in zip(rows, numbers.tolist(), strict=True):
        sample = samples[row]
        values = sample.values.get(modality, ())
        value = values[number] if number < len(values) else None
        of_value: dict[str, Any] = {"caption": next(iter(sample.values.get("text", ())), None)}
        if isinstance(value, str):
            of_value = {"caption": value}
        elif isinstance(value, Clip):
            path = value.path.absolute() if isinstance(value.path, Path) else value.path
            of_value |= {"path": str(path), "start_seconds": value.start_seconds, "end_seconds": value.end_seconds}
        owner = "|".join(sample.owners) or None
        of_sample = {"key": sample.key, "group": sample.group, "label": sample.label, "owner": owner}
        cells.append({**of_sample, "number": number, **of_value, **columns_of(sample)})
    return cells


@contextlib.contextmanager
def committing(store: IndexStore, modality: Modality) -> Iterator[PendingVectors]:
    """What is added in the block becomes part of the index every minute, and when the block ends, however it does."""
    pending = PendingVectors(store, modality)
    try:
        yield pending
    finally:
        pending.commit()


class PendingVectors:
    """Vectors that are not committed yet.

    Attributes:
        num_vectors: how many are committed.
    """

    def __init__(self, store: IndexStore, modality: Modality) -> None:
        self.store, self.modality = store, modality
        self.vectors: list[Tensor] = []
        self.cells: list[Mapping[str, Any]] = []
        self.num_vectors = 0
        self.since = time.monotonic()

    def add(self, z_ND: Tensor, cells: Sequence[Mapping[str, Any]]) -> None:
        """Take vectors (N, D) of norm 1 and the cells of each; `key` is among them."""
        self.vectors.append(z_ND)
        self.cells += cells
        if len(self.cells) >= PART_VECTORS or time.monotonic() - self.since > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Make them part of the index."""
        if self.cells:
            columns = {
                name: [cells.get(name) for cells in self.cells]
                for name in dict.fromkeys(n for c in self.cells for n in c)
            }
            vectors, num = torch.cat(self.vectors), len(self.cells)
            self.vectors, self.cells = [], []  # before: what can't be committed is not tried a second time
            self.store.add(self.modality, vectors, columns)
            self.num_vectors += num
        self.since = time.monotonic()
