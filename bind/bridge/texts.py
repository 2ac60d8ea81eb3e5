"""Texts that a bridge learns to say: a file with one a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bind.files.content import decode_text
from bind.files.reading import read_bytes

MAX_BYTES = 2**28
MAX_HELD_OUT_SHARE = 0.1
MIN_DISTINCT = 20
"""Of fewer texts none is held out."""


def read_texts(path: Path) -> list[str]:
    """The texts of a file, one a line; empty lines are left out.

    Raises:
        ValueError: naming the file, where it is no text or has none.
    """
    lines = decode_text(read_bytes(path, max_bytes=MAX_BYTES), path).splitlines()
    texts = [text for line in lines if (text := " ".join(line.split()))]
    if not texts:
        raise ValueError(f"{path}: no text in it; write captions, one a line")
    return texts


def hold_out(texts: Sequence[str], num_held_out: int, seed: int) -> tuple[list[int], list[int]]:
    """The rows of texts that are trained on, and of those that are held out: all copies of a text are on one side.

    At most a tenth of the distinct texts and of the rows is held out; none of few texts, where each may be the only
    one that says what it says.

    Examples:
        >>> [len(rows) for rows in hold_out([f"thing {n % 50}" for n in range(100)], 200, seed=0)]
        [90, 10]
        >>> hold_out(["a dog", "a cat"] * 2, 200, seed=0)
        ([0, 1, 2, 3], [])
    """
    import torch  # which reading texts does not need

    rows_of: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        rows_of.setdefault(text.casefold(), []).append(row)
    copies = list(rows_of.values())
    num_left = min(num_held_out, int(MAX_HELD_OUT_SHARE * len(copies)) if len(copies) >= MIN_DISTINCT else 0)
    num_rows_left = int(MAX_HELD_OUT_SHARE * len(texts))
    held_out: set[int] = set()
    for place in torch.randperm(len(copies), generator=torch.Generator().manual_seed(seed)).tolist():
        rows = copies[place]
        if num_left and len(rows) <= num_rows_left:
            held_out.update(rows)
            num_left, num_rows_left = num_left - 1, num_rows_left - len(rows)
    return [row for row in range(len(texts)) if row not in held_out], sorted(held_out)


def count_distinct(texts: Iterable[str]) -> int:
    """How many texts there are, copies counted once.

    Examples:
        >>> count_distinct(["a dog", "A dog", "a cat"])
        2
    """
    return len({text.casefold() for text in texts})
