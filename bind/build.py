"""Builder of objects from a config's dicts with a `_target_`, for trusted classes only."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

ANY_CLASS: tuple[str, ...] = ("*",)
"""Trust for a config that the user wrote: any class that imports."""


def build(config: Mapping[str, Any], *, trust: Sequence[str] = (), **extra: Any) -> Any:
    """Construct the object that `config["_target_"]` names with the other keys and `extra`.

    Args:
        config: plain dict; nested dicts with a `_target_` are built too.
        trust: top-level packages besides `bind` whose classes may be constructed (`("mypackage",)`), or `ANY_CLASS`.
        extra: keyword arguments that only code knows (a dimension, a processor); they win over the config's.

    Raises:
        ValueError: where the target is missing, does not import, is not a class, comes from a package that is not
            trusted, or does not take the arguments.

    Examples:
        >>> head = build({"_target_": "bind.encoders.heads.ProjectionHead", "dropout": 0.1}, num_features=256, dim=128)
        >>> head.dropout
        Dropout(p=0.1, inplace=False)
        >>> build({"_target_": "os.system", "command": "ls"})
        Traceback (most recent call last):
        ValueError: os.system is outside the trusted packages ('bind',); pass trust=['os']
    """
    target = config.get("_target_")
    if not isinstance(target, str):
        raise ValueError(f"this part of the config has no _target_: {dict(config)}")
    arguments = {
        key: build(value, trust=trust) if isinstance(value, Mapping) and "_target_" in value else value
        for key, value in config.items()
        if key != "_target_"
    }
    cls = locate_class(target, trust)
    try:
        inspect.signature(cls).bind(**{**arguments, **extra})
    except TypeError as error:
        known = ", ".join(inspect.signature(cls).parameters)
        raise ValueError(f"{target}: {error}; it takes: {known}") from error
    return cls(**{**arguments, **extra})


def locate_class(target: str, trust: Sequence[str] = ()) -> type:
    """Find the class at the dotted path `target`, if its own package is trusted.

    The package is that of the class itself, so a trusted module that imports `os` does not lend its trust to it.

    Raises:
        ValueError: as in `build`.
    """
    module_name, _, name = target.rpartition(".")
    allowed = ("bind", *trust)
    if "*" not in allowed and target.split(".")[0] not in allowed:
        raise ValueError(f"{target} is outside the trusted packages {allowed}; pass trust=['{target.split('.')[0]}']")
    try:
        cls = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"_target_ {target} can't be imported: {error}; is its package installed?") from error
    if not inspect.isclass(cls):
        raise ValueError(f"_target_ {target} is not a class; name a class with typed keyword arguments")
    if "*" not in allowed and cls.__module__.split(".")[0] not in allowed:
        raise ValueError(f"{target} is really {cls.__module__}.{name}, outside the trusted packages {allowed}")
    return cls
