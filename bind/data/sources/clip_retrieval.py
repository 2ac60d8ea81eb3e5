"""Source of the vectors that clip-retrieval wrote: matrices in `.npy` files, and tables of what their rows are of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bind.data.sources.splits import list_some
from bind.files.parquet import open_parquet
from bind.files.reading import reading
from bind.media.arrays import read_array
from bind.terminal import printable_errors
from bind.types import Clip, Modality, Sample, StoredVector, stable_id

FOLDERS: dict[Modality, str] = {"image": "img_emb", "text": "text_emb"}
"""Modality → the folder of its matrices; `audio` of a folder `audio_emb` and so on is added by `folders`."""
METADATA = "metadata"
KEY_COLUMNS = ("key", "image_path")
REMEDY = "Run clip-retrieval inference again, or copy the folder again"


class ClipRetrievalSource:
    """The samples of a folder with `img_emb/*.npy`, `text_emb/*.npy` and `metadata/*.parquet`, as clip-retrieval's
    inference writes it; values are vectors.

    Row i of `img_emb_0.npy` belongs to row i of `metadata_0.parquet`. Columns of the tables that are known as in a
    manifest (`key`, `split`, `group`, `owner`, `label`) are used; a key is `key` or `image_path`, else the number of
    the row; a row without a split is of one by a hash of its group or key.

    Args:
        folder: of `img_emb` and so on.
        folders: modality → the name of its folder; those that are there are read.
        val_share, test_share: of the rows without a split.
        name: what logs call this dataset; by default that of the folder.

    Raises:
        ValueError: naming the file, where matrices and tables have other numbers of rows, or keys repeat.
    """

    @printable_errors()
    def __init__(
        self,
        folder: str | Path,
        *,
        folders: dict[Modality, str] | None = None,
        val_share: float = 0.1,
        test_share: float = 0.1,
        name: str | None = None,
    ) -> None:
        self.path = Path(folder)
        self.name = name or self.path.resolve().name
        if not (val_share >= 0 and test_share >= 0 and val_share + test_share <= 1):
            raise ValueError(f"val_share={val_share}, test_share={test_share}: give shares of 1")
        named = dict(FOLDERS if folders is None else folders)
        self._matrices = {m: self._open_matrices(part) for m, part in named.items() if (self.path / part).is_dir()}
        if not self._matrices:
            raise ValueError(f"{self.path}: there is none of the folders {', '.join(named.values())}. {REMEDY}")
        tables = sorted((self.path / METADATA).glob("*.parquet"), key=_file_number)
        rows = [row for table in tables for row in _read_rows(table)]
        for modality, matrices in self._matrices.items():
            num_rows = sum(map(len, matrices))
            if tables and num_rows != len(rows):
                raise ValueError(
                    f"{self.path / named[modality]}: {num_rows} vectors, and {self.path / METADATA} has "
                    f"{len(rows)} rows. {REMEDY}"
                )
            rows = rows or [{} for _ in range(num_rows)]
        self._places: dict[str, list[int]] = {"train": [], "val": [], "test": []}
        self._samples: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
        empty: dict[Modality, tuple[Any, ...]] = dict.fromkeys(self._matrices, ())
        for row, cells in enumerate(rows):
            key = str(next((cells[c] for c in KEY_COLUMNS if cells.get(c) not in (None, "")), row))
            group, owner, label = (None if cells.get(c) is None else str(cells[c]) for c in ("group", "owner", "label"))
            split = str(cells["split"]) if cells.get("split") else _draw_split(group or key, val_share, test_share)
            if split in self._samples:  # rows of other splits are never loaded
                self._places[split].append(row)
                self._samples[split].append(Sample(key, split, empty, group, (owner,) if owner else (), label))
        keys = [sample.key for samples in self._samples.values() for sample in samples]
        if len(set(keys)) < len(keys):
            seen: set[str] = set()
            repeated = [repr(key) for key in keys if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
            raise ValueError(f"{self.path / METADATA}: keys must be unique, these are not: {list_some(repeated)}")

    def _open_matrices(self, part: str) -> list[np.ndarray]:
        """The matrices (N, V) of a folder, in the order of their numbers, mapped into memory."""
        files = sorted((self.path / part).glob("*.npy"), key=_file_number)
        matrices = [read_array(Clip(file)) for file in files]
        for file, matrix in zip(files, matrices, strict=True):
            if matrix.ndim != 2 or matrix.dtype.kind != "f" or matrix.shape[1] != matrices[0].shape[1]:
                raise ValueError(
                    f"{file}: {matrix.dtype} of shape {matrix.shape} is no matrix of vectors like the first. {REMEDY}"
                )
        if not files:
            raise ValueError(f"{self.path / part}: there is no .npy file in it. {REMEDY}")
        return matrices

    def modalities(self) -> tuple[Modality, ...]:
        """Those whose folders are there."""
        return tuple(self._matrices)

    def samples(self, split: str) -> Sequence[Sample]:
        """The metadata of a split, in the order of the rows."""
        return self._samples.get(split, [])

    def content_hash(self, split: str, modality: Modality) -> str:
        """Hash keys and vectors."""
        digest = hashlib.blake2b(digest_size=16)
        for sample, row in zip(self._samples[split], self._places[split], strict=True):
            digest.update(repr(sample.key).encode())
            digest.update(np.ascontiguousarray(self._vector(modality, row)).data)
        return digest.hexdigest()

    def fetch(
        self,
        split: str,
        indices: Sequence[int],
        modalities: Sequence[Modality],
        rngs: Sequence[np.random.Generator] | None,
    ) -> list[dict[Modality, list[Any]]]:
        """The vectors of these samples; `rngs` is not used: what is on disk does not vary."""
        places = self._places[split]
        chosen = [m for m in modalities if m in self._matrices]
        return [
            {
                m: [StoredVector(self._vector(m, places[index]), f"{self.path}: {m} of row {places[index]}")]
                for m in chosen
            }
            for index in indices
        ]

    def _vector(self, modality: Modality, row: int) -> np.ndarray:
        for matrix in self._matrices[modality]:
            if row < len(matrix):
                return np.asarray(matrix[row])
            row -= len(matrix)
        raise AssertionError("the rows were counted when the folder was opened")


def _file_number(file: Path) -> tuple[int, str]:
    """`img_emb_10.npy` comes after `img_emb_9.npy`."""
    digits = file.stem.rpartition("_")[2]
    return (int(digits) if digits.isdecimal() else -1, file.name)


def _read_rows(table: Path) -> list[dict[str, Any]]:
    known = (*KEY_COLUMNS, "split", "group", "owner", "label")
    with reading(table, "not readable as Parquet", REMEDY):
        file = open_parquet(table)
        columns = [column for column in known if column in file.schema_arrow.names]
        if not columns:
            return [{} for _ in range(file.metadata.num_rows)]
        rows: list[dict[str, Any]] = file.read(columns=columns).to_pylist()
        return rows


def _draw_split(text: str, val_share: float, test_share: float) -> str:
    place = (stable_id("split:" + text) % 10**9) / 10**9
    return "val" if place < val_share else "test" if place < val_share + test_share else "train"
