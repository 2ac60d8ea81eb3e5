"""Parts of the pages of explanations: their style, tables, and the words that concepts are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from bind.report.document import SAMPLES_STYLE

STYLES = (SAMPLES_STYLE, Path(__file__).parent / "page.css")
NUMBER = re.compile(r"[+-]?[0-9][0-9,.]*( of [0-9,]+)?|–")
"""A cell of a column of numbers."""


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of escaped cells, which scrolls by itself where it is too wide; numbers stand to the right."""
    columns = [' class="number"' if all(map(NUMBER.fullmatch, column)) else "" for column in zip(*rows, strict=True)]
    columns = columns or [""] * len(headers)
    cells_of_rows = [zip(row, columns, strict=True) for row in rows]
    head = "".join(f'<th scope="col"{k}>{escape(name)}</th>' for name, k in zip(headers, columns, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{k}>{escape(cell)}</td>" for cell, k in row) + "</tr>\n" for row in cells_of_rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def words_list(words: Sequence[str]) -> str:
    """The words that vectors are mixtures of, folded."""
    listed = escape(", ".join(words))
    return f"<details><summary>The {len(words):,} words that concepts are drawn from</summary><p>{listed}</p></details>"
