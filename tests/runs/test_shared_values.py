import csv
import logging

import pytest

from bind.data.datamodule import BindDataModule
from bind.data.sources.manifest import ManifestSource
from bind.runs import shared_values
from bind.runs.shared_values import warn_of_shared_values


def table(folder, num_rows, num_icons, group=lambda row: ""):
    path = folder / "table.csv"
    for icon in range(num_icons):
        (folder / f"{icon}.png").touch()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "split", "group", "image", "text"])
        writer.writerows(
            [f"k{row}", "train", group(row), f"{row % num_icons}.png", f"text {row}"] for row in range(num_rows)
        )
    return ManifestSource(path)


def warnings_of(source, caplog, modalities=("image", "text")):
    with caplog.at_level(logging.WARNING, logger="bind"):
        warn_of_shared_values(BindDataModule({"icons": source}, {}, modalities, [], batch_size=4))
    return [record.getMessage() for record in caplog.records]


def test_pictures_that_samples_share_without_a_group_are_said_with_their_share(tmp_path, caplog):
    (message,) = warnings_of(table(tmp_path, 20, num_icons=2), caplog)
    assert message.startswith("table: 85 % of the rows have their own image as a negative in a batch of 4")
    assert "10 rows" in message
    assert "'k0' and 'k18'" in message
    assert "0.png" in message


def test_groups_make_them_right_and_nothing_is_said_of_what_does_not_train(tmp_path, caplog):
    assert warnings_of(table(tmp_path, 20, num_icons=2), caplog, modalities=["text"]) == []
    assert warnings_of(table(tmp_path, 20, num_icons=2, group=lambda row: f"icon {row % 2}"), caplog) == []


def test_of_a_large_table_a_draw_says_nearly_the_same(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(shared_values, "MAX_ROWS", 200)
    (message,) = warnings_of(table(tmp_path, 1000, num_icons=10), caplog)
    assert int(message.split(" %")[0].split()[-1]) == pytest.approx(27, abs=3)
