"""Lists of shards from what a user writes: a folder, a file, a URL or a pattern."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from bind.data.sources.shards.objects import list_files
from bind.data.sources.shards.remote import (
    is_in_object_store,
    is_remote,
    read_whole,
    read_with_retries,
    require_known_scheme,
    shown,
)
from bind.files.plain_data import parse_json, require_kinds

Shards = str | Sequence[str]
"""A folder, a file, a URL, a pattern, or several of them; see `find_shards`."""

LISTING = "shards.json"
"""What `bindspace pack` writes last: a folder that has it is whole, and over HTTP it stands for a listing."""

MAX_SHARDS = 1_000_000


def find_shards(pattern: Shards) -> list[str]:
    """Paths or URLs of `.tar` files: of a folder, a glob (`*`), brace patterns (`{000..127}`, `{a,b}`), or several.

    Raises:
        ValueError: where nothing is found, something is no `.tar`, or a shard comes twice.
    """
    patterns = [pattern] if isinstance(pattern, str) else list(pattern)
    written = ", ".join(map(shown, patterns))
    shards = [shard for braced in patterns for plain in expand_braces(braced) for shard in _find(plain)]
    if not shards:
        raise ValueError(f"data.shards={written}: no shards there")
    for shard in shards:
        if not shard.split("?")[0].endswith(".tar"):
            raise ValueError(
                f"{shown(shard)}: a shard ends in .tar. Name a folder of shards, or tars; compressed ones can't be "
                "read at an offset: unpack them first"
            )
    if len(set(shards)) != len(shards):
        twice = next(shard for shard in shards if shards.count(shard) > 1)
        raise ValueError(f"data.shards={written}: {shown(twice)} comes twice")
    return shards


def expand_braces(pattern: str) -> list[str]:
    """Every pattern without braces: `a{00..02}b` → a00b, a01b, a02b; `{x,y}` → x, y; several multiply."""
    parts = re.split(r"\{([^{}]*)\}", pattern)
    choices: list[list[str]] = []
    total = 1
    for number, part in enumerate(parts):
        choices.append([part] if number % 2 == 0 else _choices(part, pattern))
        total *= len(choices[-1])
        if total > MAX_SHARDS:
            raise ValueError(f"data.shards={pattern}: more than {MAX_SHARDS} shards")
    return ["".join(parts) for parts in product(*choices)]


def absolute_shards(shards: Shards | Mapping[str, Shards]) -> Any:
    """Make local patterns absolute, so that a run can be evaluated from any folder; URLs stay as they are."""
    if isinstance(shards, Mapping):
        return {split: absolute_shards(pattern) for split, pattern in shards.items()}
    if not isinstance(shards, str):
        return [absolute_shards(pattern) for pattern in shards]
    return shards if is_remote(shards) else os.path.abspath(shards)


def _choices(braced: str, pattern: str) -> list[str]:
    if match := re.fullmatch(r"(\d+)\.\.(\d+)", braced):
        first, last = match.groups()
        if int(last) - int(first) >= MAX_SHARDS:
            raise ValueError(f"data.shards={pattern}: more than {MAX_SHARDS} shards")
        return [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    if "," not in braced:
        raise ValueError(f"data.shards={pattern}: {{{braced}}} is neither {{000..127}} nor {{a,b}}")
    return braced.split(",")


def _find(pattern: str) -> list[str]:
    if is_remote(pattern):
        return _find_remote(pattern)
    path = Path(pattern)
    if path.is_dir():
        if (path / LISTING).is_file():
            return [str(path / name) for name in read_listing((path / LISTING).read_bytes(), str(path / LISTING))]
        return sorted(map(str, path.glob("*.tar")))
    if not path.is_file() and glob.has_magic(pattern):
        return sorted(glob.glob(pattern))
    if not path.is_file():
        raise ValueError(f"{path}: no such shard; check data.shards")
    return [pattern]


def _find_remote(pattern: str) -> list[str]:
    require_known_scheme(pattern)
    address = pattern.partition("?")[0]
    if address.endswith(".tar") and "*" not in address:
        return [pattern]
    if "*" in address:
        if not is_in_object_store(pattern):
            raise ValueError(
                f"{shown(pattern)}: web servers list nothing; write a brace pattern such as {{000000..000127}}.tar"
            )
        return read_with_retries(pattern, lambda seconds: list_files(pattern, seconds))
    folder = pattern.rstrip("/")
    content = read_whole(f"{folder}/{LISTING}", missing_ok=True)
    if content is None:
        raise ValueError(
            f"{shown(folder)}: no {LISTING} there, which bindspace pack writes; name the shards: "
            f"{shown(folder)}/{{000000..000127}}.tar"
        )
    return [f"{folder}/{name}" for name in read_listing(content, shown(f"{folder}/{LISTING}"))]


def read_listing(content: bytes, where: str) -> list[str]:
    """The names in a `shards.json`; ValueError, naming `where`, where it is none."""
    try:
        names = require_kinds(parse_json(content, where), {"shards": list}, where)["shards"]
        if not all(isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]+\.tar", name) for name in names):
            raise ValueError("names of shards are plain")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{where}: not a list of shards ({error})") from error
    return list(names)
