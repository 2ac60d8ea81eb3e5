"""An index that a Ray cluster makes: workers embed pieces, and this process, which owns the index, takes them in."""

from __future__ import annotations

import functools
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from bind.commands.cache import own_device
from bind.commands.on_ray import spread
from bind.search.embedding import EmbeddingTask, committing, embed_rows
from bind.search.pieces import take_piece, write_piece
from bind.search.store import IndexStore

PIECE_BATCHES = 32
"""Of a piece: what is embedded again where a worker dies."""


def embed_on_ray(store: IndexStore, task: EmbeddingTask) -> int:
    """What `bind.search.embedding.embed_source` does, by the workers of a cluster that sees the index's folder too.

    Raises:
        ValueError: naming the file that a worker can't read, or for what kills every worker.
        OSError: naming the file that can't be written.
    """
    rows = task.missing_rows(store)
    starts = range(0, len(rows), PIECE_BATCHES * task.batch_size)
    pieces = [(number, rows[start : start + PIECE_BATCHES * task.batch_size]) for number, start in enumerate(starts)]
    call = secrets.token_hex(8)  # no worker that a killed call has left writes a piece of this one
    begin = functools.partial(_begin, task, store.folder.absolute(), call)
    done = track(
        spread(begin, pieces, num_cpus=1 + task.num_workers, use_gpus=True),
        f"index {task.split} {task.modality}",
        len(pieces),
        transient=True,
        disable=not sys.stdout.isatty(),
    )
    with committing(store, task.modality) as pending:
        for number in done:
            pending.add(*take_piece(store.folder, _name(call, number)))
    return pending.num_vectors


def _begin(task: EmbeddingTask, folder: Path, call: str) -> Callable[[tuple[int, np.ndarray]], int]:
    """In a worker: the binder on its device, and the function that embeds a piece and gives its number."""
    task.binder.to(own_device())

    def embed(piece: tuple[int, np.ndarray]) -> int:
        number, rows = piece
        batches = list(embed_rows(task, rows))
        vectors_ND = torch.cat([z_ND for z_ND, _ in batches])
        write_piece(folder, _name(call, number), vectors_ND, [row for _, cells in batches for row in cells])
        return number

    return embed


def _name(call: str, number: int) -> str:
    return f"{call}-{number}"
