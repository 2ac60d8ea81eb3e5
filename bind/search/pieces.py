"""Pieces of an index: vectors that other processes have embedded, each a file that the writer of the index takes in.

A piece that nobody takes in, because its writer was killed, is deleted by the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from bind.files.reading import reading
from bind.files.writing import open_atomically
from bind.search.rows import table_of_rows

FOLDER = "pieces"
VECTOR = "embedding"
"""A column that a table of an index can't have."""


def write_piece(folder: Path, name: str, vectors_ND: Tensor, cells: Sequence[Mapping[str, Any]]) -> None:
    """Write vectors and the cells of each, of which `key` is one.

    Args:
        folder: of the index.
        name: unlike that of any other piece of this or another writer.

    Raises:
        OSError: naming the file that can't be written.
    """
    names = dict.fromkeys(name for row in cells for name in row)
    table = table_of_rows({column: [row.get(column) for row in cells] for column in names})
    flat = pa.array(vectors_ND.float().contiguous().reshape(-1).numpy())
    table = table.append_column(VECTOR, pa.FixedSizeListArray.from_arrays(flat, vectors_ND.shape[1]))
    (folder / FOLDER).mkdir(exist_ok=True)
    with open_atomically(_path(folder, name)) as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def take_piece(folder: Path, name: str) -> tuple[Tensor, list[dict[str, Any]]]:
    """Read what `write_piece` wrote, and delete it.

    Raises:
        ValueError: naming the file, where it is not there or damaged.
    """
    path = _path(folder, name)
    with reading(path, "not readable as a piece of an index", "All machines need the index under the same path"):
        table = pa.ipc.open_file(path.read_bytes()).read_all().combine_chunks()
        column = table.column(VECTOR).combine_chunks()
        vectors_ND: np.ndarray = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1).copy()
        cells = table.drop_columns([VECTOR]).to_pylist()
    path.unlink()
    return torch.from_numpy(vectors_ND), cells


def _path(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.arrow"
