"""The printing of a diagnosis: an overview, the problems with advice, and a verdict."""

from __future__ import annotations

import textwrap

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bind.data.sources.sample_table import SPLITS
from bind.report.cells import Cells
from bind.report.terminal_table import print_cells
from bind.studies.doctor.findings import Diagnosis, Finding, Problem
from bind.studies.doctor.overview import overview_rows
from bind.terminal import PrintableConsole, printable

NUM_NAMED = 3
MAX_DETAIL = 100
MAX_FIRST_DETAIL = 600
"""The first of a problem says what can be done about it, which stands at its end."""
PLAIN_WIDTH = 160


def print_diagnosis(diagnosis: Diagnosis, console: Console | None = None) -> None:
    """Print a diagnosis; as wide as the terminal, and 160 columns into a file or pipe."""
    console = console or PrintableConsole()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    headers = ("modality", *SPLITS, "files", "length", "rate or size")
    print_cells(Cells(diagnosis.manifest, "", headers, {"": overview_rows(diagnosis.overview)}), console)
    problems = diagnosis.problems()
    if problems and console.is_terminal:
        console.print(_table(problems))
    elif problems:
        with console.capture() as padded:
            console.print(_table(problems))
        lines = [printable(line.rstrip()) for line in padded.get().splitlines()]
        console.file.write("\n".join(lines).strip("\n") + "\n\n")
    for note in diagnosis.notes:
        console.print(Text(f"note: {note}", style="dim"))
    console.print(Text(verdict(problems), style="bold"))


def verdict(problems: list[Problem]) -> str:
    """One line: how many errors and warnings, and what errors do to a run."""
    errors = sum(problem.is_error for problem in problems)
    warnings = len(problems) - errors
    if not problems:
        return "no problem found"
    counts = [f"{n} {word}{'s' * (n > 1)}" for n, word in ((errors, "error"), (warnings, "warning")) if n]
    spoils = "training stops at an error, or learns or measures the wrong thing"
    return ", ".join(counts) + (f": {spoils}" if errors else ": nothing that spoils a run")


def _first_of_file(findings: list[Finding], max_detail: int) -> Text:
    """The first of several findings in one file, and how many more there are."""
    first, more = findings[0], len(findings) - 1
    return Text.assemble(
        " ".join([first.name, first.part]).strip(),
        (f" and {more} more part{'s' * (more > 1)} of it" if more else "", "bold"),
        (f"  {textwrap.shorten(first.detail, max_detail, placeholder=' …')}", "dim"),
    )


def _table(problems: list[Problem]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("problem, and what to do", ratio=4)
    table.add_column("in")
    table.add_column("how many", justify="right")
    table.add_column("the first three", ratio=6, overflow="fold")
    for problem in problems:
        colour, mark = ("red", "error") if problem.is_error else ("yellow", "warning")
        table.add_row(
            Text.assemble((f"{mark}: ", colour), (problem.kind.name, "bold"), f"\n{problem.kind.advice}"),
            problem.modality or "table",
            str(len(problem.findings)),
            Text("\n").join(
                _first_of_file(findings, MAX_DETAIL if number else MAX_FIRST_DETAIL)
                for number, findings in enumerate(list(problem.by_name().values())[:NUM_NAMED])
            ),
            end_section=True,
        )
    return table
