"""Cells of a table as text, the same for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

MISSING = "–"
"""The cell of a figure that there is not."""


def describe_split(metrics: Mapping[str, Any]) -> str:
    """The split of figures, with the table where that is not the run's own.

    Examples:
        >>> describe_split({"split": "val"}), describe_split({"split": "test", "manifest": "/data/rooms.csv"})
        ('val split', 'test split of rooms.csv')
        >>> describe_split({"split": "test", "manifest": "/data/kitchen/manifest.csv"})
        'test split of kitchen/manifest.csv'
    """
    split = f"{metrics.get('split', 'unnamed')} split"
    if "manifest" not in metrics:
        return split
    table = Path(metrics["manifest"])
    return f"{split} of {table.parent.name + '/' if table.stem == 'manifest' else ''}{table.name}"


@dataclass(frozen=True)
class Cells:
    """A table as text: `sections` maps a heading (empty for none) to rows; the first column is left-aligned.

    Examples:
        >>> from rich.console import Console
        >>> from bind.report.terminal_table import print_cells
        >>> cells = Cells("Sounds", "all of them", ("name", "seconds"), {"": [("dog", "1.5"), ("rain", "12.0")]})
        >>> print_cells(cells, Console(force_terminal=False))
        Sounds
        <BLANKLINE>
         name seconds
         ────────────
         dog      1.5
         rain    12.0
        <BLANKLINE>
        all of them
        <BLANKLINE>
    """

    title: str
    caption: str
    headers: tuple[str, ...]
    sections: dict[str, list[tuple[str, ...]]]


def without_empty_columns(cells: Cells) -> Cells:
    """Without the columns that hold nothing."""
    rows = [row for section in cells.sections.values() for row in section]
    for column in reversed(range(len(cells.headers))):
        if all(row[column] == MISSING for row in rows):
            cells = without_column(cells, column)
    return cells


def without_column(cells: Cells, column: int) -> Cells:
    sections = {title: [_without(row, column) for row in rows] for title, rows in cells.sections.items()}
    return replace(cells, headers=_without(cells.headers, column), sections=sections)


def _without(row: tuple[str, ...], column: int) -> tuple[str, ...]:
    return row[:column] + row[column + 1 :]


def format_score(value: float | None, digits: int = 3) -> str:
    """A figure as a cell.

    Examples:
        >>> format_score(0.12345), format_score(None)
        ('0.123', '–')
    """
    return MISSING if value is None else f"{value:.{digits}f}"


def format_interval(bounds: Sequence[float] | None) -> str:
    """An interval as a cell.

    Examples:
        >>> format_interval([0.12, 0.205])
        '0.12–0.20'
    """
    return MISSING if bounds is None else f"{bounds[0]:.2f}–{bounds[1]:.2f}"
