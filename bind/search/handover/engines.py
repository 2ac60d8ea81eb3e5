"""Engines that take an index over: the protocol that each of them meets, which there are, and the hand-over itself."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import pyarrow as pa

from bind.search.handover.batches import VectorBatch, column_types, read_batches
from bind.search.store import IndexStore
from bind.types import Modality

ENGINES = {
    "lancedb": "bind.search.handover.lancedb_table",
    "milvus": "bind.search.handover.milvus",
    "qdrant": "bind.search.handover.qdrant_points",
    "weaviate": "bind.search.handover.weaviate_objects",
}
"""Name → module; what an engine needs is an extra of its name, Weaviate and the files of Milvus need none."""
COLLECTION = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}", re.ASCII)


class Writer(Protocol):
    """A collection of an engine that takes vectors."""

    batch_size: int

    def write(self, batch: VectorBatch) -> None:
        """Write vectors over those of the same ids."""

    def count(self) -> int:
        """How many vectors the collection holds."""

    def close(self) -> None:
        """End the connection; what was written is there."""


class WritableEngine(Protocol):
    """A module that opens a writer."""

    def open_writer(
        self, uri: str, collection: str, dim: int, columns: Mapping[str, pa.DataType], token: str | None
    ) -> Writer:
        """A collection that is made where it is not there; ValueError for one that holds something else."""


def hand_over(
    store: IndexStore,
    to: str,
    uri: str,
    *,
    collection: str = "bind",
    token: str | None = None,
    modalities: Sequence[Modality] | None = None,
    on_progress: Callable[[int], object] = lambda num_written: None,
) -> tuple[int, int]:
    """Write an index into an engine; how many vectors were written, and how many its collection then holds.

    A call that was stopped is made again: what is there already is written over.

    Args:
        to: a name of `ENGINES`.
        uri: where it is; of LanceDB and Qdrant also a folder on this machine, of Milvus a file of Milvus Lite, or a
            folder for the files of its bulk import.
        collection: the name of the table, collection or class.
        token: that the engine asks for.
        modalities: None: all.
        on_progress: is called with how many vectors are written.

    Raises:
        ValueError: for an engine that there is not or that is not installed, a modality that the index lacks, a
            collection that holds something else, or what the engine refuses.
    """
    if to not in ENGINES:
        raise ValueError(f"to={to}: choose {', '.join(ENGINES)}")
    if not COLLECTION.fullmatch(collection):
        raise ValueError(f"collection={collection}: take letters, digits and underscores, a letter first, up to 60")
    if unknown := [m for m in modalities or () if m not in store.modalities]:
        raise ValueError(f"{store.folder}: holds no {unknown[0]}; it has {', '.join(store.modalities) or 'nothing'}")
    try:
        engine = cast(WritableEngine, importlib.import_module(ENGINES[to]))
        writer = engine.open_writer(uri, collection, store.listing.dim, column_types(store), token)
    except ImportError as error:
        raise ValueError(f'to={to} needs {error.name}: pip install "bindspace[{to}]"') from error
    num_written = 0
    try:
        for batch in read_batches(store, modalities, batch_size=writer.batch_size):
            writer.write(batch)
            num_written += len(batch.ids)
            on_progress(num_written)
        return num_written, writer.count()
    finally:
        writer.close()
