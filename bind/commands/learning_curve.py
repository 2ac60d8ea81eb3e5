"""The command `bindspace learning-curve`: trainings on shares of the owners, and what more owners would bring."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from bind.build import ANY_CLASS
from bind.commands.arguments.learning_curve import read_arguments
from bind.commands.train import compose_training, train
from bind.data.mixture import source_weights
from bind.data.owners import count_owners, training_owners
from bind.files.plain_data import read_json, require_kinds
from bind.files.writing import write_text
from bind.report.terminal_table import print_cells
from bind.runs.parts import make_sources
from bind.studies.learning_curve.cells import Cell, Curve, curve_cells, describe_checks, make_curves
from bind.studies.learning_curve.plot import plot_curves
from bind.training.callbacks.auto_batch import AUTO

PLAN = "learning_curve.json"
"""Beside the trainings: the overrides that they have in common."""


def main(arguments: list[str]) -> None:
    """`bindspace learning-curve [overrides]`."""
    read = read_arguments(arguments)
    folder = read.folder
    cells = plan_cells(read.overrides, read.shares, read.seeds, folder)
    refuse_other_study(folder, read.overrides)
    for number, cell in enumerate(cells, start=1):
        done = "finished before" if cell.is_finished else f"{cell.num_owners} owners"
        print(f"training {number} of {len(cells)}: share {cell.share:g}, seed {cell.seed}: {done}", flush=True)
        if not cell.is_finished:
            train_cell(cell, read.overrides)
    curves = make_curves(cells)
    write_text(folder / "learning_curve.csv", _as_csv(cells, curves))
    plot_curves(curves, folder / "learning_curve.png")
    print_cells(curve_cells(curves))
    print(*describe_checks(curves), sep="\n")
    print(f"learning curve: {folder}")


def plan_cells(overrides: Sequence[str], shares: Sequence[float], seeds: Sequence[int], folder: Path) -> list[Cell]:
    """The trainings of a curve, those on the fewest owners first.

    Raises:
        ValueError: where samples have no owner, where two shares are the same number of owners, and for
            `data.batch_size=auto`.
    """
    config = OmegaConf.to_container(compose_training([*overrides, f"run_dir={folder}"]), resolve=True)
    assert isinstance(config, dict)
    if config["data"]["batch_size"] == AUTO:
        raise ValueError(
            "data.batch_size=auto: fewer owners would get smaller batches, and the curve would show both; give a number"
        )
    sources = make_sources(config, ANY_CLASS)  # type: ignore[arg-type]
    weights = source_weights(sources, config["data"]["weights"])
    drawn = [source for source, weight in zip(sources.values(), weights, strict=True) if weight]
    num_owners = len(training_owners(drawn))
    numbers = {share: count_owners(num_owners, share) for share in sorted(set(shares))}
    if len(set(numbers.values())) < len(numbers):
        counts = ", ".join(f"{share:g} is {number}" for share, number in numbers.items())
        raise ValueError(f"of {num_owners} owners {counts}: choose shares of different numbers, shares=[0.5,1]")
    return [
        Cell(share, seed, number, folder / f"share{share:g}_seed{seed}")
        for share, number in numbers.items()
        for seed in seeds
    ]


def refuse_other_study(folder: Path, overrides: Sequence[str]) -> None:
    """Note in the folder what its trainings are of; ValueError where it holds those of other overrides."""
    path = folder / PLAN
    if path.is_file():
        before = require_kinds(read_json(path), {"overrides": list}, str(path))["overrides"]
        if sorted(map(str, before)) != sorted(overrides):
            raise ValueError(
                f"run_dir={folder} holds a learning curve of other overrides ({' '.join(map(str, before)) or 'none'}), "
                "whose finished trainings would count as those of this one: choose another run_dir, or delete it"
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"overrides": list(overrides)}, indent=2) + "\n")


def train_cell(cell: Cell, overrides: Sequence[str]) -> None:
    """Train one cell, going on with what is there of it."""
    own = [f"data.owner_share={cell.share}", f"seed={cell.seed}", f"run_dir={cell.folder}", "ckpt=auto"]
    train([*overrides, *own])


def _as_csv(cells: Sequence[Cell], curves: Sequence[Curve]) -> str:
    """A line per training, and one of what is said of twice the owners."""
    text = io.StringIO()
    writer = csv.writer(text)
    names = [curve.name for curve in curves]
    writer.writerow(["owners", "share", "seed", *names])
    for cell in cells:
        points = cell.points()
        writer.writerow([cell.num_owners, cell.share, cell.seed, *(points[name].figure for name in names)])
    for place, title in enumerate(("twice", "twice, low", "twice, high")):
        said = ["" if curve.twice is None else curve.twice[place] for curve in curves]
        writer.writerow([2 * max(cell.num_owners for cell in cells), title, "", *said])
    return text.getvalue()
