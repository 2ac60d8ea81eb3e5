"""JSON and YAML files as plain data: limits of size and depth, and what kinds of values they have to hold.

Any of them may come from elsewhere, or be another file than its name says. What they can be wrong in ends in one
ValueError that names the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bind.files.reading import read_bytes

MAX_BYTES = 2**26
MAX_DEPTH = 64
"""Levels of lists and mappings within one another; a config has about eight."""

Kind = type | tuple[type, ...]


def read_json(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: naming the file, where it is missing, no regular file, too large, or no JSON.
    """
    return parse_json(read_bytes(path, max_bytes=max_bytes), str(path))


def parse_json(content: bytes | str, where: str) -> Any:
    """Parse JSON of at most `MAX_DEPTH` levels.

    Raises:
        ValueError: naming `where`.

    Examples:
        >>> parse_json(b'{"channels": ["acc_x"]}', "a.json")
        {'channels': ['acc_x']}
        >>> parse_json(b"[" * 100_000, "a.json")
        Traceback (most recent call last):
        ValueError: a.json: no readable JSON (more than 64 levels within one another); write or copy it again
    """
    try:
        value = json.loads(content)
        _limit_depth(value)
    except RecursionError:
        raise ValueError(_no_json(where, f"more than {MAX_DEPTH} levels within one another")) from None
    except ValueError as error:  # also of bytes that are no UTF-8
        raise ValueError(_no_json(where, str(error))) from error
    return value


def _no_json(where: str, reason: str) -> str:
    return f"{where}: no readable JSON ({reason}); write or copy it again"


def _limit_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [x for container in level for x in _inner(container)]
        if not level:
            return
    raise ValueError(f"more than {MAX_DEPTH} levels within one another")


def _inner(value: Any) -> Iterable[Any]:
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [x for x in values if isinstance(x, dict | list)]


def require_plain_yaml(path: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Raise ValueError, naming the file, unless it is YAML of plain values.

    Aliases are refused: a few lines of them stand for gigabytes.
    """
    import yaml

    content = read_bytes(path, max_bytes=max_bytes)
    depth = 0
    try:
        for event in yaml.parse(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ValueError(f"more than {MAX_DEPTH} levels within one another")
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it refers to a part of itself by an alias")
            tag = getattr(event, "tag", None)
            if tag is not None and not tag.startswith("tag:yaml.org,2002:"):
                raise ValueError(f"it holds {tag}, which is no plain value")
            if tag is not None and tag.startswith("tag:yaml.org,2002:python"):
                raise ValueError(f"it holds {tag}, which is no plain value")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: no readable YAML ({reason}); copy it again") from error


def require_kinds(
    value: Any, kinds: Mapping[str, Kind], where: str, *, optional: Mapping[str, Kind] | None = None
) -> dict[str, Any]:
    """`value`, where it is a mapping that holds values of these kinds.

    Args:
        kinds: of keys that it must have; True and False are no numbers.
        optional: of keys that it may have.

    Raises:
        ValueError: naming `where` and the key.

    Examples:
        >>> require_kinds({"version": 1}, {"version": int}, "binder.json")
        {'version': 1}
        >>> require_kinds({"version": "1"}, {"version": int}, "binder.json")
        Traceback (most recent call last):
        ValueError: binder.json: version is a str, not int
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where}: holds {_kind_name(value)}, not names with values")
    for name, kind in {**kinds, **(optional or {})}.items():
        if name not in value:
            if name in kinds:
                raise ValueError(f"{where}: has no {name}")
        elif not _is_of(value[name], kind):
            raise ValueError(f"{where}: {name} is {_kind_name(value[name])}, not {_kind_names(kind)}")
    return value


def require_each(values: Iterable[Any], is_right: Callable[[Any], bool], where: str, what: str) -> None:
    """Raise ValueError, naming `where`, unless all of `values` are right."""
    for value in values:
        if not is_right(value):
            raise ValueError(f"{where}: {str(value)[:60]!r} is not {what}")


def _is_of(value: Any, kind: Kind) -> bool:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)


def _kind_name(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _kind_names(kind: Kind) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
