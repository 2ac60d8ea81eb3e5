"""Source of a user's own data: a table with a row per sample and a column per modality."""

from __future__ import annotations

import difflib
import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bind.data.sources.content import hash_files
from bind.data.sources.rows import csv_delimiter, read_rows
from bind.data.sources.splits import SPLITS, list_some, refuse_shared_owners, refuse_shared_spans
from bind.media.text import read_caption
from bind.terminal import printable_errors
from bind.types import Clip, Modality, Sample

logger = logging.getLogger("bind.data")

SAMPLE_COLUMNS = ("key", "split", "group", "owner", "label")
SPAN_SUFFIXES = ("_start_seconds", "_end_seconds")
CLOCK_SUFFIX = "_clock"
CLOCKS = ("file", "first_row")
"""What the spans of a sensor's files count in: the clock of the file, or seconds since its first row."""


class ManifestSource:
    """The samples of a CSV, TSV, JSONL or Parquet table.

    Columns: `key`, `split` (`train`, `val` or `test`; rows of other splits are never loaded), optional `group`,
    `owner` and `label`, and one column per modality. A cell of `text` is the text itself; any other cell is a path
    relative to the manifest. An empty cell means that the sample lacks the modality, and so does a text such as `nan`
    or `None`. Several owners, captions or
    files are a list in JSONL and Parquet and are separated by "|" in CSV, so captions that contain "|" need JSONL or
    Parquet. `{modality}_start_seconds` and `{modality}_end_seconds` cut a span out of a recording, one per file; a
    sensor's are in the clock of its file, or, where `{modality}_clock` is `first_row`, count from its first row.

    Args:
        manifest: path of the table.
        name: what logs call this dataset; by default its file name, or its folder's where the file is `manifest.*`.
        known: modalities of which splits may share files: what is evaluated of them was trained on.

    Raises:
        ValueError: names the file and the row or key, for everything a table can get wrong: no such file, missing
            columns, repeated keys, files that do not exist, samples without any modality, and splits that share an
            owner or a stretch of a file.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> folder = TemporaryDirectory()
        >>> path = Path(folder.name, "pets.csv")
        >>> _ = path.write_text("key,split,text,label\\na,train,a dog|a puppy,dog\\nb,val,a cat,cat\\n")
        >>> source = ManifestSource(path)
        >>> source.splits, source.modalities(), source.samples("val")[0].label
        (('train', 'val'), ('text',), 'cat')
        >>> source.fetch("train", [0], ["text"], rngs=None)
        [{'text': ['a dog', 'a puppy']}]
        >>> folder.cleanup()
    """

    @printable_errors()
    def __init__(
        self, manifest: str | Path, *, name: str | None = None, known: Sequence[Modality] | None = None
    ) -> None:
        self.path = Path(manifest)
        stem = self.path.stem
        self.name = name or (self.path.resolve().parent.name if stem == "manifest" else stem)
        columns, rows = read_rows(self.path)
        self._columns = modality_columns(self.path, columns)

        reader = RowReader(self.path, self._columns)
        all_samples = [reader.sample(place, cells) for place, cells in rows]
        if absent := reader.missing_captions:
            logger.warning("%d caption(s) say nothing and count as missing (first: %s)", len(absent), absent[0])
        self._refuse_repeated_keys(all_samples)
        loaded = [sample for sample in all_samples if sample.split in SPLITS]
        self._refuse_empty_samples(loaded)
        self._refuse_missing_files(loaded)
        refuse_shared_owners(loaded, str(self.path))
        refuse_shared_spans(loaded, str(self.path), known or ())

        self._samples = {split: [sample for sample in loaded if sample.split == split] for split in SPLITS}
        self._other_splits = Counter(sample.split for sample in all_samples if sample.split not in SPLITS)
        if self._other_splits:
            logger.warning("%s: rows of other splits are not loaded: %s", self.path, _format_counts(self._other_splits))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have rows, of `train`, `val` and `test`."""
        return tuple(split for split, samples in self._samples.items() if samples)

    def modalities(self) -> tuple[Modality, ...]:
        """Modalities that at least one loaded sample has, in the order of the columns."""
        carried = {m for samples in self._samples.values() for sample in samples for m in sample.values}
        return tuple(m for m in self._columns if m in carried)

    def samples(self, split: str) -> Sequence[Sample]:
        """The samples of `split` in the order of the table."""
        return self._samples.get(split, [])

    def content_hash(self, split: str, modality: Modality) -> str:
        """See `bind.data.sources.content.hash_files`; the manifest may lie elsewhere, with its files."""
        return hash_files(self.samples(split), modality, self.path.parent)

    @printable_errors()
    def fetch(
        self,
        split: str,
        indices: Sequence[int],
        modalities: Sequence[Modality],
        rngs: Sequence[np.random.Generator] | None,
    ) -> list[dict[Modality, list[Any]]]:
        """`Clip`s and texts of these samples; a modality that a sample lacks is left out. Transforms decode files.

        `rngs` is not used: what is on disk does not vary.
        """
        samples = self.samples(split)
        return [{m: list(samples[i].values[m]) for m in modalities if m in samples[i].values} for i in indices]

    def require_modalities(self, names: Sequence[Modality]) -> None:
        """Raise ValueError, with the closest name there is, unless some sample has each of `names`."""
        carried = self.modalities()
        for name in names:
            if name not in carried:
                close = difflib.get_close_matches(name, carried, n=1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                raise ValueError(
                    f"{self.path}: no row has the modality {name!r}; {hint}It has {', '.join(carried)}. "
                    f"Add a column {name!r} or choose among these modalities"
                )

    def _refuse_repeated_keys(self, samples: list[Sample]) -> None:
        repeated = [f"{key!r} ({n} times)" for key, n in Counter(s.key for s in samples).items() if n > 1]
        if repeated:
            raise ValueError(f"{self.path}: keys must be unique, these are not: {list_some(repeated)}")

    def _refuse_empty_samples(self, samples: list[Sample]) -> None:
        empty = [repr(sample.key) for sample in samples if not sample.values]
        if empty:
            raise ValueError(
                f"{self.path}: {len(empty)} row(s) have no modality at all: key {list_some(empty)}. Fill a cell under "
                f"one of {', '.join(self._columns)}, or delete these rows"
            )

    def _refuse_missing_files(self, samples: list[Sample]) -> None:
        first_use: dict[Path, str] = {}  # file → modality and key
        for sample in samples:
            for modality, values in sample.values.items():
                for value in values:
                    if isinstance(value, Clip) and isinstance(value.path, Path):
                        first_use.setdefault(value.path, f"{modality} of key {sample.key!r}")
        missing = [f"{path} ({use})" for path, use in first_use.items() if not path.is_file()]
        if missing:
            raise ValueError(
                f"{self.path}: {len(missing)} of {len(first_use)} files do not exist: {list_some(missing)}. "
                "Paths are relative to the manifest's folder; every column other than "
                f"{', '.join(SAMPLE_COLUMNS)} and text holds paths"
            )


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


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def modality_columns(path: Path, columns: list[str]) -> list[Modality]:
    """The columns that hold modalities; ValueError where `key` or `split` is missing or a name is no modality's."""
    for needed in ("key", "split"):
        if needed not in columns:
            close = difflib.get_close_matches(needed, columns, n=1)
            hint = f" (is it {close[0]!r}? rename it)" if close else ""
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
    """Reader of rows as `Sample`s; it raises ValueError, naming the row, for cells that make none."""

    def __init__(self, manifest: Path, modalities: list[Modality]) -> None:
        self.manifest = manifest
        self.modalities = modalities
        is_csv = manifest.suffix.lower() in (".csv", ".tsv")
        self.separator = "|" if is_csv else None
        self.has_decimal_commas = is_csv and csv_delimiter(manifest) != ","
        self.missing_captions: list[str] = []
        self._paths: dict[str, Path] = {}
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
        text = (cell or "").strip()
        return (_whole_number(text) if column == "group" else text) or None

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
        items = self._texts(where, modality, cells.get(modality))
        if modality == "text":
            captions = [caption for item in items if (caption := read_caption(item)) is not None]
            self.missing_captions += [f"{where}: {item!r}" for item in items if read_caption(item) is None]
            return captions
        starts, ends = (self._seconds(where, modality + suffix, cells, len(items)) for suffix in SPAN_SUFFIXES)
        for start, end in zip(starts, ends, strict=True):
            if end is not None and end <= (start or 0.0):
                raise ValueError(f"{where}: the span of {modality!r} ends at {end:g} s, before its start")
        counts_rows = self._counts_from_first_row(where, modality, cells)
        clips = [Clip(self._path(i), s, e, counts_rows) for i, s, e in zip(items, starts, ends, strict=True)]
        for clip in clips:
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

    def _path(self, text: str) -> Path:
        if text not in self._paths:
            self._paths[text] = self.manifest.parent / text
        return self._paths[text]
