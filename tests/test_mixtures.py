"""Several tables in one run, each with what it has."""

import contextlib
import csv
import io
import json

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image
from support import documents
from support.runs import RECORDED, PulledPlugError, PullPlug, config, read_manifest, write_manifest, write_sound

from bind.runs.jobs import evaluate, train
from bind.studies.leakage import leakage


@pytest.fixture(scope="module")
def tables(recordings, tmp_path_factory):
    """Sounds with pictures, and motions with pictures, of nobody who is in both."""
    folder, found = tmp_path_factory.mktemp("tables"), {}
    for name, modality in (("sounds", "audio"), ("motions", "imu")):
        rows = [row for row in read_manifest(recordings) if modality in row and "image" in row]
        kept = [
            {"key": f"{name}/{row['key']}", "split": row["split"]}
            | {m: str(recordings.parent / row[m]) for m in ("image", modality)}
            for row in rows
        ]
        found[name] = write_manifest(folder / f"{name}.jsonl", kept)
    return found


def mixture(tables, run_dir, **values):
    manifests = {f"data.manifests.{name}": str(path) for name, path in tables.items()}
    return config("data=mixture", **RECORDED | manifests | {"run_dir": str(run_dir)} | values)


@pytest.mark.slow
def test_every_source_trains_its_own_pair_and_the_table_said_so(tables, tmp_path, capsys, no_pictures):
    train(mixture(tables, tmp_path, **{"data.weights": {"motions": 3.0}, "data.steps_per_epoch": 5}))
    printed = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert printed["sounds"][0] == "8"
    assert printed["motions"][0] == "8"
    steps = {name: int(printed[name][1]) for name in ("sounds", "motions")}
    assert sum(steps.values()) == 10
    assert 0 < steps["sounds"] < steps["motions"]
    assert printed["audio-image"][:2] == ["8", str(steps["sounds"])]
    assert printed["imu-image"][:2] == ["8", str(steps["motions"])]
    assert printed["sounds"][3] == f"{steps['sounds'] * 4 / 8:.1f}"
    retrieval = json.loads((tmp_path / "metrics.json").read_text())["retrieval"]
    assert {name for name, entry in retrieval.items() if entry["trained"]} == {
        "audio_to_image", "image_to_audio", "imu_to_image", "image_to_imu",
    }  # fmt: skip


@pytest.mark.slow
def test_a_source_of_weight_0_is_evaluated_but_not_trained(tables, tmp_path, capsys, no_pictures):
    train(mixture(tables, tmp_path, **{"data.weights": {"motions": 0}, "pairs.imu-image.weight": 0}))
    printed = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert printed["motions"][1:] == ["0", "0%", "0.0"]
    assert "imu_to_image" in json.loads((tmp_path / "metrics.json").read_text())["retrieval"]


@pytest.mark.slow
@pytest.mark.parametrize(("max_steps", "is_reported"), [(80, True), (1, False), (-1, False)])
def test_epochs_that_end_before_max_steps_are_reported(max_steps, is_reported, tables, tmp_path, capsys, no_pictures):
    values = {"data.steps_per_epoch": 2, "trainer.max_epochs": 2, "trainer.max_steps": max_steps}
    train(mixture(tables, tmp_path, **values))
    printed = "stops at trainer.max_epochs=2, step 4, before trainer.max_steps=80; raise trainer.max_epochs for more"
    assert (printed in capsys.readouterr().out) == is_reported


@pytest.mark.slow
def test_a_mixture_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\+data\.manifests\.NAME=FILE"):
        train(mixture({}, tmp_path))


@pytest.mark.slow
def test_a_misspelt_source_is_named(tables, tmp_path):
    with pytest.raises(ValueError, match=r"data\.weights\.motion: .*'motions'"):
        train(mixture(tables, tmp_path, **{"data.weights": {"motion": 2.0}}))


@pytest.fixture(scope="module")
def split_tables(recordings, tmp_path_factory):
    """Sounds with pictures to train and validate on, and other sounds, with words, to test on."""
    folder, rows = tmp_path_factory.mktemp("split_tables"), read_manifest(recordings)
    parts = {"films": (("train", "val"), ("audio", "image")), "sounds": (("test",), ("audio", "text", "label"))}
    tables = {}
    for name, (splits, columns) in parts.items():
        kept = [
            {"key": row["key"], "split": row["split"], "owner": row["owner"]}
            | {m: str(recordings.parent / row[m]) if m in ("audio", "image") else row[m] for m in columns}
            for row in rows
            if row["split"] in splits and all(m in row for m in columns)
        ]
        tables[name] = write_manifest(folder / f"{name}.jsonl", kept)
    return tables


SPLIT = {"modalities": ["audio"], "data.steps_per_epoch": 2}


@pytest.fixture(scope="module")
def split_run(split_tables, tmp_path_factory):
    """The run directory of four steps on the films, tested on the sounds, and what it printed."""
    run_dir, printed = tmp_path_factory.mktemp("split_run"), io.StringIO()
    with contextlib.redirect_stdout(printed):
        train(mixture(split_tables, run_dir / "run", **SPLIT | {"cache.dir": str(run_dir / "cache")}))
    return run_dir, printed.getvalue()


