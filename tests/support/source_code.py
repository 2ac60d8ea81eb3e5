"""The package's code as text and as syntax trees, read and parsed once for all tests that walk over it."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "bind"


def module_name(path: Path) -> str:
    """The name within `bind`: `data.plan`; of a room's own file `data`, of the package's `__init__`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
"""Name → text of every module of `bind`."""

parse = functools.cache(ast.parse)


@functools.cache
def statements_of(source: str) -> tuple[ast.AST, ...]:
    """The module and every statement in it, also in functions and classes; few of all its nodes."""
    statements: list[ast.AST] = [parse(source)]
    for node in statements:  # which grows
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            statements += getattr(node, part, ())
    return tuple(statements)


@functools.cache
def nodes_of(source: str) -> tuple[ast.AST, ...]:
    """Every node of a text's syntax tree."""
    return tuple(ast.walk(parse(source)))
