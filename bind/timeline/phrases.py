"""Phrases of a text file, one a line, as labels or concepts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from bind.files.content import decode_text
from bind.files.reading import read_bytes

MAX_BYTES = 2**20
"""Of a file of phrases."""


def read_phrases(path: Path) -> Sequence[str]:
    """The phrases of a text file, one a line; empty lines are left out.

    Raises:
        ValueError: naming the file, where it is no text, has fewer than two phrases, or one of them twice.
    """
    lines = [line.strip() for line in decode_text(read_bytes(path, max_bytes=MAX_BYTES), path).splitlines()]
    phrases = [line for line in lines if line]
    if len(phrases) < 2:
        raise ValueError(f"{path}: {len(phrases)} phrase(s) in it; write two or more, one a line")
    return require_different(phrases, str(path))


def phrases_of(wanted: str, sets: Collection[str], modality: str) -> Sequence[str] | None:
    """The phrases in a file; None where a label set of the run is called so.

    Raises:
        ValueError: where it is neither, and for a file that is empty or has a phrase twice.
    """
    if wanted in sets:
        return None
    path = Path(wanted).expanduser()
    known = ", ".join(sets) or "none"
    if not path.is_file():
        raise ValueError(
            f"labels={wanted}: neither a label set of the run ({known}) nor a file. Write a file of phrases, one a "
            f"line, as the texts are that {modality} was trained with"
        )
    return read_phrases(path)


def require_different(phrases: Sequence[str], where: str) -> Sequence[str]:
    """`phrases`; ValueError, with `where`, where one is empty or there twice."""
    seen: set[str] = set()
    for number, phrase in enumerate(phrases, start=1):
        if not phrase.strip():
            raise ValueError(f"{where}: phrase {number} is empty. Leave it out")
        if phrase in seen:
            raise ValueError(f"{where}: {phrase!r} is there twice. Leave one out")
        seen.add(phrase)
    return phrases
