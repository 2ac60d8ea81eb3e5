"""Values of options of commands that read `KEY=VALUE` themselves."""

from __future__ import annotations


def read_number(key: str, value: str) -> int:
    """A whole number above 0; ValueError for anything else."""
    if not value.isascii() or not value.isdecimal() or int(value) < 1:
        raise ValueError(f"{key}={value}: give a whole number above 0")
    return int(value)


def read_flag(key: str, value: str) -> bool:
    """`true` or `false`; ValueError for anything else."""
    if value.lower() not in ("true", "false"):
        raise ValueError(f"{key}={value}: give true or false")
    return value.lower() == "true"
