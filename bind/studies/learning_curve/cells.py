"""Cells of a learning curve: one finished training each, and the table and the words made of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bind.evaluation.figures import read_metrics
from bind.report.cells import MISSING, Cells, format_score
from bind.studies.learning_curve.fit import Point, fit_power_law

MIN_CHECK_SHARES = 3
"""Numbers of owners below all, from which a check of the curve needs to be fitted."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A training of the study: a share of the owners, which are `num_owners`, by one seed, in a folder."""

    share: float
    seed: int
    num_owners: int
    folder: Path

    @property
    def is_finished(self) -> bool:
        """Whether the training has come to its figures."""
        return (self.folder / "metrics.json").is_file()

    def points(self) -> dict[str, Point]:
        """Name of each figure of what was trained → its value; the text side of retrieval is left out."""
        metrics = read_metrics(self.folder / "metrics.json")
        entries = {f"top-1 {key}": (entry, "top1") for key, entry in metrics.get("zero_shot", {}).items()}
        entries |= {f"R@1 {key}": (entry, "R@1") for key, entry in metrics["retrieval"].items()}
        points = {}
        for name, (entry, figure) in entries.items():
            if entry.get("kind") == "trained" and figure in entry:
                low, high = entry.get(f"ci95_{figure}") or (entry[figure], entry[figure])
                points[name] = Point(self.num_owners, entry[figure], low, high, entry["queries"])
        return points


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure of all cells, what the law says of twice the owners, and what it would have said of all.

    Attributes:
        points: of each cell, by number of owners.
        twice: figure and interval for twice the owners; None where there are too few numbers of owners.
        checks: of each seed, what a law fitted up to half of the owners said of all, with its interval, and the figure
            that was then measured.
    """

    name: str
    points: Sequence[Point]
    twice: tuple[float, float, float] | None
    checks: Mapping[int, tuple[tuple[float, float, float], float]]

    @property
    def num_inside(self) -> int:
        """Checks in which the measured figure lay inside the interval."""
        return sum(low <= measured <= high for (_, low, high), measured in self.checks.values())


def make_curves(cells: Sequence[Cell]) -> list[Curve]:
    """The curve of each figure that all cells have."""
    of_cell = [(cell, cell.points()) for cell in cells]
    names = [name for name in of_cell[0][1] if all(name in points for _, points in of_cell)]
    most = max(cell.num_owners for cell in cells)
    curves = []
    for name in names:
        points = sorted((points[name] for _, points in of_cell), key=lambda point: point.num_owners)
        has_several = len({point.num_owners for point in points}) > 1
        twice = fit_power_law(points).predict(2 * most) if has_several else None
        by_seed: dict[int, list[Point]] = defaultdict(list)
        for cell, points_of_cell in of_cell:
            by_seed[cell.seed].append(points_of_cell[name])
        checks = {}
        for seed, of_seed in by_seed.items():
            below = [point for point in of_seed if 2 * point.num_owners <= most]
            of_all = [point for point in of_seed if point.num_owners == most]
            if of_all and len({point.num_owners for point in below}) >= MIN_CHECK_SHARES:
                checks[seed] = fit_power_law(below).predict(most), of_all[0].figure
        curves.append(Curve(name, points, twice, checks))
    return curves


def curve_cells(curves: Sequence[Curve]) -> Cells:
    """A row per figure: its mean at each number of owners, and what twice as many would bring."""
    numbers = sorted({point.num_owners for curve in curves for point in curve.points})
    rows = []
    for curve in curves:
        means = []
        for number in numbers:
            figures = [point.figure for point in curve.points if point.num_owners == number]
            means.append(format_score(sum(figures) / len(figures)))
        rows.append((curve.name, *means, *_twice(curve)))
    return Cells(
        title="Learning curve: the held-out figure by the number of owners that were trained on",
        caption="mean over seeds, which also draw the owners; twice: by a power law of the error, with the 95 % "
        "interval of one training",
        headers=("figure", *map(str, numbers), f"twice\n{2 * numbers[-1]}", "interval"),
        sections={"": rows},
    )


def _twice(curve: Curve) -> tuple[str, str]:
    if curve.twice is None:
        return MISSING, MISSING
    figure, low, high = curve.twice
    return format_score(figure), f"{low:.3f}–{high:.3f}"


def describe_checks(curves: Sequence[Curve]) -> list[str]:
    """Lines that say whether the curve, fitted up to half of the owners, knew the figure of all."""
    lines = []
    for curve in curves:
        for seed, ((figure, low, high), measured) in curve.checks.items():
            inside = "inside" if low <= measured <= high else "outside"
            lines.append(
                f"{curve.name}, seed {seed}: fitted on up to half of the owners it says {figure:.3f} "
                f"({low:.3f}–{high:.3f}) of all; measured {measured:.3f}, {inside}"
            )
        if curve.checks:
            lines.append(f"{curve.name}: inside the interval for {curve.num_inside} of {len(curve.checks)} seeds")
    return lines
