import csv

from bind.training.callbacks.csv_log import ContinuedCSVLogger


def log(folder, *rows):
    logger = ContinuedCSVLogger(folder / "logs")
    for step, metrics in rows:
        logger.log_metrics(metrics, step)
    logger.finalize("success")
    with (folder / "logs" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


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


def test_a_row_that_a_kill_cut_short_is_dropped(tmp_path):
    log(tmp_path, (0, {"loss": 3.0}))
    with (tmp_path / "logs" / "metrics.csv").open("a") as file:
        file.write("2.0")
    assert [row["loss"] for row in log(tmp_path, (1, {"loss": 1.0}))] == ["3.0", "1.0"]


def test_a_log_is_cut_back_to_what_a_checkpoint_knew(tmp_path):
    """The learning rate of a step is logged before the step, and a checkpoint is written in between."""
    logger = ContinuedCSVLogger(tmp_path / "logs")
    for step, metrics in [(0, {"lr": 0.1}), (0, {"loss": 3.0}), (1, {"lr": 0.2})]:
        logger.log_metrics(metrics, step)
    assert logger.num_rows_before(step=1) == 2
    assert len((tmp_path / "logs" / "metrics.csv").read_text().splitlines()) == 4
    logger.log_metrics({"loss": 2.0}, 1)
    assert logger.num_rows_before(step=2) == 4
    logger.finalize("failed")

    resumed = ContinuedCSVLogger(tmp_path / "logs")
    resumed.keep(2)
    for metrics in ({"lr": 0.2}, {"loss": 2.0}):
        resumed.log_metrics(metrics, 1)
    resumed.finalize("success")
    with (tmp_path / "logs" / "metrics.csv").open(newline="") as file:
        rows = [(row["step"], row["lr"], row["loss"]) for row in csv.DictReader(file)]
    assert rows == [("0", "0.1", ""), ("0", "", "3.0"), ("1", "0.2", ""), ("1", "", "2.0")]
