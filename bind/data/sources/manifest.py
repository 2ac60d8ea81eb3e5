"""Source of a user's own data: a table with a row per sample and a column per modality."""

from __future__ import annotations

import difflib
import itertools
import logging
import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bind.data.sources.cells import SAMPLE_COLUMNS
from bind.data.sources.content import hash_files, hash_many_files
from bind.data.sources.decoded import DamagedColumnsError, MappedColumns
from bind.data.sources.open_table import open_table
from bind.data.sources.sample_table import SPLITS, SampleTable
from bind.data.sources.splits import (
    list_some,
    owner_suspects,
    refuse_shared_owners,
    refuse_shared_spans,
    span_suspects,
)
from bind.data.sources.table_facts import MAX_FILES
from bind.files.reading import describe_other_form
from bind.terminal import printable_errors
from bind.types import Modality, Sample

logger = logging.getLogger("bind.data")

NUM_THREADS = 16


class ManifestSource:
    """The samples of a CSV, TSV, JSONL or Parquet table.

    Columns: `key`, `split` (`train`, `val` or `test`; rows of other splits are never loaded), optional `group`,
    `owner` and `label`, and one column per modality. A cell of `text` is the text itself; any other cell is a path
    relative to the manifest, or in Parquet a list of floats, a vector. An empty cell means that the sample lacks the
    modality, and so does a text such as `nan` or `None`. Several owners, captions or files are a list in JSONL and
    Parquet and are separated by "|" in CSV, so captions that contain "|" need JSONL or Parquet.
    `{modality}_start_seconds` and `{modality}_end_seconds` cut a span out of a recording, one per file; a
    sensor's are in the clock of its file, or, where `{modality}_clock` is `first_row`, count from its first row.

    Args:
        manifest: path of the table.
        name: what logs call this dataset; by default its file name, or its folder's where the file is `manifest.*`.
        known: modalities of which splits may share files: what is evaluated of them was trained on.
        cache_dir: a folder that keeps the decoded table in its folder `tables`, to be mapped into memory when it is
            opened again; None decodes it every time.

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
        self,
        manifest: str | Path,
        *,
        name: str | None = None,
        known: Sequence[Modality] | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        self.path = Path(manifest)
        stem = self.path.stem
        self.name = name or (self.path.resolve().parent.name if stem == "manifest" else stem)
        columns = open_table(self.path, None if cache_dir is None else Path(cache_dir).expanduser())
        facts = self._facts = columns.facts
        if facts["num_missing_captions"]:
            logger.warning(
                "%d caption(s) say nothing and count as missing (first: %s)",
                facts["num_missing_captions"],
                facts["first_missing_caption"],
            )
        splits = _split_of_rows(columns)
        loaded = self._table(columns, np.flatnonzero(splits < len(SPLITS)))
        self._samples = {
            split: self._table(columns, np.flatnonzero(splits == i), facts["hashes"][split])
            for i, split in enumerate(SPLITS)
        }
        has_links = self._refuse_missing_files(columns)
        if facts["shares_owners"]:
            refuse_shared_owners(owner_suspects([loaded]), str(self.path))
        if has_links:  # two names of one file
            refuse_shared_spans(loaded, str(self.path), known or ())
        elif facts["shares_files"]:
            refuse_shared_spans(span_suspects([loaded], known or ()), str(self.path), known or ())
        self._other_splits = Counter(facts["other_splits"])
        if self._other_splits:
            logger.warning("%s: rows of other splits are not loaded: %s", self.path, _format_counts(self._other_splits))

    def _table(self, columns: MappedColumns, rows: np.ndarray, hashes: Mapping[str, str] | None = None) -> SampleTable:
        return SampleTable(columns, rows, self.path.parent, columns.facts["columns"], hashes)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have rows, of `train`, `val` and `test`."""
        return tuple(split for split, samples in self._samples.items() if samples)

    def modalities(self) -> tuple[Modality, ...]:
        """Modalities that at least one loaded sample has, in the order of the columns."""
        return tuple(self._facts["modalities"])

    def samples(self, split: str) -> Sequence[Sample]:
        """The samples of `split` in the order of the table."""
        return self._samples.get(split, [])

    def content_hash(self, split: str, modality: Modality) -> str:
        """See `bind.data.sources.content.hash_files`; the manifest may lie elsewhere, with its files."""
        samples = self.samples(split)
        if len(samples) > MAX_FILES:
            return hash_many_files(self._samples[split], modality)
        return hash_files(samples, modality, self.path.parent)

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
        table = self._samples[split]
        return [table.values(index, modalities) for index in indices]

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

    def _refuse_missing_files(self, columns: MappedColumns) -> bool:
        """Refuse a table of whose files some are not there; returns whether a file is a link.

        Of very many files some are looked at; `bindspace doctor` looks at all.
        """
        every = SampleTable(columns, range(columns.starts[-1]), self.path.parent, self._facts["columns"])
        file_modalities = [m for m in self._facts["columns"] if m != "text" and m not in every.vectors]
        rows, places, texts = (column.to_pylist() for column in columns.files.columns)
        first_use: dict[Path, int] = {}
        for number, text in enumerate(texts):
            first_use.setdefault(self.path.parent / text, number)
        paths = list(first_use)
        chunks = [paths[start : start + 256] for start in range(0, len(paths), 256)]
        with ThreadPoolExecutor(NUM_THREADS) as threads:
            are_links = list(itertools.chain.from_iterable(threads.map(lambda chunk: [*map(_is_link, chunk)], chunks)))
        if gone := [path for path, is_link in zip(paths, are_links, strict=True) if is_link is None]:
            uses = [(path, first_use[path]) for path in gone]
            missing = [f"{path} ({file_modalities[places[n]]} of key {every.key(rows[n])!r})" for path, n in uses]
            looked_at = "" if self._facts["all_files"] else " that were looked at"
            raise ValueError(
                f"{self.path}: {len(missing)} of {len(first_use)} files{looked_at} do not exist: {list_some(missing)}"
                f"{describe_other_form(gone[0])}. "
                "Paths are relative to the manifest's folder; every column other than "
                f"{', '.join(SAMPLE_COLUMNS)} and text holds paths"
            )
        return any(are_links)


def _split_of_rows(columns: MappedColumns) -> np.ndarray:
    """The split (N,) of every row, as a place in `SPLITS`, or `OTHER_SPLIT`."""
    batches = range(len(columns.starts) - 1)
    splits = np.concatenate([columns.batch_unverified(number).column("split").to_numpy() for number in batches])
    if [int((splits == i).sum()) for i in range(len(SPLITS))] != [columns.facts["num_rows"][split] for split in SPLITS]:
        raise DamagedColumnsError(f"{columns.name} is damaged (its splits are others): delete it, it is made again")
    return splits


def _is_link(path: Path) -> bool | None:
    """Whether a file is a link to another; None where there is no file."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            return True if path.is_file() else None
        return False if stat.S_ISREG(mode) else None
    except (OSError, ValueError):  # ValueError: a path with a zero byte
        return None


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
