"""Readers of annotations: tables, and the exports of ELAN and Audacity."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bind.data.sources.annotations.columns import Annotations
from bind.data.sources.annotations.elan import MAX_BYTES, read_elan
from bind.data.sources.rows import read_rows
from bind.files.content import decode_text
from bind.files.reading import read_bytes
from bind.media.text import read_caption
from bind.types import Annotation

logger = logging.getLogger("bind.data")

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
NEEDED = ("recording", "start_seconds", "end_seconds")
SAYING = ("text", "label")
COLUMNS = (*NEEDED, *SAYING, "kind")

Placed = Iterator[tuple[str, Annotation]]
"""File and line of annotations, and they."""


def read_annotations(path: str | Path) -> Annotations:
    """Read the annotations of recordings, in the order of the file.

    A table (CSV, TSV, JSONL or Parquet) has a row per annotation and the columns `recording` (the recording's key in
    the manifest), `start_seconds`, `end_seconds`, `text` (captions: several are a list, or in CSV separated by "|"),
    `label`, and `kind`; one of text and label is enough, others are left out and named in the log. An ELAN file
    (`.eaf`) or labels of Audacity (`.txt`) belong to the recording whose key is the file's name without its ending; a
    tier of ELAN is a kind, its texts are labels. A folder stands for all of these files in it.

    Raises:
        ValueError: naming the file, and the line with what it says, for a file that can't be read, columns that are
            missing, a row without recording, and times that are no numbers, negative or end before they start.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> folder = TemporaryDirectory()
        >>> path = Path(folder.name, "anna.txt")
        >>> _ = path.write_text("12.0\\t14.5\\twalking\\n14.5\\t20\\tsitting\\n")
        >>> [str(annotation) for annotation in read_annotations(path)]
        ['anna 12-14.5 s: walking', 'anna 14.5-20 s: sitting']
        >>> folder.cleanup()
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in (".eaf", ".txt"))
        if not files:
            raise ValueError(f"{path}: no .eaf or .txt file in this folder. Give a table, or the folder of the exports")
    else:
        files = [path]
    readers: dict[str, Callable[[Path], Placed]] = {".eaf": read_elan, ".txt": _read_audacity}
    readers |= dict.fromkeys(TABLE_SUFFIXES, _read_table)
    annotations, places = [], []
    for file in files:
        if file.suffix.lower() not in readers:
            raise ValueError(
                f"{file}: annotations end in {', '.join(TABLE_SUFFIXES)}, .eaf (ELAN) or .txt (labels of Audacity)"
            )
        if not file.exists():
            raise ValueError(f"{file}: no such file. Check the path of the annotations")
        for place, annotation in readers[file.suffix.lower()](file):
            _require_times(place, annotation)
            annotations.append(annotation)
            places.append(place)
    if not annotations:
        raise ValueError(f"{path}: there are no annotations in it")
    return Annotations.of(annotations, places)


def _require_times(place: str, annotation: Annotation) -> None:
    start, end = annotation.start_seconds, annotation.end_seconds
    if not (math.isfinite(start) and math.isfinite(end) and start >= 0):
        raise ValueError(f"{place}: times must be finite and not negative, not {start:g} and {end:g}")
    if end < start:
        raise ValueError(f"{place}: the annotation ends at {end:.10g} s, before its start at {start:.10g} s")


def _read_table(path: Path) -> Placed:
    columns, rows = read_rows(path)
    missing = [name for name in NEEDED if name not in columns]
    if not missing and not any(name in columns for name in SAYING):
        missing = [" or ".join(SAYING)]
    if missing:
        close = difflib.get_close_matches(missing[0], columns, n=1)
        hint = f" (is it {close[0]!r}? rename it)" if close else ""
        raise ValueError(f"{path}: the column {missing[0]!r} is missing{hint}; there are {', '.join(columns)}")
    if others := [name for name in columns if name not in COLUMNS]:
        logger.info("%s: columns that are left out: %s", path, ", ".join(others))
    is_csv = path.suffix.lower() in (".csv", ".tsv")
    captions: dict[str, str | None] = {}
    for line, cells in rows:
        place = f"{path} {line}"
        recording = _text(place, "recording", cells.get("recording"))
        if recording is None:
            raise ValueError(f"{place}: every annotation needs the key of its recording")
        start, end = (_seconds(place, name, cells.get(name)) for name in NEEDED[1:])
        texts = []
        for item in _items(place, cells.get("text"), "|" if is_csv else None):
            if item not in captions:
                captions[item] = read_caption(item)
            if (caption := captions[item]) is not None:
                texts.append(caption)
        label, kind = (_text(place, name, cells.get(name)) for name in ("label", "kind"))
        yield place, Annotation(recording, start, end, tuple(texts), label, kind or "")


def _items(place: str, cell: Any, separator: str | None) -> list[str]:
    if isinstance(cell, str) and separator:
        return cell.split(separator)
    items = cell if isinstance(cell, list) else [] if cell is None else [cell]
    if not all(isinstance(item, str) for item in items):
        raise ValueError(f"{place}: 'text' must be a text or a list of texts, not {cell!r}")
    return items


def _text(place: str, column: str, cell: Any) -> str | None:
    if isinstance(cell, float):
        cell = None if math.isnan(cell) else int(cell) if cell.is_integer() else cell
    if cell is not None and not isinstance(cell, str | int):
        raise ValueError(f"{place}: {column!r} must be one text, not {cell!r}")
    return str(cell).strip() or None if cell is not None else None


def _seconds(place: str, column: str, cell: Any) -> float:
    try:
        return float(cell.replace(",", ".") if isinstance(cell, str) else cell)
    except (TypeError, ValueError):
        raise ValueError(f"{place}: {column!r} must be seconds, with a decimal point, not {cell!r}") from None


def _read_audacity(path: Path) -> Placed:
    lines = decode_text(read_bytes(path, max_bytes=MAX_BYTES), path).splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("\\"):  # the frequencies of a spectral selection
            continue
        place, cells = f"{path} line {number}", line.split("\t")
        try:
            start, end = (float(cell.replace(",", ".")) for cell in cells[:2])
        except ValueError:
            raise ValueError(
                f"{place}: not start, end and label with tabs between them, as Audacity exports labels: {line[:80]!r}"
            ) from None
        text = read_caption("\t".join(cells[2:]))
        yield place, Annotation(path.stem, start, end, label=text)
