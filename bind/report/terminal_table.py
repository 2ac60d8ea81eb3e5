"""Tables in a terminal, a file or a pipe (rich)."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bind.report.cells import Cells, without_column
from bind.terminal import PrintableConsole, printable

_LEFT_OUT_FIRST = (
    "mAP", "R@5", "median\nrank", "recall\n@10", "95 % CI", "expected\nbest", "top-5", "R@10", "queries\n/pool",
)  # fmt: skip
"""Columns that a narrow terminal does without, in this order."""


def print_cells(cells: Cells, console: Console | None = None) -> None:
    """Print a table: in full into a file or pipe, without minor columns on a narrow terminal."""
    console = console or PrintableConsole()
    if console.is_terminal:
        console.print(_rich_table(_fitted(cells, console)), "", sep="\n")
    else:
        console.file.write(plain_text(_rich_table(cells)).rstrip() + "\n\n")


def plain_text(table: Table) -> str:
    """`table` without colours, as wide as its cells need."""
    buffer = StringIO()
    console = Console(file=buffer, width=1000, color_system=None, force_terminal=False)
    console.width = console.measure(table).maximum
    console.print(table)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _fitted(cells: Cells, console: Console) -> Cells:
    left_out: list[str] = []
    while console.measure(_rich_table(cells), options=console.options.update(max_width=1000)).maximum > console.width:
        header = next((h for h in _LEFT_OUT_FIRST if h in cells.headers), None)
        if header is None:
            break
        left_out.append(header.replace("\n", " "))
        cells = without_column(cells, cells.headers.index(header))
    if left_out:
        cells = replace(cells, caption=f"{cells.caption}; left out in this narrow terminal: {', '.join(left_out)}")
    return cells


def _rich_table(cells: Cells) -> Table:
    table = Table(
        title=Text(printable(cells.title)),
        caption=Text(printable(cells.caption)),
        box=box.SIMPLE_HEAD,
        padding=(0, 0),
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        caption_style="dim",
        header_style="bold",
    )
    for index, header in enumerate(cells.headers):
        table.add_column(printable(header), justify="right" if index else "left", no_wrap=True, vertical="bottom")
    for heading, rows in cells.sections.items():
        if heading:
            table.add_row(Text(printable(heading), style="italic"))
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        table.add_section()
    return table
