"""Each kind of leakage, planted in a small mixture, is found, counted and named; clean data is said to be clean."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from support.runs import RECORDED, config, read_manifest, write_manifest

from bind.commands.cli import main
from bind.data.leakage.audit import exact_audit
from bind.data.leakage.leaks import SourceSplit
from bind.data.sources.manifest import ManifestSource
from bind.runs.jobs import evaluate, train
from bind.runs.leakage import audit_run, earlier_parts
from bind.runs.parts import Parts
from bind.runs.run_config import open_run

KEPT = {"sounds": ("train0", "train1", "train2", "train4", "val0", "val1", "test0", "test1", "test4"),
        "motions": ("train6", "train7", "train8", "train9", "val2", "val3", "test2", "test3")}  # fmt: skip


def write_tables(recordings, folder):
    """Rows of sounds and of motions, with pictures of their own; nobody and nothing is in both."""
    rows = {row["key"]: row for row in read_manifest(recordings)}
    tables = {}
    for name, modality in (("sounds", "audio"), ("motions", "imu")):
        tables[name] = []
        for key in KEPT[name]:
            for path in recordings.parent.glob(f"{key}.*"):
                shutil.copy(path, folder)
            about = {"key": f"{name}/{key}", "split": rows[key]["split"], "owner": f"{name}:{key}"}
            tables[name].append(about | {m: rows[key][m] for m in ("image", modality)})
    return tables


def plant(tables, folder):
    """One leak of each kind that a training starts with, each in an evaluated sample of its own."""
    sounds, motions = ({row["key"]: row for row in rows} for rows in tables.values())
    shutil.copy(folder / "train7.png", folder / "copy.png")
    sounds["sounds/test1"]["image"] = "copy.png"
    pixels = np.asarray(Image.open(folder / "train0.png").resize((62, 62))).astype(int)
    Image.fromarray(np.clip(pixels + 2, 0, 255).astype(np.uint8)).save(folder / "resaved.png")
    motions["motions/test2"]["image"] = "resaved.png"
    del motions["motions/train9"]["imu"]
    sounds["sounds/train1"] |= {"imu": "train9.npy", "imu_start_seconds": 0.0, "imu_end_seconds": 0.6}
    for suffix in ("npy", "json"):
        shutil.copy(folder / f"train9.{suffix}", folder / f"again.{suffix}")
    motions["motions/test3"] |= {"imu": "again.npy", "imu_start_seconds": 0.5, "imu_end_seconds": 1.0}


def mixture(tables, folder, run_dir, **values):
    paths = {f"data.manifests.{n}": str(write_manifest(folder / f"{n}.jsonl", rows)) for n, rows in tables.items()}
    return config("data=mixture", **RECORDED | paths | {"run_dir": str(run_dir), "trainer.max_epochs": 1} | values)


def load_parts(run_dir, trust=()):
    return Parts.load(run_dir, open_run(str(run_dir))[1], trust=trust)


def figures(run_dir, name="metrics.json"):
    return json.loads((run_dir / name).read_text())


@pytest.fixture(scope="module")
def clean_run(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bind.runs.evaluation.draw_run", lambda *args, **kwargs: {})
        train(mixture(write_tables(recordings, folder), folder, folder / "run"))
    return folder / "run"


@pytest.fixture(scope="module")
def leaky(recordings, tmp_path_factory):
    """The folder of a mixture with one leak of each kind, and the run in it."""
    folder = tmp_path_factory.mktemp("leaky")
    tables = write_tables(recordings, folder)
    plant(tables, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bind.runs.evaluation.draw_run", lambda *args, **kwargs: {})
        train(mixture(tables, folder, folder / "run"))
    return folder


@pytest.mark.slow
def test_clean_data_is_said_to_be_clean_and_by_what(clean_run, capsys):
    found = figures(clean_run)["leakage"]
    assert (found["samples"], found["leaked"], found["kinds"]) == (5, 0, {})
    assert set(found["checked"]) == {"owners", "files", "near"}
    assert found["trained_on"] == ["sounds", "motions"]
    assert "without_leaked" not in found
    assert "leakage: none found (compared: owners, files, near)" in (clean_run / "report.html").read_text()


@pytest.mark.slow
def test_every_kind_is_found_counted_and_named(leaky):
    found = figures(leaky / "run")["leakage"]
    kinds = found["kinds"].items()
    assert {kind: (e["samples"], e["first"][0]["key"], e["first"][0]["trained_key"]) for kind, e in kinds} == {
        "files": (1, "sounds/test1", "motions/train7"),
        "windows": (1, "motions/test3", "sounds/train1"),
        "near": (1, "motions/test2", "sounds/train0"),
    }
    assert (found["leaked"], found["share"]) == (3, 3 / 5)
    assert "copy.png equals" in found["kinds"]["files"]["first"][0]["shared"]
    page = (leaky / "run" / "report.html").read_text()
    assert "LEAKAGE: 3 of 5 samples (60%)" in page
    assert "Without leaked queries" in page


@pytest.mark.slow
def test_figures_without_leaked_queries_stand_beside_the_score(leaky):
    found = figures(leaky / "run")
    without = found["leakage"]["without_leaked"]
    for task, entry in found["retrieval"].items():
        assert without[task]["R@1_with_leaked"] == entry["R@1"]
        assert without[task]["queries"] < entry["queries"]
    # Of the pictures with sound only test0's and test4's are clean.
    assert without["audio_to_image"]["queries"] == 2
    assert without["audio_to_image"]["R@1"] in (0.0, 0.5, 1.0)


@pytest.mark.slow
def test_evaluating_again_prints_it_under_the_table(leaky, capsys, no_pictures):
    evaluate(config(name="evaluate", run=str(leaky / "run")))
    out = capsys.readouterr().out
    assert out.index("Retrieval, test split") < out.index("LEAKAGE, test split: 3 of 5") < out.index("run directory")
    assert "sounds/test1" in out
    assert figures(leaky / "run")["leakage"]["kinds"]["near"]["samples"] == 1


@pytest.mark.slow
def test_the_command_does_all_of_it_on_a_finished_run(leaky, as_command, capsys):
    assert as_command(main, "leakage", f"run={leaky / 'run'}") == 0
    found = figures(leaky / "run", "leakage.json")
    assert found["keys"] == {
        "files": ["sounds/test1"],
        "windows": ["motions/test3"],
        "near": ["motions/test2"],
    }
    assert found["without_leaked"] == figures(leaky / "run")["leakage"]["without_leaked"]
    out = capsys.readouterr().out
    assert "LEAKAGE" in out
    assert "leakage.json" in out


@pytest.mark.slow
def test_what_a_run_started_from_counts_as_trained_on(clean_run, tmp_path):
    start = {"init_from": str(clean_run / "binder"), "anchor": {"pretrained": "toy"}, "ckpt": "auto"}
    parts, notes = earlier_parts(start, tmp_path, ())
    assert [part.name for part in parts] == [f"{clean_run}: sounds", f"{clean_run}: motions"]
    assert all("toy was trained on" in note for note in notes)
    assert earlier_parts(start, clean_run, ())[0] == [], "a run does not start from itself"
    parts, notes = earlier_parts({"init_from": str(tmp_path), "anchor": {}}, clean_run, ())
    assert (parts, len(notes)) == ([], 1)
    assert f"what {tmp_path} was trained on: there is no config.yaml" in notes[0]


@pytest.mark.slow
def test_a_run_that_started_from_the_test_split_of_another_table_leaks(clean_run, recordings, tmp_path):
    """Found by the recordings themselves: keys and owners were renamed."""
    rows = [{"key": "x", "split": "test", "owner": "x", "audio": str(recordings.parent / "train1.wav")}]
    again = ManifestSource(write_manifest(tmp_path / "again.jsonl", rows))
    parts, _ = earlier_parts({"init_from": str(clean_run), "anchor": {}}, tmp_path, ())
    audit = exact_audit([SourceSplit("again", again, "test", ("audio",))], parts)
    (leak,) = audit.leaks["files"].values()
    assert (leak.key, leak.source, leak.trained_key) == ("x", f"{clean_run}: sounds", "sounds/train1")


def test_generated_worlds_are_compared_by_their_combinations(toy_run):
    found = figures(toy_run)["leakage"]
    assert found["leaked"] == 0
    assert set(found["checked"]) == {"owners", "combinations"}
    assert any("generated" in note for note in found["not_checked"])


@pytest.mark.slow
def test_training_data_that_is_gone_costs_the_audit_and_not_the_figures(clean_run, tmp_path, no_pictures, caplog):
    shutil.copytree(clean_run.parent, tmp_path / "moved")
    run_dir = tmp_path / "moved" / "run"
    text = (run_dir / "config.yaml").read_text().replace(str(clean_run.parent), str(tmp_path / "moved"))
    (run_dir / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match="not written by a training of this account, or changed since"):
        load_parts(run_dir)
    parts = load_parts(run_dir, trust=[str(tmp_path)])
    (tmp_path / "moved" / "train0.wav").unlink()
    found = audit_run(parts, run_dir, "test", trust=()).figures()
    assert (found["leaked"], found["checked"]) == (0, {})
    assert "train0.wav" in found["not_checked"][0]
    with pytest.raises(ValueError, match=r"train0\.wav"):
        audit_run(parts, run_dir, "test", trust=(), thorough=True)
