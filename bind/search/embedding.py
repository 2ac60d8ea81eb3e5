"""Embedding for an index: the samples of a source that it lacks, committed part by part, so that a call goes on where
one before was stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
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


def embed_source(
    store: IndexStore,
    binder: Binder,
    source: Source,
    split: str,
    modality: Modality,
    *,
    batch_size: int,
    num_workers: int,
    columns_of: Callable[[Sample], Mapping[str, Any]],
) -> int:
    """Embed what an index lacks of a split's modality, in the block of `store.writing()`; returns how many vectors.

    Where it ends early, by an error or by a signal, what was embedded before is committed, and the next call goes on.

    Args:
        columns_of: a sample's cells in the table of the index, besides those of its value.

    Raises:
        ValueError: naming the file that can't be read.
    """
    inputs = fusion_inputs(modality, binder)
    samples = source.samples(split)
    rows = missing_rows(store, samples, modality, inputs)
    requests = [
        BatchRequest(0, tuple(rows[start : start + batch_size].tolist())) for start in range(0, len(rows), batch_size)
    ]
    loader = PrefetchLoader(
        BatchDataset([source], split, inputs, binder.transforms),
        requests,
        sources=[source],
        num_workers=min(num_workers, max(0, len(requests) - 1)),
    )
    pending = _Pending(store, modality)
    device = next(binder.parameters()).device
    binder.eval()
    shown = track(
        zip(requests, loader, strict=True),
        f"index {split} {modality}",
        len(requests),
        transient=True,
        disable=not sys.stdout.isatty(),
    )
    try:
        with torch.inference_mode():
            for request, batch in shown:
                embeddings = binder(batch.to(device, non_blocking=True))
                z_ND = embeddings.z[modality].float().cpu().clone()
                of_batch = [samples[i] for i in request.indices]
                cells = _cells(of_batch, modality, embeddings.rows[modality].tolist(), columns_of)
                pending.add(z_ND, cells)
    finally:
        pending.commit()
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


class _Pending:
    """Vectors that are not committed yet."""

    def __init__(self, store: IndexStore, modality: Modality) -> None:
        self.store, self.modality = store, modality
        self.vectors: list[Tensor] = []
        self.cells: list[dict[str, Any]] = []
        self.num_vectors = 0
        self.since = time.monotonic()

    def add(self, z_ND: Tensor, cells: list[dict[str, Any]]) -> None:
        self.vectors.append(z_ND)
        self.cells += cells
        if len(self.cells) >= PART_VECTORS or time.monotonic() - self.since > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
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
