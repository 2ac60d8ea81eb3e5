"""Cells of a table's rows, read one row at a time: what they mean, and all that can be wrong with them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from bind.data.sources.rows import csv_delimiter
from bind.media.text import read_caption
from bind.types import Clip, Modality, Sample, StoredVector, compose_name

SAMPLE_COLUMNS = ("key", "split", "group", "owner", "label")
SPAN_SUFFIXES = ("_start_seconds", "_end_seconds")
CLOCK_SUFFIX = "_clock"
CLOCKS = ("file", "first_row")
"""What the spans of a sensor's files count in: the clock of the file, or seconds since its first row."""


def modality_columns(path: Path, columns: list[str]) -> list[Modality]:
    """The columns that hold modalities; ValueError where `key` or `split` is missing or a name is no modality's."""
    for needed in ("key", "split"):
        if needed not in columns:
            close = difflib.get_close_matches(needed, columns, n=1)
            hint = f" (is it {close[0]!r}? rename it)" if close else ""
            if columns[0].startswith("sep="):
                hint = " (the first line is one of Excel's: delete it)"
            raise ValueError(f"{path}: the column {needed!r} is missing{hint}; there are {', '.join(columns)}")
    spans = [column for column in columns if column.endswith(SPAN_SUFFIXES)]
    spans += [c for c in columns if c.endswith(CLOCK_SUFFIX) and c.removesuffix(CLOCK_SUFFIX) in columns]
    modalities = [column for column in columns if column not in SAMPLE_COLUMNS and column not in spans]
    for column in modalities:
        absent = [name for name in SAMPLE_COLUMNS if name not in columns]
        close = difflib.get_close_matches(column.lower(), absent, n=1, cutoff=0.8)
        if close:
            raise ValueError(f"{path}: column {column!r} would be read as a modality; rename it to {close[0]!r}")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", column):
            raise ValueError(
                f"{path}: column {column!r} is no modality: names are lower-case letters, digits and underscores"
            )
    if not modalities:
        raise ValueError(f"{path}: there is no column of any modality; add one, such as image, text or audio")
    for column in spans:
        modality = re.sub("|".join((*SPAN_SUFFIXES, CLOCK_SUFFIX)), "", column)
        if modality not in modalities or modality == "text":
            raise ValueError(
                f"{path}: column {column!r} belongs to no modality that has files: "
                f"{', '.join(m for m in modalities if m != 'text') or 'there is none'}"
            )
    return modalities


