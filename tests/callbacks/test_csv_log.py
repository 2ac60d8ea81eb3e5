import csv

import pytest

from bind.callbacks.csv_log import ContinuedCSVLogger


def log(folder, *rows):
    logger = ContinuedCSVLogger(folder, name="", version="logs")
    for step, metrics in rows:
        logger.log_metrics(metrics, step)
    logger.finalize("success")
    with (folder / "logs" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
def test_a_second_run_in_the_folder_goes_on_with_the_log(tmp_path):
    log(tmp_path, (0, {"loss": 3.0}), (1, {"loss": 2.0}))
    rows = log(tmp_path, (1, {"loss": 2.0, "scale": 14.0}), (2, {"loss": 1.0}))
    assert [(row["step"], row["loss"], row["scale"]) for row in rows] == [
        ("0", "3.0", ""),
        ("1", "2.0", ""),
        ("1", "2.0", "14.0"),
        ("2", "1.0", ""),
    ]
    assert [p.name for p in (tmp_path / "logs").iterdir()] == ["metrics.csv"]


def test_the_first_run_writes_a_log_of_its_own(tmp_path):
    assert [row["step"] for row in log(tmp_path, (5, {"loss": 1.0}))] == ["5"]
