"""Sizes that a training finds by itself, `data.batch_size=auto` and `data.chunk_size=auto`, in its config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bind.training.callbacks.auto_batch import AUTO, AutoBatch
from bind.training.checkpoints import read_checkpoint
from bind.training.hydra_private import is_multirun

PLACEHOLDER_ROWS = 1
"""Of the batches of a data module whose size is still to be found: any data has as many."""


def auto_keys(data: Mapping[str, Any]) -> list[str]:
    """Which of the sizes of a config's `data` are to be found.

    Examples:
        >>> auto_keys({"batch_size": "auto", "chunk_size": None})
        ['batch_size']
    """
    return [name for name in ("batch_size", "chunk_size") if data[name] == AUTO]


def fixed(data: Mapping[str, Any], name: str) -> Any:
    """The size `name` as long as it is not found."""
    return {"batch_size": PLACEHOLDER_ROWS, "chunk_size": None}[name] if data[name] == AUTO else data[name]


def make_auto_batch(config: Mapping[str, Any], checkpoint: Path | None) -> AutoBatch | None:
    """What finds the sizes that are `auto`; those that the training of `checkpoint` found go into `config`.

    Raises:
        ValueError: in a sweep, whose jobs would train with batches of different sizes and be compared all the same.
    """
    data = config["data"]
    if not (names := auto_keys(data)):
        return None
    if is_multirun() and "batch_size" in names:
        raise ValueError(
            "data.batch_size=auto in a sweep: its jobs would have batches of different sizes, which changes what they "
            "reach. Start one training with auto, and give the sweep the number that it prints"
        )
    callback = AutoBatch(data["batch_size"], data["chunk_size"])
    earlier = {}
    if checkpoint is not None:
        earlier = read_checkpoint(checkpoint).get("callbacks", {}).get(callback.state_key, {})
    for name in names:
        if name in earlier and earlier[name] != AUTO:
            data[name] = earlier[name]
            setattr(callback, name, earlier[name])
    return callback


def describe_sizes(names: Sequence[str], batch_size: int, chunk_size: int | None) -> str:
    """What was found, in one line.

    Examples:
        >>> describe_sizes(["batch_size"], 256, None)
        'data.batch_size=auto: 256 rows'
        >>> describe_sizes(["batch_size", "chunk_size"], 4096, 64)
        'data.batch_size=auto: 4,096 rows; data.chunk_size=auto: 64 rows'
    """
    rows = {"batch_size": batch_size, "chunk_size": chunk_size}
    return "; ".join(
        f"data.{name}=auto: {'the whole batch' if rows[name] is None else f'{rows[name]:,} rows'}" for name in names
    )
