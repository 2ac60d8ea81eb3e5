"""Batches of an index for other engines: vectors, what is known of each, and a name that is the same in every call."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from bind.search.parts import row_columns
from bind.search.rows import KNOWN, OWN_KINDS
from bind.search.store import IndexStore
from bind.types import Modality

NAMESPACE = uuid.UUID("5f0c1f0e-6f0b-5d0c-9c55-0d2b0f1f7a3e")


@dataclass(frozen=True, slots=True)
class VectorBatch:
    """Some vectors of one modality.

    Attributes:
        ids: of each, see `id_of`.
        vectors_ND: fp32, of norm 1.
        columns: of the index's tables, name → values, None where a row has none.
    """

    modality: Modality
    ids: list[str]
    vectors_ND: np.ndarray
    columns: Mapping[str, list[Any]]

    def rows(self) -> Iterator[tuple[str, np.ndarray, dict[str, Any]]]:
        """Of each vector its id, itself (D,), and what is known of it without what is not."""
        for n, (name, z_D) in enumerate(zip(self.ids, self.vectors_ND, strict=True)):
            known = {column: values[n] for column, values in self.columns.items() if values[n] is not None}
            yield name, z_D, {"modality": self.modality, **known}


def id_of(modality: Modality, key: str, number: int) -> str:
    """A UUID of a vector, made of what it is a vector of, so that another call writes over it and adds none.

    Examples:
        >>> id_of("audio", "dog", 0) == id_of("audio", "dog", 0) != id_of("image", "dog", 0)
        True
    """
    return str(uuid.uuid5(NAMESPACE, f"{modality}\n{number}\n{key}"))


def column_types(store: IndexStore) -> dict[str, pa.DataType]:
    """The columns of an index's tables, those of its own last."""
    own = {name: OWN_KINDS[kind] for name, kind in store.listing.columns.items()}
    return dict(zip(KNOWN.names, KNOWN.types, strict=True)) | own


def read_batches(
    store: IndexStore, modalities: Sequence[Modality] | None = None, *, batch_size: int
) -> Iterator[VectorBatch]:
    """All vectors of some modalities, or of all, that are not deleted."""
    names = column_types(store)
    for part in store.parts:
        modality = part.part.modality
        if modalities is None or modality in modalities:
            rows = store.rows_of(part)
            for first in range(0, len(rows), batch_size):
                chosen = rows[first : first + batch_size]
                cells = row_columns(part.table, chosen)
                columns = {name: cells.get(name, [None] * len(chosen)) for name in names}
                ids = [id_of(modality, *pair) for pair in zip(cells["key"], cells["number"], strict=True)]
                vectors_ND = part.vectors[torch.from_numpy(chosen)].float().numpy()
                yield VectorBatch(modality, ids, vectors_ND, columns)
