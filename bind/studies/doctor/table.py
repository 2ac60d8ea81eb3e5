"""The rows of a manifest that can be read, and the faults of the others."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from bind.data.hashes import repeated_hashes
from bind.data.sources.arrow_rows import OtherColumnsError, TableReader
from bind.data.sources.cells import CLOCK_SUFFIX, RowReader
from bind.data.sources.decode import BatchDecoder
from bind.data.sources.decoded import open_for_this_process, write_columns
from bind.data.sources.open_table import MAX_BYTES_IN_MEMORY
from bind.data.sources.rows import iterate_rows
from bind.data.sources.sample_table import SPLITS, SampleTable
from bind.studies.doctor.findings import Finding, FindingKind

BAD_ROW = FindingKind("row that can't be read", 0.0, "correct the row")
REPEATED_KEY = FindingKind("repeated key", 0.0, "give every row its own key")
NO_MODALITY = FindingKind("row without any modality", 0.0, "fill a cell or delete the row")
OTHER_SPLIT = FindingKind(
    "split that is never loaded", 1.0, f"rename the split to {', '.join(SPLITS)}, or leave it out on purpose"
)


def read_samples(manifest: Path) -> tuple[SampleTable, list[Finding]]:
    """The samples of `train`, `val` and `test` that can be read, and what is wrong with the others.

    Raises:
        ValueError: a file that is no table, or whose columns are not those of a manifest.
    """
    table = TableReader.open(manifest)
    if any(name.endswith(CLOCK_SUFFIX) for name in table.names.values()):
        table = TableReader.by_rows(manifest)  # whether a clock is right depends on the rows before
    try:
        return _read(table)
    except OtherColumnsError:
        return _read(TableReader.by_rows(manifest))


def _read(table: TableReader) -> tuple[SampleTable, list[Finding]]:
    path, names = table.path, list(table.names.values())
    reader = RowReader(path, names, table.vectors)
    faults: list[tuple[int, str]] = []
    decoder = BatchDecoder(reader, names, faults)

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from map(decoder.decode, table.batches())
        except ValueError:
            for _ in iterate_rows(path, table.names):  # names the line
                pass
            raise
        if not decoder.num_rows:
            raise ValueError(f"{path}: the table has no rows")

    def write(file: BinaryIO) -> None:
        write_columns(file, decoder.schema, batches(), lambda: ({"identity": None}, pa.table({})))

    columns = open_for_this_process(path.stem[:60], write, in_memory=path.stat().st_size <= MAX_BYTES_IN_MEMORY)
    every = SampleTable(columns, range(columns.starts[-1]), path.parent, reader.modalities)
    loaded = SampleTable(columns, np.flatnonzero(every.split_codes() < len(SPLITS)), path.parent, reader.modalities)
    findings = [Finding(BAD_ROW, "", place, message) for place, message in _name_places(table, faults)]
    findings += [Finding(REPEATED_KEY, "", key, f"{n} times", (key,)) for key, n in _repeated_keys(every).items()]
    findings += [Finding(OTHER_SPLIT, "", split, f"{n} row(s)") for split, n in sorted(decoder.other_splits.items())]
    is_empty = ~np.logical_or.reduce([loaded.has(modality) for modality in loaded.modalities])
    findings += [Finding(NO_MODALITY, "", s.key, s.split, (s.key,)) for s in loaded.at(np.flatnonzero(is_empty))]
    return loaded, findings


def _name_places(table: TableReader, faults: list[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    """The place in the file of each row, in ascending order, and what is wrong with it."""
    left = iter(faults)
    number, message = next(left, (-1, ""))
    places: Any = (place for place, _ in iterate_rows(table.path, table.names)) if faults else ()
    for row, place in enumerate(places):
        if row == number:
            yield place, message.removeprefix(f"{table.path} ").lstrip(": ")
            number, message = next(left, (-1, ""))


def _repeated_keys(every: SampleTable) -> dict[str, int]:
    """Key → number of rows that have it, for keys of several."""
    hashes = every.key_hashes()
    suspects = np.flatnonzero(np.isin(hashes, repeated_hashes(hashes)))
    parts = every.at(suspects).parts(["key"])
    counts = Counter(itertools.chain.from_iterable(part.column(0).to_pylist() for part in parts))
    return {key: n for key, n in counts.items() if n > 1}
