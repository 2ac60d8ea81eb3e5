"""Texts that a bridge learns to say: a file with one a line."""

from __future__ import annotations

from pathlib import Path

import torch

from bind.files.content import decode_text
from bind.files.reading import read_bytes

MAX_BYTES = 2**28
MAX_HELD_OUT_SHARE = 0.1


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


def hold_out(num_texts: int, num_held_out: int, seed: int) -> tuple[list[int], list[int]]:
    """Which texts are trained on and which are held out, at most a tenth.

    Examples:
        >>> [len(rows) for rows in hold_out(100, 200, seed=0)]
        [90, 10]
    """
    order = torch.randperm(num_texts, generator=torch.Generator().manual_seed(seed)).tolist()
    num_trained = num_texts - min(num_held_out, int(MAX_HELD_OUT_SHARE * num_texts))
    return sorted(order[:num_trained]), sorted(order[num_trained:])
