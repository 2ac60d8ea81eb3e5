"""Arguments of `bindspace compare`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

DEFAULT_FIGURES = ("R@1", "R@10", "map", "top1")
"""The rows of the table, of those that there are: a classification has `top1` alone."""


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """What the command line says, checked as far as it can be before anything heavy is loaded.

    Raises:
        ValueError: for a folder that is not there, or the name of a file that can't be written.
    """
    parser = argparse.ArgumentParser(
        prog="bindspace compare",
        description="Pair the queries of two runs and say which differences between their figures are real.",
        epilog="Example: bindspace compare runs/a runs/b --split val",
    )
    parser.add_argument("run_a", type=Path, metavar="RUN_A", help="a run directory")
    parser.add_argument("run_b", type=Path, metavar="RUN_B", help="another one")
    parser.add_argument("--split", help="the split to compare on (default: the one that the runs were made for)")
    rows = ",".join(DEFAULT_FIGURES)
    parser.add_argument("--figures", help=f"rows of the table (default: those there are of {rows})")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures to FILE, .json or .csv")
    options = parser.parse_args(arguments)
    for run in (options.run_a, options.run_b):
        require_run_directory(run)
    if options.out is not None and options.out.suffix not in (".json", ".csv"):
        raise ValueError(f"--out {options.out}: choose a name that ends in .json or .csv")
    return options


def require_run_directory(run: Path) -> None:
    """Raise ValueError unless there is such a folder."""
    if not run.is_dir():
        raise ValueError(f"{run} is no run directory")