class RowReader:
    """Reader of rows as `Sample`s; it raises ValueError, naming the row, for cells that make none.

    `vectors` are the columns whose cells are lists of numbers, a vector each.
    """

    def __init__(self, manifest: Path, columns: list[str], vectors: Collection[str] = ()) -> None:
        self.manifest = manifest
        self.vectors = frozenset(vectors)
        self.modalities = modality_columns(manifest, columns)
        self.has_clocks = any(modality + CLOCK_SUFFIX in columns for modality in self.modalities)
        is_csv = manifest.suffix.lower() in (".csv", ".tsv")
        self.separator = "|" if is_csv else None
        self.has_decimal_commas = is_csv and csv_delimiter(manifest) != ","
        self.num_missing_captions = 0
        self.first_missing_caption = ""
        self._folder = "" if manifest.parent == Path() else f"{manifest.parent}/".replace("//", "/")
        self._clocks: dict[Path, bool] = {}

    def sample(self, place: str, cells: dict[str, Any]) -> Sample:
        """The sample of a row; `place` says which row it is, in messages."""
        where = f"{self.manifest} {place}"
        key, split = (self._single_text(where, cells, column) for column in ("key", "split"))
        if key is None or split is None:
            raise ValueError(f"{where}: every row needs a key and a split")
        values = {m: self._values(f"{where} (key {key!r})", m, cells) for m in self.modalities}
        return Sample(
            key=key,
            split=split,
            values={m: v for m, v in values.items() if v},
            group=self._single_text(where, cells, "group"),
            owners=tuple(map(_whole_number, self._texts(where, "owner", cells.get("owner")))),
            label=self._single_text(where, cells, "label"),
        )

    def _single_text(self, where: str, cells: dict[str, Any], column: str) -> str | None:
        cell = _number_as_text(cells.get(column))
        if cell is not None and not isinstance(cell, str):
            raise ValueError(f"{where}: {column!r} must be one text, not {cell!r}")
        text = compose_name((cell or "").strip())
        return (_whole_number(text) if column in ("group", "label") else text) or None

    def _texts(self, where: str, column: str, cell: Any) -> list[str]:
        if isinstance(cell, str) and self.separator:
            if re.fullmatch(r"""\s*\[\s*(['"]).*\1\s*\]\s*""", cell, re.DOTALL):
                raise ValueError(
                    f'{where}: {column!r} is a list written as text, {cell}; in CSV separate several by "|"'
                )
            cell = cell.split(self.separator)
        items = [] if cell is None else cell if isinstance(cell, list) else [cell]
        items = [text for item in items if (text := _number_as_text(item)) is not None]
        if not all(isinstance(item, str) for item in items):
            raise ValueError(f"{where}: {column!r} must be a text or a list of texts, not {cell!r}")
        return [item.strip() for item in items if item.strip()]

    def _values(self, where: str, modality: Modality, cells: dict[str, Any]) -> list[Any]:
        if modality in self.vectors:
            numbers = cells.get(modality)
            return [StoredVector(np.array(numbers, np.float32), f"{where}: {modality}")] if numbers else []
        items = self._texts(where, modality, cells.get(modality))
        if modality == "text":
            captions = [caption for item in items if (caption := read_caption(item)) is not None]
            if absent := [f"{where}: {item!r}" for item in items if read_caption(item) is None]:
                self.num_missing_captions += len(absent)
                self.first_missing_caption = self.first_missing_caption or absent[0]
            return captions
        starts, ends = (self._seconds(where, modality + suffix, cells, len(items)) for suffix in SPAN_SUFFIXES)
        for start, end in zip(starts, ends, strict=True):
            if end is not None and end <= (start or 0.0):
                raise ValueError(f"{where}: the span of {modality!r} ends at {end:g} s, before its start")
        counts_rows = self._counts_from_first_row(where, modality, cells)
        folder = self.manifest.parent
        clips = [Clip(folder / i, s, e, counts_rows) for i, s, e in zip(items, starts, ends, strict=True)]
        for clip in clips if self.has_clocks else ():
            if self._clocks.setdefault(clip.path, counts_rows) != counts_rows:  # type: ignore[arg-type]
                raise ValueError(f"{where}: {clip.path} has another {modality}{CLOCK_SUFFIX} in another row")
        return clips

    def _counts_from_first_row(self, where: str, modality: Modality, cells: dict[str, Any]) -> bool:
        clock = self._single_text(where, cells, modality + CLOCK_SUFFIX) or CLOCKS[0]
        if clock not in CLOCKS:
            raise ValueError(f"{where}: {modality}{CLOCK_SUFFIX} is {' or '.join(CLOCKS)}, not {clock!r}")
        return clock == CLOCKS[1]

    def _seconds(self, where: str, column: str, cells: dict[str, Any], num_files: int) -> list[float | None]:
        cell = cells.get(column)
        if cell is None or cell == "":
            return [None] * num_files
        if isinstance(cell, str):
            cell = cell.split("|")
            if self.has_decimal_commas:  # else 1,500 might be fifteen hundred
                cell = [re.sub(r"^\s*([0-9]+),([0-9]+)\s*$", r"\1.\2", time) for time in cell]
        try:
            times = [float(time) for time in (cell if isinstance(cell, list) else [cell])]
        except (TypeError, ValueError):
            raise ValueError(f"{where}: {column!r} must be seconds, with a decimal point, not {cell!r}") from None
        if not all(math.isfinite(time) and time >= 0 for time in times):
            raise ValueError(f"{where}: {column!r} must be finite and not negative, not {cell!r}")
        if len(times) != num_files:
            raise ValueError(f"{where}: {column!r} has {len(times)} time(s) for {num_files} file(s)")
        return list(times)

    def text_of_path(self, path: Path) -> str:
        """A path as the table has it."""
        return str(path).removeprefix(self._folder)


def _number_as_text(cell: Any) -> Any:
    """A whole number as its digits, also where it is stored as a float, and NaN as an empty cell; else the cell."""
    if isinstance(cell, float):
        if math.isnan(cell):
            return None
        cell = int(cell) if cell.is_integer() else cell
    return str(cell) if type(cell) is int else cell


def _whole_number(text: str) -> str:
    """`1.0` as `1`: a column of whole numbers with an empty cell among them is written as floats."""
    return re.sub(r"^([+-]?[0-9]+)\.0+$", r"\1", text)
