"""The study of pretrained encoders: what it has finished it keeps, and a rerun goes on with the rest."""

import dataclasses
import importlib
import json
from collections import Counter

import pytest
from support import documents

FIGURES = {
    "score": 0.5,
    "validation": 0.25,
    "trained_weights": 1000,
    "fit_seconds": 2.0,
    "fit_cpu_seconds": 3.0,
    "cache_seconds": 4.0,
    "evaluate_seconds": 5.0,
}


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(documents.ROOT / "benchmarks"))
    return importlib.import_module("pretrained_study")


def test_a_rerun_goes_on_with_what_is_missing(study, tmp_path):
    cells = study.all_cells()[:5]
    path = tmp_path / "new" / "cells.jsonl"
    trained = []

    def train(cell):
        trained.append(cell.name)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return {**FIGURES, "score": len(trained) / 10}

    with pytest.raises(KeyboardInterrupt):
        study.run_missing(cells, study.CellStore(path), train)
    assert len(path.read_text().splitlines()) == 2
    study.run_missing(cells, study.CellStore(path), train)
    assert trained == [cell.name for cell in (*cells[:3], *cells[2:])]
    store = study.CellStore(path)
    assert [store.figures(cell)["score"] for cell in cells] == [0.1, 0.2, 0.4, 0.5, 0.6]
    assert [file.name for file in path.parent.iterdir()] == ["cells.jsonl"]


@pytest.mark.parametrize("change", ["overrides", "subset", "start"])
def test_a_cell_with_another_recipe_is_run_again(change, study, tmp_path):
    start = study.Cell("few", "its start", 0, ())
    cell = study.Cell("few", "an arm", 0, ("data.batch_size=8",), subset=(2, 0, 1.0), start=start)
    store = study.CellStore(tmp_path / "cells.jsonl")
    store.add(cell, FIGURES)
    other = {
        "overrides": ("seed=9",),
        "subset": (1, 0, 1.0),
        "start": dataclasses.replace(start, overrides=("seed=9",)),
    }
    changed = dataclasses.replace(cell, **{change: other[change]})
    assert study.CellStore(store.path).figures(cell) == FIGURES
    assert study.CellStore(store.path).figures(changed) is None
    store.add(changed, FIGURES)
    assert len(store.path.read_text().splitlines()) == 1


@pytest.mark.parametrize("line", ["{", "[]", "3", "null", '{"cell": "few/an arm/0"}'])
def test_a_line_that_is_no_cell_is_named(line, study, tmp_path):
    path = tmp_path / "cells.jsonl"
    good = json.dumps({"cell": "few/an arm/0", "recipe": {}, "figures": {}})
    path.write_text(f"{good}\n{line}\n")
    with pytest.raises(ValueError, match=r"cells\.jsonl, line 2: no finished cell"):
        study.CellStore(path)


def test_every_cell_comes_behind_the_one_that_it_starts_from(study):
    names = []
    for cell in study.all_cells():
        assert cell.start is None or cell.start.name in names
        names.append(cell.name)
    assert max(Counter(names).values()) == 1


def test_arms_of_a_comparison_have_equally_many_steps_and_rows(study):
    for table in ("few", "seconds", "digits", "toy"):
        keys = ("data.steps_per_epoch=", "trainer.max_epochs=", "data.batch_size=")
        cells = [cell for cell in study.all_cells() if cell.table == table]
        assert len({tuple(sorted(o for o in cell.overrides if o.startswith(keys))) for cell in cells}) == 1
        assert set(Counter(cell.arm for cell in cells).values()) == {len(study.SEEDS)}


def test_what_a_chosen_cell_starts_from_is_chosen_too(study):
    chosen = study.select_cells(study.all_cells(), "toy/*frozen, then LoRA/0")
    assert [cell.table for cell in chosen] == ["digits", "toy", "toy"]
    assert [cell.start for cell in chosen] == [None, *chosen[:2]]


@pytest.mark.slow
def test_a_draw_keeps_so_many_recordings_of_each_training_speaker_and_all_others(study, tmp_path):
    rows = [
        {"split": split, "label": digit, "owner": [f"speaker:{name}", "scan:1"], "audio": f"audio/{name}{digit}{i}.wav"}
        | {"image": f"image/{digit}.png", "key": f"{name}{digit}{i}"}
        for split, names in (("train", "ab"), ("val", "c"), ("test", "d"))
        for name in names
        for digit in ("one", "two")
        for i in range(10)
    ]
    manifest = tmp_path / "data" / "manifest.jsonl"
    manifest.parent.mkdir()
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    out.mkdir()

    def drawn(seed, share=1.0):
        return [json.loads(line) for line in study.write_subset(manifest, out, 3, seed, share).read_text().splitlines()]

    counts = Counter((row["split"], row["owner"][0], row["label"]) for row in drawn(0))
    assert len(counts) == 8
    assert all(number == (3 if split == "train" else 10) for (split, *_), number in counts.items())
    assert drawn(0)[0]["audio"].startswith("../data/audio/")
    assert drawn(0) == drawn(0)
    of_training = [[row["key"] for row in drawn(seed) if row["split"] == "train"] for seed in (0, 1)]
    assert of_training[0] != of_training[1]
    assert [row for row in drawn(0) if row["split"] != "train"] == [row for row in drawn(1) if row["split"] != "train"]
    assert Counter(row["split"] for row in drawn(0, share=0.2)) == {"train": 12, "val": 4, "test": 4}


def test_what_is_finished_is_listed_and_in_the_tables(study, tmp_path, capsys):
    first, second = (
        cell
        for cell in study.all_cells()
        if cell.table == "few" and cell.seed < 2 and "1 of" in cell.arm and "Whisper" in cell.arm
    )
    store = study.CellStore(tmp_path / "cells.jsonl")
    for cell, score in ((first, 0.5), (second, 0.75)):
        store.add(cell, {**FIGURES, "score": score})
    study.main(["--out", str(tmp_path), "--only", "few/1 *", "--list"])
    listed = capsys.readouterr().out.splitlines()
    assert [line for line in listed if line.startswith("finished")] == [f"finished {x.name}" for x in (first, second)]
    assert len(listed) == 6
    study.main(["--out", str(tmp_path), "--tables"])
    assert "| 1 of each, frozen Whisper | 0.625 (0.500, 0.750) | 1,000 | 3 | 2 | 4 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        study.main(["--only", "fewer/*"])
    assert "no cell is called fewer/*" in capsys.readouterr().err
