import csv
import json

import pytest
from support import runs

from bind.runs.jobs import train
from bind.training.callbacks.forecast import ForecastCosts
from bind.training.lengths import lengths_of

NOW = {"callbacks.forecast.min_steps": 1}
EARLY = {
    "callbacks.early_validation": {
        "_target_": "bind.training.callbacks.early_validation.EarlyValidation",
        "steps": [1, 3, 5],
    }
}


@pytest.fixture
def config(recordings, tmp_path):
    """Makes the config of two epochs of three steps with everything random switched on."""

    def make(name, **values):
        own = {"callbacks.forecast.num_trial_steps": 3, "data.evaluation_batch_size": 4}
        return runs.fused_config(recordings, tmp_path / name, **own | values)

    return make


def files(run_dir):
    return {name: (run_dir / name).read_bytes() for name in ("logs/metrics.csv", "binder/model.safetensors")}


@pytest.mark.slow
def test_a_run_with_a_forecast_is_the_run_without_one(config, tmp_path, no_pictures, capsys):
    train(config("without"))
    assert "forecast: " not in capsys.readouterr().out
    assert not (tmp_path / "without" / "forecast.json").exists()
    train(config("with", **NOW))
    before, after = [line for line in capsys.readouterr().out.splitlines() if line.startswith("forecast: ")]
    assert "6 steps with 2 validations in about" in before
    assert "; happened: " in after
    assert files(tmp_path / "with") == files(tmp_path / "without")


@pytest.mark.slow
def test_a_run_that_goes_on_with_a_forecast_is_the_run_that_never_stopped(config, tmp_path, no_pictures):
    train(config("whole"))
    plug = {"callbacks.plug": {"_target_": "support.runs.PullPlug", "step": 4}}
    with pytest.raises(runs.PulledPlugError):
        train(config("killed", **plug))
    train(config("killed", **NOW, ckpt="last"))
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert json.loads((tmp_path / "killed" / "forecast.json").read_text())["num_steps"] == 3


@pytest.mark.slow
def test_what_is_expected_is_near_what_happens(config, tmp_path, no_pictures):
    train(config("run", **NOW))
    content = json.loads((tmp_path / "run" / "forecast.json").read_text())
    expected, happened = content["expected"], content["happened"]
    for name in ("memory_bytes", "disk_bytes"):
        assert happened[name] == pytest.approx(expected[name], rel=0.2), name
    assert 0 < expected["seconds"] < 20 * happened["seconds"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "num_validations"),
    [
        ({}, 2),
        (EARLY, 4),
        ({"trainer.max_steps": 4}, 1),
        ({"trainer.max_steps": 4, **EARLY}, 2),
        ({"trainer.check_val_every_n_epoch": 2}, 1),
        ({"trainer.val_check_interval": 2}, 2),
        ({"trainer.accumulate_grad_batches": 2}, 2),
    ],
)
def test_validations_are_counted_as_they_come(config, tmp_path, no_pictures, monkeypatch, values, num_validations):
    counted = []
    monkeypatch.setattr(
        "bind.training.callbacks.forecast.lengths_of", lambda *about: counted.append(lengths_of(*about))
    )
    train(config("run", **NOW, **values))
    with (tmp_path / "run" / "logs" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(bool(row["val/mean_R@1"]) for row in rows) == num_validations == counted[0].num_validations
    assert counted[0].num_steps == 1 + max(int(row["step"]) for row in rows if row["train/loss"])


@pytest.mark.slow
def test_a_training_without_an_end_begins_at_once(config, tmp_path, no_pictures, capsys):
    plug = {"callbacks.plug": {"_target_": "support.runs.PullPlug", "step": 2}}
    with pytest.raises(runs.PulledPlugError):
        train(config("endless", **NOW, **plug, **{"trainer.max_epochs": -1}))
    assert "forecast: " not in capsys.readouterr().out


@pytest.mark.slow
def test_a_disk_without_room_is_named_before_it_is_full(config, tmp_path, no_pictures, monkeypatch, caplog):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("bind.training.callbacks.forecast.shutil.disk_usage", lambda folder: usage)
    train(config("run", **NOW))
    assert "has 1.0 kB left, and the training will write" in caplog.text


@pytest.mark.parametrize("name", ["num_trial_steps", "min_steps"])
def test_steps_count_from_one(name):
    with pytest.raises(ValueError, match=rf"callbacks\.forecast\.{name}=0: give a number of steps from 1 on"):
        ForecastCosts("runs/mine", **{name: 0})