@pytest.mark.slow
def test_one_table_trains_and_another_tests(split_run):
    run_dir, printed = split_run
    lines = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.strip()}
    assert lines["films"][:2] == ["8", "4"]
    assert lines["sounds"][:2] == ["0", "0"]
    metrics = json.loads((run_dir / "run" / "metrics.json").read_text())
    kinds = {name: (entry["kind"], entry["queries"]) for name, entry in metrics["retrieval"].items()}
    assert kinds == {"audio_to_text": ("emergent", 5), "text_to_audio": ("emergent", 10)}
    assert metrics["zero_shot"]["audio"]["queries"] == 5
    assert "sounds" in (run_dir / "run" / "report.html").read_text()


@pytest.mark.slow
def test_leakage_is_looked_for_between_the_tables(split_run):
    leakage = json.loads((split_run[0] / "run" / "metrics.json").read_text())["leakage"]
    assert (leakage["samples"], leakage["leaked"], leakage["trained_on"]) == (5, 0, ["films"])
    assert not any("sounds" in note or "films" in note for note in leakage["not_checked"])
    assert leakage["checked"]["files"].startswith("5 evaluated files against 16")


@pytest.mark.slow
def test_the_cache_holds_the_splits_that_there_are(split_run):
    towers = [path for path in (split_run[0] / "cache").iterdir() if path.name != "tables"]
    places = {path.name.rsplit("-", 1)[0] for tower in towers for path in tower.iterdir()}
    assert places == {"train-image", "val-image"}


@pytest.mark.slow
def test_a_run_on_several_tables_goes_on(split_run, split_tables, tmp_path):
    started = {"cache.dir": str(split_run[0] / "cache")}
    with pytest.raises(PulledPlugError):
        train(mixture(split_tables, tmp_path, **SPLIT | started), callbacks=[PullPlug(3)])
    train(mixture(split_tables, tmp_path, **SPLIT | started | {"ckpt": "last"}))
    logs = [(run_dir / "logs" / "metrics.csv").read_text() for run_dir in (split_run[0] / "run", tmp_path)]
    assert logs[0] == logs[1]


@pytest.mark.slow
def test_each_split_of_the_run_is_evaluated_and_others_are_refused(split_run):
    run_dir = split_run[0] / "run"
    evaluate(config(name="evaluate", run=str(run_dir), split="val"))
    assert json.loads((run_dir / "metrics_val.json").read_text())["retrieval"]["audio_to_image"]["queries"] == 4
    there = r"no samples of the split 'tset': .*films\.jsonl has train 8, val 4; .*sounds\.jsonl has test 5\. "
    for command in (evaluate, leakage):
        with pytest.raises(ValueError, match=there):
            command(config(name=command.__name__, run=str(run_dir), split="tset"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (["sounds"], r"no samples of the split 'train': .*sounds\.jsonl has test 5\. A training needs"),
        (["films"], r"no samples of the split 'test': .*films\.jsonl has train 8, val 4\. Set evaluation\.split"),
    ],
)
def test_a_split_that_no_table_has_is_refused_before_any_work(kept, said, split_tables, tmp_path):
    with pytest.raises(ValueError, match=said):
        train(mixture({name: split_tables[name] for name in kept}, tmp_path / "run", **SPLIT))
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


@pytest.mark.slow
def test_without_a_validation_split_training_says_how_to_do_without(split_tables, tmp_path, no_pictures):
    rows = [row for row in read_manifest(split_tables["films"]) if row["split"] == "train"]
    tables = split_tables | {"films": write_manifest(tmp_path / "films.jsonl", rows)}
    with pytest.raises(ValueError, match=r"no samples of the split 'val': .*trainer\.limit_val_batches=0"):
        train(mixture(tables, tmp_path / "run", **SPLIT))
    train(mixture(tables, tmp_path / "run", **SPLIT | {"trainer.limit_val_batches": 0}))
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["split"] == "test"


@pytest.mark.slow
def test_the_page_counts_trained_pictures_that_the_evaluated_split_does_not_have(split_run):
    page = (split_run[0] / "run" / "report.html").read_text()
    data = page[page.index('<h2 id="data">') : page.index("<h2", page.index('<h2 id="data">') + 1)]
    train, test = data[data.index(">train<") :].split(">test<")
    assert "image" in train
    assert "image" not in test
    assert "text" in test


@pytest.mark.slow
def test_a_pair_of_nothing_but_evaluated_tables_is_refused(tables, tmp_path):
    with pytest.raises(ValueError, match=r"pairs\.imu-image: no sample in split 'train' of .*sounds\.jsonl has imu"):
        train(mixture(tables, tmp_path, **{"data.weights": {"motions": 0}}))


@pytest.mark.slow
def test_the_example_of_the_page_runs(tmp_path, monkeypatch, no_pictures):
    page = (documents.ROOT / "docs" / "mixtures.md").read_text()
    rng = np.random.default_rng(0)
    for name, table in zip(("films", "sounds"), documents.blocks(page, "csv"), strict=True):
        (tmp_path / f"{name}.csv").write_text(table)
        (tmp_path / name).mkdir()
        for row in csv.DictReader(table.splitlines()):
            write_sound(tmp_path / row["audio"], 200 + 100 * int(row["key"][-1]), rng)
            if "image" in row:
                Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(tmp_path / row["image"])
    [command] = [c for c in documents.commands(page) if "+data.manifests.films=films.csv" in c]
    monkeypatch.chdir(tmp_path)
    cfg = documents.composed(command)
    for key, value in (RECORDED | {"data.batch_size": 2, "cache.dir": None, "run_dir": str(tmp_path / "run")}).items():
        OmegaConf.update(cfg, key, value, force_add=True)
    train(cfg)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["zero_shot"]["audio"]["queries"] == 3
    assert metrics["leakage"]["trained_on"] == ["films"]
