import json

import numpy as np
import pytest
from support import runs, timelines

from bind.studies.timeline.command import timeline

CLASSES = {"moves": {"modalities": ["imu"], "templates": ["a person {}"], "classes": list(timelines.LABELS)}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, and recordings of three people with annotations."""
    folder = tmp_path_factory.mktemp("days")
    timelines.write_run(folder / "run", CLASSES)
    rows, annotations = [], []
    for number, split in enumerate(["train", "val", "test"]):
        timelines.write_sensor_array(folder / f"day{number}.npy", timelines.motion(48, seed=number))
        rows.append({"key": f"day{number}", "split": split, "owner": split, "imu": f"day{number}.npy"})
        for start in range(0, 48, 4):
            if start % 16:
                said = {"start_seconds": start, "end_seconds": start + 4, "label": timelines.LABELS[start // 4 % 3]}
                annotations.append({"recording": f"day{number}", **said})
    for name, lines in (("recordings", rows), ("annotations", annotations)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def config(folder, **values):
    return runs.config(name="timeline", **{"run": str(folder / "run"), "labels": "moves"} | values)


def of_tables(folder, **values):
    tables = {name: str(folder / f"{name}.jsonl") for name in ("annotations",)}
    return config(folder, manifest=str(folder / "recordings.jsonl"), **tables | values)


@pytest.mark.slow
def test_a_recording_becomes_all_kinds_of_files(folder, capsys):
    outs = [str(folder / f"out/day{ending}") for ending in (".csv", ".eaf", ".txt", ".html", ".png")]
    timeline(config(folder, imu=str(folder / "day0.npy"), out=outs, hop_seconds=0.5))
    said = capsys.readouterr()
    assert said.out.endswith("\n".join(outs) + "\n")
    assert "not fitted for these labels" in said.err
    rows = np.loadtxt(outs[0], delimiter=",", skiprows=1, dtype=str)
    assert (rows[0][:2].tolist(), float(rows[-1][2])) == (["day0", "0.000"], 48.0)
    assert set(rows[:, 3]) <= set(timelines.LABELS)


@pytest.mark.slow
def test_a_fit_is_measured_kept_and_used(folder, capsys):
    timeline(of_tables(folder, fit=True, hop_seconds=0.5))
    said = capsys.readouterr().out
    assert "or none of these" in said
    assert said.endswith(f"{folder / 'run' / 'timeline.json'}\n")
    timeline(of_tables(folder, hop_seconds=0.5))
    assert "test" in (again := capsys.readouterr().out)
    rows = [line.split() for line in said.splitlines() if line.startswith("test ")]
    assert [line.split() for line in again.splitlines() if line.startswith("test ")] == rows, "as after the fit"
    out = folder / "fitted.csv"
    timeline(config(folder, imu=str(folder / "day2.npy"), out=str(out), none=True, hop_seconds=0.5))
    said = capsys.readouterr()
    assert "fitted on validation recordings" in " ".join(said.out.split())
    assert said.err == ""
    assert {line.split(",")[3] for line in out.read_text().splitlines()[1:]} <= {*timelines.LABELS, "none of these"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "name one recording, such as imu=day.csv; or manifest="),
        ({"imu": "day0.npy", "audio": "day0.npy", "out": "a.csv"}, "name one recording"),
        ({"imu": "day0.npy"}, "out is missing: out=segments.csv"),
        ({"imu": "day0.npy", "out": "a.docx"}, "out=a.docx: choose names that end in .csv, .eaf, .txt, .html, .png"),
        ({"imu": "nowhere.npy", "out": "a.csv"}, "imu=nowhere.npy: no such file"),
        ({"imu": "day0.npy", "out": "a.csv", "player": "day.mp4"}, "player=day.mp4: no such file"),
        ({"imu": "day0.npy", "out": "a.csv", "labels": "movs"}, "neither a label set of the run"),
        ({"imu": "day0.npy", "out": "a.csv", "hop_seconds": 3}, "hop_seconds=3: windows of 1 s"),
        ({"imu": "day0.npy", "out": "a.csv", "hop_seconds": 0.3, "none": True}, "none=true: .* has no fit of imu"),
        ({"imu": "day0.npy", "out": "a.csv", "look_ahead_seconds": 0}, "look_ahead_seconds=0: give seconds above 0"),
        ({"imu": "day0.npy", "out": "a.csv", "fit": True}, "fit=true learns from annotated recordings"),
        ({"sonar": "day0.npy", "out": "a.csv"}, "sonar: the run embeds"),
        ({"manifest": "recordings.jsonl"}, "manifest= and annotations= belong together"),
        (
            {"manifest": "recordings.jsonl", "annotations": "annotations.jsonl", "out": "a.csv"},
            "pass either a recording",
        ),
        (
            {"manifest": "recordings.jsonl", "annotations": "annotations.jsonl", "modality": "depth"},
            "depth: a time line is",
        ),
        ({"manifest": "recordings.jsonl", "annotations": "other.jsonl"}, "1 annotation.* outside"),
        (
            {"manifest": "recordings.jsonl", "annotations": "kinds.jsonl"},
            "annotations of several kinds, 'a', 'b': choose",
        ),
        (
            {"manifest": "part.jsonl", "annotations": "annotations.jsonl"},
            "'day2' is not one whole file in its own clock",
        ),
        (
            {"manifest": "recordings.jsonl", "annotations": "annotations.jsonl", "split": "night"},
            "the split night has no",
        ),
    ],
)
def test_what_can_not_be_is_one_message(folder, monkeypatch, values, message):
    monkeypatch.chdir(folder)
    row = {"recording": "day2", "start_seconds": 40, "end_seconds": 60, "label": "spinning"}
    (folder / "other.jsonl").write_text(json.dumps(row) + "\n")
    rows = [row | {"end_seconds": 42, "kind": kind} for kind in "ab"]
    (folder / "kinds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = (
        (folder / "recordings.jsonl").read_text().replace('"owner": "test"', '"owner": "test", "imu_start_seconds": 2')
    )
    (folder / "part.jsonl").write_text(lines)
    with pytest.raises(ValueError, match=message):
        timeline(config(folder, **values))
