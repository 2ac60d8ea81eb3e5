"""Files that a command line names, by paths and patterns, and what each is embedded as."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from bind.data.sources.splits import list_some
from bind.media.kinds import readable_modalities
from bind.types import Modality


def match_files(patterns: Sequence[str]) -> list[str]:
    """The files of paths and patterns (`*`, `?`, `**` for folders within folders), each once, `2.wav` before `10.wav`.

    Raises:
        ValueError: for one that matches no file.
    """
    matches: dict[str, None] = {}
    for pattern in patterns:
        path = os.path.expanduser(str(pattern))
        names = [path] if os.path.isfile(path) else sorted(glob.glob(path, recursive=True), key=by_numbers)
        files = [name for name in names if os.path.isfile(name)]
        if not files:
            hint = f"; for all files below it, files='{path.rstrip('/')}/**/*'" if os.path.isdir(path) else ""
            raise ValueError(f"files={pattern}: no such file{hint}. Patterns count from {Path.cwd()}")
        matches |= dict.fromkeys(files)
    return list(matches)


def require_file(key: str, value: str) -> Path:
    """The path that `KEY=VALUE` names; ValueError unless it is a file."""
    path = Path(str(value)).expanduser()
    if not path.is_file():
        raise ValueError(f"{key}={value}: no such file. Paths count from {Path.cwd()}")
    return path


def by_numbers(name: str) -> list[tuple[int, str]]:
    """A key to sort names by, in which numbers count as numbers.

    Examples:
        >>> sorted(["a/10.wav", "a/9.wav", "a/b.wav", "a/1.wav"], key=by_numbers)
        ['a/1.wav', 'a/9.wav', 'a/10.wav', 'a/b.wav']
    """
    parts = re.split(r"(\d+)", name)  # words and numbers by turns
    return [(int(part), part) if place % 2 else (-1, part) for place, part in enumerate(parts)]


def modality_of(file: str, known: Sequence[Modality], chosen: Sequence[Modality]) -> Modality:
    """What a file is embedded as: the one chosen modality, or the only one of the `known` that its suffix allows.

    Examples:
        >>> modality_of("a/dog.wav", ["image", "text", "audio"], [])
        'audio'
        >>> modality_of("clip.mp4", ["image", "text", "audio"], [])
        Traceback (most recent call last):
        ValueError: clip.mp4 may be image or audio: add modalities=[image] or another of them
    """
    if len(chosen) > 1 or "text" in chosen:
        raise ValueError("modalities: of files=, name one modality that has files; texts stand in a manifest")
    if chosen and chosen[0] not in known:
        raise ValueError(f"modalities: {chosen[0]} unknown to the run; it embeds {list_some(list(known))}")
    possible = list(chosen) or readable_modalities(Path(file).suffix, known)
    if not possible:
        raise ValueError(
            f"{file}: no modality of this run ({', '.join(known)}) is read from {Path(file).suffix or 'such'} files; "
            "name one with modalities=[…], or leave the file out of files="
        )
    if len(possible) > 1:
        raise ValueError(f"{file} may be {' or '.join(possible)}: add modalities=[{possible[0]}] or another of them")
    return possible[0]
