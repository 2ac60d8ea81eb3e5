"""Store of an index: parts that are written once, a listing that says which of them count, and one writer at a time.

INDEX/
  index.json    the listing; whatever it does not name is no part of the index
  parts/        vectors and tables, see `bind.search.parts`
  deleted/      which rows are deleted
  pieces/       what other processes have embedded for the one that writes, see `bind.search.pieces`
  binder/       the binder that made the vectors, and embeds queries

A change writes new files, and then another listing in the place of the old: a writer that is killed leaves the index as
it was before, and files that the next one deletes.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from bind.files.locks import lock_folder
from bind.files.writing import remove_partial_files
from bind.search import parts as part_files
from bind.search.deletions import FOLDER as DELETED
from bind.search.deletions import NONE, join_deletions, read_deletions, write_deletions
from bind.search.listing import LISTING, MAX_DIM, IndexPart, Listing, read_listing, write_listing
from bind.search.parts import OpenPart, files_of, write_part
from bind.search.pieces import FOLDER as PIECES
from bind.search.rounding import default_scan
from bind.search.rows import KNOWN, table_of_rows
from bind.types import Modality

PART_VECTORS = 2**16
"""In a part at most."""
MAX_SMALL_PARTS = 8
"""Of a modality, of less than half that; more are made one."""
DAMAGED = "damaged"


class IndexStore:
    """The parts of an index as its listing had them when it was opened, or as this store has changed them.

    Args:
        folder: of the index.
        verify: compare vectors with their checksums before they are used first.

    Raises:
        ValueError: naming the file, where there is no index, or its listing is damaged.
    """

    def __init__(self, folder: Path | str, *, verify: bool = True) -> None:
        self.folder, self.verify = Path(folder), verify
        self._read_at: tuple[int, int] | None = None
        self.refresh()

    def refresh(self) -> bool:
        """Take the listing that another process has written since, where there is one; returns whether there was."""
        try:
            about = (self.folder / LISTING).stat()
        except OSError:
            about = None
        at = None if about is None else (about.st_ino, about.st_mtime_ns)
        if at is not None and at == self._read_at:
            return False
        self._take(read_listing(self.folder))
        self._read_at = at
        return True

    def require_sizes(self) -> None:
        """Raise ValueError, naming the file, unless all files of vectors are there and as long as they have to be."""
        for part in self.parts:
            part.require_sizes()

    @classmethod
    def create(
        cls, folder: Path | str, dim: int, fingerprint: str, *, anchor: str = "", scan: str | None = None
    ) -> IndexStore:
        """Make an empty index.

        Args:
            folder: a new or empty one.
            dim: D.
            fingerprint: of the binder whose vectors it takes.
            scan: what is scanned, `fp16`, `bf16` or `int8`; None: bf16 where the processor multiplies it.

        Raises:
            ValueError: where the folder holds an index or something else.
        """
        folder = Path(folder)
        if not 0 < dim <= MAX_DIM:
            raise ValueError(f"dim={dim}: give the length of the vectors, from 1 to {MAX_DIM}")
        with lock_folder(folder, "choose another folder, or wait until it has ended"):
            if there := sorted(path.name for path in folder.iterdir() if not _is_left_over(path)):
                kind = "an index already" if LISTING in there else f"something else ({there[0]})"
                raise ValueError(f"{folder} holds {kind}: choose another folder")
            write_listing(folder, Listing(dim, fingerprint, anchor, scan or default_scan()))
        return cls(folder)

    def _take(self, listing: Listing) -> None:
        self.deletions = read_deletions(self.folder, listing.deleted, listing.parts)
        known = {part.part.name: part for part in getattr(self, "parts", ())}
        self.listing = listing
        self.parts = [
            known.get(part.name) or OpenPart(self.folder, part, listing.dim, verify=self.verify)
            for part in listing.parts
        ]

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Those of its vectors, in the order in which they were added."""
        return tuple(dict.fromkeys(part.modality for part in self.listing.parts))

    def num_vectors(self, modality: Modality) -> int:
        """How many vectors of a modality there are, without deleted ones."""
        return sum(len(self.rows_of(part)) for part in self.parts if part.part.modality == modality)

    def rows_of(self, part: OpenPart) -> np.ndarray:
        """The rows of a part that are not deleted, int64, ascending."""
        gone = self.deletions.get(part.part.name, NONE)
        rows: np.ndarray = np.delete(np.arange(len(part)), gone)
        return rows

    def keys_of(self, modality: Modality) -> pa.ChunkedArray:
        """The key of every vector of a modality that is not deleted."""
        parts = [part for part in self.parts if part.part.modality == modality]
        chunks = [part.table.column("key").take(pa.array(self.rows_of(part))).combine_chunks() for part in parts]
        return pa.chunked_array(chunks, pa.string())

    @contextlib.contextmanager
    def writing(self) -> Iterator[IndexStore]:
        """Own the index for changes, which are seen as others left it, until the block ends.

        Raises:
            ValueError: where another process writes it.
        """
        with lock_folder(self.folder, "wait until it has ended; searching goes on meanwhile"):
            self.refresh()
            self._delete_unnamed()
            self._is_writing = True
            try:
                yield self
            except BaseException:
                with contextlib.suppress(OSError):  # the error before says more
                    self._delete_unnamed()
                raise
            finally:
                self._is_writing = False

    _is_writing = False

    def _delete_unnamed(self) -> None:
        """Delete what killed writers left, and what was replaced."""
        named = {path.name for part in self.listing.parts for path in files_of(self.folder, part.name)}
        named |= {self.listing.deleted.name}
        remove_partial_files(self.folder)
        for name in (part_files.FOLDER, DELETED, PIECES):
            if (self.folder / name).is_dir():
                remove_partial_files(self.folder / name)
                for path in (self.folder / name).iterdir():
                    if path.name not in named and path.is_file():
                        path.unlink()

    def add(self, modality: Modality, vectors_ND: Tensor, columns: Mapping[str, Sequence[Any] | pa.Array]) -> None:
        """Add vectors, in the block of `writing`; they are there when this returns, all or none.

        Args:
            modality: of all of them.
            vectors_ND: of norm 1.
            columns: `key`, what is known of `bind.search.rows.KNOWN`, and any of one's own, each N values.

        Raises:
            ValueError: for vectors of another length or norm, or columns that an index can't hold.
            OSError: naming the file that can't be written; the index then is as it was.
        """
        assert self._is_writing, "vectors are added in the block of writing()"
        if vectors_ND.ndim != 2 or vectors_ND.shape[1] != self.listing.dim:
            raise ValueError(
                f"{self.folder}: holds vectors of length {self.listing.dim}, not of shape {tuple(vectors_ND.shape)}: "
                "they are of another binder"
            )
        table = table_of_rows(columns)
        if table.num_rows != len(vectors_ND):
            raise ValueError(f"columns: {table.num_rows} rows for {len(vectors_ND)} vectors")
        own = {field.name: str(field.type) for field in list(table.schema)[len(KNOWN) :]}
        for name, kind in own.items():
            if self.listing.columns.get(name, kind) != kind:
                raise ValueError(f"columns: {name} holds {kind}, and {self.listing.columns[name]} in {self.folder}")
        written = self._write(modality, vectors_ND, table)
        self.listing = replace(self.listing, columns={**self.listing.columns, **own})
        self._commit([*self.listing.parts, *written])

    def _write(self, modality: Modality, vectors_ND: Tensor, table: pa.Table) -> list[IndexPart]:
        """Write parts that no listing names yet."""
        written = []
        for start in range(0, len(vectors_ND), PART_VECTORS):
            name = str(self.listing.next_name)
            self.listing = replace(self.listing, next_name=self.listing.next_name + 1)
            rows = table.slice(start, PART_VECTORS)
            vectors = vectors_ND[start : start + PART_VECTORS]
            written.append(write_part(self.folder, name, modality, vectors, rows, scan=self.listing.scan))
        return written

    def _commit(self, parts: Sequence[IndexPart], deletions: Mapping[str, np.ndarray] | None = None) -> None:
        """Make these the parts of the index, and these its deletions, where they are others."""
        listing = self.listing.with_parts(parts)
        if deletions is not None:
            deleted = write_deletions(self.folder, str(listing.next_name), deletions)
            listing = replace(listing, deleted=deleted, next_name=listing.next_name + 1)
        write_listing(self.folder, listing)
        self.refresh()

    def delete(self, rows: Mapping[str, np.ndarray]) -> int:
        """Delete rows, name of their part → rows, in the block of `writing`; returns how many were there.

        The vectors stay in their files until `compact`.
        """
        assert self._is_writing, "vectors are deleted in the block of writing()"
        joined = join_deletions(self.deletions, rows)
        num_before = self.listing.deleted.num_vectors
        num_after = sum(map(len, joined.values()))
        if num_after > num_before:
            kept = [part for part in self.listing.parts if len(joined.get(part.name, NONE)) < part.num_vectors]
            names = {part.name for part in kept}
            self._commit(kept, {name: gone for name, gone in joined.items() if name in names})
            self._delete_unnamed()
        return num_after - num_before

    def delete_keys(self, keys: Sequence[str], modalities: Sequence[Modality] | None = None) -> int:
        """Delete all vectors of these samples, or those of some modalities; returns how many there were.

        Raises:
            ValueError: naming keys that the index does not hold; then nothing is deleted.
        """
        wanted = pa.array(list(dict.fromkeys(keys)), pa.string())
        rows, there = {}, []
        for part in self.parts:
            if modalities is None or part.part.modality in modalities:
                column = part.table.column("key")
                is_wanted = pc.is_in(column, value_set=wanted).to_numpy()
                rows[part.part.name] = np.setdiff1d(np.flatnonzero(is_wanted), self.deletions.get(part.part.name, NONE))
                there.append(column.take(pa.array(rows[part.part.name])).combine_chunks())
        present = pa.chunked_array(there, pa.string())
        if absent := wanted.filter(pc.invert(pc.is_in(wanted, value_set=present.combine_chunks()))).to_pylist():
            raise ValueError(
                f"{self.folder}: holds no vector of key {absent[0]!r} ({len(absent)} of {len(wanted)} keys)"
            )
        return self.delete(rows)

    def compact(self, *, is_all: bool = False) -> int:
        """Write small parts of a modality anew as large ones, without deleted rows; returns how many were replaced.

        Args:
            is_all: also where there are few small parts, and all parts with deleted rows.
        """
        assert self._is_writing, "parts are written anew in the block of writing()"
        replaced: list[str] = []
        written: list[IndexPart] = []
        for modality in self.modalities:
            of_modality = [part for part in self.parts if part.part.modality == modality]
            chosen = [
                p for p in of_modality if len(p) < PART_VECTORS // 2 or (is_all and p.part.name in self.deletions)
            ]
            if len(chosen) > MAX_SMALL_PARTS or (
                is_all and (len(chosen) > 1 or any(p.part.name in self.deletions for p in chosen))
            ):
                written += self._join(modality, chosen)
                replaced += [part.part.name for part in chosen]
        if replaced:
            kept = [part for part in self.listing.parts if part.name not in replaced]
            left = {name: gone for name, gone in self.deletions.items() if name not in replaced}
            self._commit([*kept, *written], left)
            self._delete_unnamed()
        return len(replaced)

    def _join(self, modality: Modality, parts: Sequence[OpenPart]) -> list[IndexPart]:
        """Write the rows of parts as new parts, a few of them in memory at a time."""
        written: list[IndexPart] = []
        vectors: list[Tensor] = []
        tables: list[pa.Table] = []
        for number, part in enumerate(parts):
            rows = self.rows_of(part)
            vectors.append(part.vectors[torch.from_numpy(rows)])
            tables.append(part.table.take(pa.array(rows)))
            is_last = number == len(parts) - 1
            if is_last or sum(map(len, vectors)) + len(parts[number + 1]) > PART_VECTORS:
                table = pa.concat_tables(tables, promote_options="permissive")
                written += self._write(modality, torch.cat(vectors), table)
                vectors, tables = [], []
        return written

    def put_damaged_aside(self) -> list[str]:
        """Take parts with damaged files out of the index, whose files then lie in `damaged/`; returns what is wrong."""
        assert self._is_writing, "parts are put aside in the block of writing()"
        wrong: dict[str, str] = {}
        for part in self.parts:
            try:
                OpenPart(self.folder, part.part, self.listing.dim).require_as_written()
            except ValueError as error:
                wrong[part.part.name] = str(error)
        if wrong:
            (self.folder / DAMAGED).mkdir(exist_ok=True)
            for name in wrong:
                for path in files_of(self.folder, name):
                    if path.is_file():
                        shutil.copy2(path, self.folder / DAMAGED / path.name)
            kept = [part for part in self.listing.parts if part.name not in wrong]
            self._commit(kept, {name: gone for name, gone in self.deletions.items() if name not in wrong})
            self._delete_unnamed()
        return list(wrong.values())


def _is_left_over(path: Path) -> bool:
    return path.name.endswith((".partial", ".lock"))
