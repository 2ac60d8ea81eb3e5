"""Code of the user's own that decides vectors: a cache is keyed by it, since a class that was edited keeps its name."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from bind.build import is_library
from bind.types import FrozenTower, Modality

MAX_DEPTH = 4
"""Objects within a transform that are looked into."""


def hash_own_code(tower: FrozenTower, modality: Modality) -> str:
    """A hash of the modules that define the classes of a tower and of one transform, where they are the user's own.

    A module counts as a whole, as a class may call anything in it; comments and blank lines don't. Modules of bind, of
    Python and of installed packages are left out: those of bind have versions, and packages are not edited.

    Returns:
        12 hexadecimal digits; "" where no class is the user's own, or where no file holds its code, as in a notebook.
    """
    classes = {cls for part in (tower, tower.transforms[modality]) for cls in classes_of(part)}
    modules = {base.__module__ for cls in classes for base in cls.__mro__}
    codes = {name: code for name in sorted(modules) if (code := _read_own_module(name))}
    if not codes:
        return ""
    # Not their names: a script is __main__ when it is run, and has its own name when it is imported.
    return hashlib.blake2b("\0".join(sorted(codes.values())).encode(), digest_size=6).hexdigest()


def classes_of(part: Any, depth: int = MAX_DEPTH) -> Iterator[type]:
    """The class of an object and of what it keeps: of a module its layers, of anything else its attributes.

    Examples:
        >>> sorted(cls.__name__ for cls in classes_of(nn.Sequential(nn.Linear(2, 2), nn.GELU())))
        ['GELU', 'Linear', 'Sequential']
    """
    if isinstance(part, nn.Module):
        yield from {type(module) for module in part.modules()}
        return
    yield type(part)
    if depth == 0:
        return
    if isinstance(part, Mapping):
        kept = list(part.values())
    else:
        kept = list(part) if isinstance(part, list | tuple) else list(getattr(part, "__dict__", {}).values())
    for inner in kept:
        yield from classes_of(inner, depth - 1)


def _read_own_module(name: str) -> str:
    """The code of a module of the user, without comments; "" of any other, and where there is no file of it."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or name.split(".")[0] == "bind" or is_library(Path(file)):
        return ""
    try:
        return ast.unparse(ast.parse(Path(file).read_bytes()))
    except (OSError, SyntaxError, ValueError):  # being edited, or no Python
        return ""
