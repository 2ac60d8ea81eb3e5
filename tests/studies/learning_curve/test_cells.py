"""Curves are made of the figures that finished trainings have in common."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bind.studies.learning_curve.cells import Cell, curve_cells, describe_checks, make_curves
from bind.studies.learning_curve.plot import plot_curves


def write_cell(folder: Path, num_owners: int, seed: int, error: float) -> Cell:
    cell = Cell(num_owners / 16, seed, num_owners, folder / f"{num_owners}_{seed}")
    assert not cell.is_finished
    cell.folder.mkdir(parents=True)
    top1 = {"top1": 1 - error, "ci95_top1": [1 - 1.1 * error, 1 - 0.9 * error], "queries": 900, "kind": "trained"}
    recall = {"R@1": 0.5, "ci95_R@1": [0.4, 0.6], "queries": 900}
    metrics = {
        "split": "test",
        "zero_shot": {"imu/basic6": top1},
        "retrieval": {
            "imu_to_text": recall | {"kind": "trained"},
            "image_to_text": recall | {"kind": "anchor"},
            **({"text_to_imu": recall | {"kind": "trained"}} if num_owners > 2 else {}),
        },
    }
    (cell.folder / "metrics.json").write_text(json.dumps(metrics))
    assert cell.is_finished
    return cell


@pytest.mark.slow
def test_table_checks_and_picture(tmp_path: Path) -> None:
    cells = [write_cell(tmp_path, n, seed, 0.4 * n**-0.5) for n in (2, 4, 8, 16) for seed in (0, 1)]
    curves = make_curves(cells)
    assert [curve.name for curve in curves] == ["top-1 imu/basic6", "R@1 imu_to_text"]
    table = curve_cells(curves)
    assert table.headers == ("figure", "2", "4", "8", "16", "twice\n32", "interval")
    assert table.sections[""][0][:6] == ("top-1 imu/basic6", "0.717", "0.800", "0.859", "0.900", "0.929")
    low, high = map(float, table.sections[""][0][6].split("–"))
    assert low < 0.929 < high < 0.95
    lines = describe_checks(curves)
    assert lines[0].startswith("top-1 imu/basic6, seed 0: fitted on up to half of the owners it says 0.900 (")
    assert lines[0].endswith("of all; measured 0.900, inside")
    assert lines[2] == "top-1 imu/basic6: inside the interval for 2 of 2 seeds"
    plot_curves(curves, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_one_number_of_owners_says_nothing_of_twice(tmp_path: Path) -> None:
    curves = make_curves([write_cell(tmp_path, 16, 0, 0.1)])
    assert curve_cells(curves).sections[""][0][-2:] == ("–", "–")
    assert describe_checks(curves) == []
