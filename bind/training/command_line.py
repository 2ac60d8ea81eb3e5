"""Command lines as they would be typed, with some of their values replaced."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def command_with(arguments: Sequence[str], values: Mapping[str, Any]) -> str:
    """This process's command with these arguments, and these values in the place of those that they have for them."""
    kept = [a for a in arguments if a.split("=")[0] not in values]
    return shlex.join(["python", sys.argv[0], *kept, *(f"{name}={quoted(str(v))}" for name, v in values.items())])


def quoted(value: str) -> str:
    """In quotes where Hydra's grammar would take a character of it for more than a letter.

    Examples:
        >>> print(quoted("runs/mine"), quoted("my runs"))
        runs/mine 'my runs'
    """
    return value if re.fullmatch(r"[\w/.:@%+-]+", value) else "'" + value.replace("'", r"\'") + "'"
