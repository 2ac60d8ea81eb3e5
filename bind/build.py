"""Builder of objects from a config's dicts with a `_target_`, for classes that belong there.

A config of the user may name any class. In one that came from elsewhere each part has its slot, a package of bind.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ANY_CLASS: tuple[str, ...] = ("*",)
"""Trust for a config that the user wrote: any class that imports."""

SLOTS = {
    "anchor": "bind.anchors",
    "encoder": "bind.encoders",
    "head": "bind.encoders.heads",
    "transform": "bind.data.transforms",
    "fusion": "bind.fusion",
    "loss": "bind.losses",
    "source": "bind.data.sources",
    "mapper": "bind.bridge.mappers",
}
"""The parts of a config, and the package of bind whose classes may stand there."""


def build(config: Mapping[str, Any], slot: str | None = None, *, trust: Sequence[str] = (), **extra: Any) -> Any:
    """Construct the object that `config["_target_"]` names with the other keys and `extra`.

    Args:
        config: plain dict; nested dicts with a `_target_` are built too, as parts of the same slot, and where there is
            a slot at any depth.
        slot: one of `SLOTS`, to whose package of bind the class has to belong; None: to any room of bind.
        trust: packages whose classes may stand in any slot (`("mypackage",)`), or `ANY_CLASS`.
        extra: keyword arguments that only code knows (a dimension, a processor); they win over the config's.

    Raises:
        ValueError: where the target is missing, does not import, is not a class, does not belong to the slot, or does
            not take the arguments.

    Examples:
        >>> config = {"_target_": "bind.encoders.heads.ProjectionHead", "dropout": 0.1}
        >>> head = build(config, "head", num_features=256, dim=128)
        >>> head.dropout
        Dropout(p=0.1, inplace=False)
        >>> build({"_target_": "os.system", "command": "ls"}, "head")
        Traceback (most recent call last):
        ValueError: os.system is outside the trusted packages: give head a public class of bind.encoders.heads
    """
    target = config.get("_target_")
    if not isinstance(target, str):
        raise ValueError(f"this part of the config has no _target_: {dict(config)}")
    cls = locate_class(target, slot, trust)
    arguments = {key: _build_within(value, slot, trust) for key, value in config.items() if key != "_target_"}
    try:
        inspect.signature(cls).bind(**{**arguments, **extra})
    except TypeError as error:
        known = ", ".join(inspect.signature(cls).parameters)
        raise ValueError(f"{target}: {error}; it takes: {known}") from error
    return cls(**{**arguments, **extra})


def _build_within(value: Any, slot: str | None, trust: Sequence[str]) -> Any:
    """`value`, built where it names a class; with a slot the objects that mappings within it name are built too."""
    if not isinstance(value, Mapping):
        return value
    if "_target_" in value:
        return build(value, slot, trust=trust)
    if slot is None:
        return value
    return {key: _build_within(inner, slot, trust) for key, inner in value.items()}


def locate_class(target: str, slot: str | None = None, trust: Sequence[str] = ()) -> type:
    """Find the class at the dotted path `target`, if it belongs to `slot` or its own package is trusted.

    What counts is where the class itself is defined, so a module that imports `os` does not lend its place to it, and
    nothing is imported before its path is known to be allowed.

    Raises:
        ValueError: as in `build`.
    """
    module_name, _, name = target.rpartition(".")
    if not _is_allowed(target, slot, trust):
        raise ValueError(f"{target} {_refusal(target, slot)}")
    try:
        cls = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"_target_ {target} can't be imported: {error}; is its package installed?") from error
    if not inspect.isclass(cls):
        raise ValueError(f"_target_ {target} is not a class; name a class with typed keyword arguments")
    if not _is_allowed(real := f"{cls.__module__}.{cls.__qualname__}", slot, trust):
        raise ValueError(f"{target} is really {real}, which {_refusal(real, slot)}")
    return cls


def _is_allowed(path: str, slot: str | None, trust: Sequence[str]) -> bool:
    if "*" in trust or path.split(".")[0] in trust:
        return True
    is_private = any(part.startswith("_") for part in path.split("."))
    return path.startswith(f"{SLOTS[slot] if slot else 'bind'}.") and not is_private


def _refusal(path: str, slot: str | None) -> str:
    """Why a class may not stand in a slot. What to trust is said of packages of the user only, never of libraries."""
    place = f"give {slot} a public class of {SLOTS[slot]}" if slot else "name a public class of bind"
    package = path.split(".")[0]
    if not package.isidentifier() or package == "bind":
        return f"is outside the trusted packages: {place}"
    file = _file_of(package)
    if file is None and package not in sys.stdlib_module_names:
        return (
            f"is outside the trusted packages, and no module {package} is found here: {place}, or, where {package} is "
            "yours, make it importable (PYTHONPATH=FOLDER, or pip install -e .)"
        )
    if file is None or is_library(file):
        return f"is outside the trusted packages: {place}"
    return (
        f"is code outside the trusted packages, in {file}: where you know what it does, pass trust=[{package!r}] "
        f"(on the command line trust=[{package}]), and it may run"
    )


def _file_of(package: str) -> Path | None:
    """The file of a package, not imported, or the folder of one without a file; None where it is not there."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    places = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
    return next((Path(place) for place in places if place and place not in ("built-in", "frozen")), None)


def is_library(file: Path) -> bool:
    """Whether a module comes with Python, or was installed: its file is not the user's own."""
    folders = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    is_installed = bool({"site-packages", "dist-packages"} & set(file.parts))
    return is_installed or any(file.is_relative_to(folder) for folder in folders)
