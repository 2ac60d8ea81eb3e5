"""Document of an explanation: one file without scripts that needs no network."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from bind.files.writing import write_text

NUMBER = re.compile(r"[+-]?[0-9][0-9,.]*( of [0-9,]+)?|–")
"""A cell of a column of numbers."""


def write_document(path: Path, title: str, parts: Iterable[str]) -> None:
    """Write a page of these parts of HTML; its policy lets nothing run, and shows no picture but those within it."""
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    write_text(
        path,
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)} · bind</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n",
    )


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
