"""Annotations of many recordings as columns, each with its place in a file for messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pyarrow as pa

from bind.types import Annotation

SCHEMA = pa.schema(
    [
        ("recording", pa.string()),
        ("start_seconds", pa.float64()),
        ("end_seconds", pa.float64()),
        ("text", pa.list_(pa.string())),
        ("label", pa.string()),
        ("kind", pa.string()),
        ("place", pa.string()),
    ]
)
"""`kind` is empty where there is none; `place` is the file and the line."""


@dataclass(frozen=True, slots=True)
class Annotations(Sequence[Annotation]):
    """Annotations in the order of their file, as the columns of `SCHEMA`.

    Examples:
        >>> annotations = Annotations.of([Annotation("anna", 1.0, 2.0, ("a cough",), kind="sound")])
        >>> annotations[0].texts, annotations.starts.tolist(), annotations.names("kind")
        (('a cough',), [1.0], ['sound'])
    """

    table: pa.Table

    @classmethod
    def of(cls, annotations: Iterable[Annotation], places: Iterable[str] | None = None) -> Annotations:
        """Columns of annotations; `places` says where each was read, by default what it is."""
        rows = list(annotations)
        columns: list[Any] = [
            [a.recording for a in rows],
            [a.start_seconds for a in rows],
            [a.end_seconds for a in rows],
            [list(a.texts) for a in rows],
            [a.label for a in rows],
            [a.kind for a in rows],
            list(map(str, rows)) if places is None else list(places),
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        return cls(pa.table(arrays, schema=SCHEMA))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, index: int) -> Annotation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Annotation]: ...
    def __getitem__(self, index: int | slice) -> Annotation | Sequence[Annotation]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return _annotation({name: self.table[name][index].as_py() for name in SCHEMA.names})

    def __iter__(self) -> Iterator[Annotation]:
        for batch in self.table.to_batches(max_chunksize=1024):
            yield from map(_annotation, batch.to_pylist())

    @property
    def starts(self) -> np.ndarray:
        """Starts (N,) in seconds."""
        starts: np.ndarray = self.table["start_seconds"].to_numpy()
        return starts

    @property
    def ends(self) -> np.ndarray:
        """Ends (N,) in seconds."""
        ends: np.ndarray = self.table["end_seconds"].to_numpy()
        return ends

    def names(self, column: str) -> list[Any]:
        """A column as a list."""
        values: list[Any] = self.table[column].to_pylist()
        return values

    def place(self, index: int) -> str:
        """File, line, and what the annotation is, for messages."""
        place, annotation = self.table["place"][index].as_py(), str(self[index])
        return annotation if place == annotation else f"{place} ({annotation})"

    def take(self, rows: np.ndarray) -> Annotations:
        """Those with these numbers, or where this is true."""
        return Annotations(self.table.filter(pa.array(rows)) if rows.dtype == bool else self.table.take(pa.array(rows)))


def _annotation(cells: dict[str, Any]) -> Annotation:
    return Annotation(
        cells["recording"],
        cells["start_seconds"],
        cells["end_seconds"],
        tuple(cells["text"]),
        cells["label"],
        cells["kind"],
    )
