"""Several tables in one run, each with what it has."""

import json

import pytest
from support.runs import RECORDED, config, read_manifest, write_manifest

from bind.runs.jobs import train


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
    train(mixture(tables, tmp_path, **{"data.weights": {"motions": 0}}))
    printed = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert printed["motions"][1:] == ["0", "0%", "0.0"]
    assert "imu_to_image" in json.loads((tmp_path / "metrics.json").read_text())["retrieval"]


@pytest.mark.slow
@pytest.mark.parametrize(("max_steps", "is_reported"), [(80, True), (1, False), (-1, False)])
def test_epochs_that_end_before_max_steps_are_reported(max_steps, is_reported, tables, tmp_path, capsys):
    values = {"data.steps_per_epoch": 2, "trainer.max_epochs": 2, "trainer.max_steps": max_steps}
    train(mixture(tables, tmp_path, **values))
    printed = "stops at trainer.max_epochs=2, step 4, before trainer.max_steps=80; raise trainer.max_epochs for more"
    assert (printed in capsys.readouterr().out) == is_reported


@pytest.mark.slow
def test_a_mixture_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\+data\.manifests\.NAME=FILE"):
        train(mixture({}, tmp_path))


def test_a_misspelt_source_is_named(tables, tmp_path):
    with pytest.raises(ValueError, match=r"data\.weights\.motion: .*'motions'"):
        train(mixture(tables, tmp_path, **{"data.weights": {"motion": 2.0}}))
