"""Files of a part: its vectors, the rounded copy that is scanned, and its table, mapped into memory.

NAME.vectors   (N, D) fp16, row after row
NAME.scan      (N, D) bf16 or int8, where that is scanned in their place
NAME.scales    (N,) fp32, of int8
NAME.table     Arrow IPC: key, number, split, group, label, owner, path, start_seconds, end_seconds, caption, more
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from bind.files.checksums import checksum_of_file
from bind.files.reading import reading, require_regular_file
from bind.files.writing import open_atomically
from bind.search.listing import IndexPart
from bind.search.rounding import round_vectors
from bind.search.rows import require_row_schema
from bind.types import Modality

FOLDER = "parts"
NORM_TOLERANCE = 0.01
BATCH_ROWS = 8192
"""Of a table: what is looked up of a row is read with as many others."""
DAMAGED = (
    "is not as it was written; bindspace index out=INDEX repair=true puts damaged parts aside, and the same "
    "bindspace index … then makes what they held again"
)


def write_part(
    folder: Path, name: str, modality: Modality, vectors_ND: Tensor, table: pa.Table, *, scan: str
) -> IndexPart:
    """Write the files of a part; it belongs to an index once its listing names it.

    Raises:
        ValueError: for vectors that are not finite or not of norm 1.
        OSError: naming the file that can't be written.
    """
    stored_ND = vectors_ND.detach().cpu().half().contiguous()
    norms_N = stored_ND.float().norm(dim=1)
    wrong_N = ~((norms_N - 1).abs() <= NORM_TOLERANCE)
    if wrong_N.any():
        row = int(wrong_N.nonzero()[0, 0])
        key = table.column("key")[row].as_py()
        raise ValueError(f"the {modality} vector of key {key!r} has norm {float(norms_N[row]):g}: give unit vectors")
    copy_ND, scales_N, residual = round_vectors(stored_ND, scan)
    (folder / FOLDER).mkdir(exist_ok=True)
    files: dict[str, Tensor | None] = {"vectors": stored_ND, "scan": copy_ND, "scales": scales_N}
    checksums = {}
    for kind, tensor in files.items():
        if tensor is not None:
            path = _path(folder, name, kind)
            with open_atomically(path) as file:
                file.write(tensor.contiguous().view(torch.uint8).numpy().data.cast("B"))
            checksums[kind] = checksum_of_file(path)
    path = _path(folder, name, "table")
    with open_atomically(path) as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=BATCH_ROWS)
    checksums["table"] = checksum_of_file(path)
    max_norm = float(norms_N.max()) * (1 + 2.0**-20)
    return IndexPart(name, modality, len(stored_ND), max_norm, scan, residual, checksums)


def files_of(folder: Path, name: str) -> list[Path]:
    """The files that a part of this name may have."""
    return [_path(folder, name, kind) for kind in ("vectors", "scan", "scales", "table")]


def _path(folder: Path, name: str, kind: str) -> Path:
    return folder / FOLDER / f"{name.rjust(8, '0')}.{kind}"


class OpenPart:
    """A part whose files are mapped where they are used; each is compared with its checksum before that, once.

    Args:
        folder: of the index.
        part: what its listing says.
        dim: D.
        verify: compare vectors with their checksums too; tables always are.

    Raises:
        ValueError: naming the file, when one is used that is missing, too short, or not as it was written.
    """

    def __init__(self, folder: Path, part: IndexPart, dim: int, *, verify: bool = True) -> None:
        self.folder, self.part, self.dim, self.verify = folder, part, dim, verify

    def __len__(self) -> int:
        return self.part.num_vectors

    def require_sizes(self) -> None:
        """Raise ValueError unless the files of vectors are there and as long as the listing says."""
        for kind in self.part.checksums:
            if kind != "table":
                self._require_size(kind)

    @functools.cached_property
    def vectors(self) -> Tensor:
        """The vectors, fp16, mapped."""
        return self._map("vectors", np.float16).view(len(self), self.dim)

    @functools.cached_property
    def scanned(self) -> Tensor:
        """What is scanned, mapped: fp16, bf16 or int8."""
        if self.part.scan == "fp16":
            return self.vectors
        if self.part.scan == "bf16":
            return self._map("scan", np.int16).view(torch.bfloat16).view(len(self), self.dim)
        return self._map("scan", np.int8).view(len(self), self.dim)

    @functools.cached_property
    def scales(self) -> Tensor | None:
        """Scales of the rows of int8."""
        return self._map("scales", np.float32) if self.part.scan == "int8" else None

    @functools.cached_property
    def table(self) -> pa.Table:
        """What is known of each vector, mapped."""
        path = _path(self.folder, self.part.name, "table")
        with reading(path, "not readable as a table of an index", DAMAGED):
            self._require_checksum("table")
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            table.validate(full=True)
            require_row_schema(table.schema, str(path))
            if table.num_rows != len(self):
                raise ValueError(f"{path}: has {table.num_rows} rows, its listing says {len(self)}")
        return table

    def _map(self, kind: str, dtype: Any) -> Tensor:
        path = self._require_size(kind)
        if self.verify:
            self._require_checksum(kind)
        # A private mapping, which torch takes for writable without ever writing.
        return torch.from_numpy(np.asarray(np.memmap(path, dtype, mode="c")))

    def _require_size(self, kind: str) -> Path:
        path = _path(self.folder, self.part.name, kind)
        widths = {"vectors": 2 * self.dim, "scales": 4, "scan": (2 if self.part.scan == "bf16" else 1) * self.dim}
        require_regular_file(path, DAMAGED)
        num_bytes = len(self) * widths[kind]
        if path.stat().st_size != num_bytes:
            raise ValueError(f"{path}: has {path.stat().st_size} bytes, not {num_bytes}: it {DAMAGED}")
        return path

    def _require_checksum(self, kind: str) -> None:
        path = _path(self.folder, self.part.name, kind)
        require_regular_file(path, DAMAGED)
        if checksum_of_file(path) != self.part.checksums[kind]:
            raise ValueError(f"{path}: {DAMAGED}")

    def require_as_written(self) -> None:
        """Raise ValueError, naming the file, unless all files are as they were written."""
        self.require_sizes()
        for kind in self.part.checksums:
            self._require_checksum(kind)
        assert self.table.num_rows


def row_columns(table: pa.Table, rows: np.ndarray) -> Mapping[str, list[Any]]:
    """The cells of some rows, as lists."""
    return {str(name): values for name, values in table.take(pa.array(rows)).to_pydict().items()}
