import csv

import pytest
from support import runs

from bind.runs.jobs import train
from bind.training.callbacks.early_validation import EarlyValidation


def validated_steps(run_dir):
    """Steps after which a validation was logged."""
    with (run_dir / "logs" / "metrics.csv").open(newline="") as file:
        return [int(row["step"]) + 1 for row in csv.DictReader(file) if row.get("val/mean_R@1")]


EARLY = {"_target_": "bind.training.callbacks.early_validation.EarlyValidation"}


@pytest.fixture
def config(recordings, tmp_path):
    """Makes the config of two epochs of three steps with a validation split of two batches."""

    def make(name, **values):
        own = {"data.manifest": str(recordings), "run_dir": str(tmp_path / name), "data.evaluation_batch_size": 4}
        return runs.config("data=manifest", **runs.RECORDED | own | values)

    return make


@pytest.mark.slow
def test_the_first_steps_are_validated_and_nothing_else_changes(config, tmp_path, no_pictures):
    train(config("early", **{"callbacks.early_validation": {**EARLY, "steps": [1, 3, 5]}}))
    train(config("usual"))
    assert validated_steps(tmp_path / "usual") == [3, 6]
    assert validated_steps(tmp_path / "early") == [1, 3, 5, 6]
    weights = [(tmp_path / name / "binder" / "model.safetensors").read_bytes() for name in ("early", "usual")]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_a_large_validation_split_is_validated_at_the_ends_of_epochs(config, tmp_path, no_pictures):
    train(config("large", **{"callbacks.early_validation": {**EARLY, "steps": [1], "max_batches": 1}}))
    assert validated_steps(tmp_path / "large") == [3, 6]


def test_steps_count_from_one():
    with pytest.raises(ValueError, match=r"callbacks\.early_validation\.steps=\[0\]: give steps from 1 on"):
        EarlyValidation(steps=[0])


@pytest.mark.slow
def test_a_run_that_is_killed_after_an_early_validation_goes_on_as_if_it_had_not_been(config, tmp_path, no_pictures):
    early = {"callbacks.early_validation": {**EARLY, "steps": [2, 4, 5]}}
    train(config("whole", **early))
    plug = {"callbacks.plug": {"_target_": "support.runs.PullPlug", "step": 5}}
    with pytest.raises(runs.PulledPlugError):
        train(config("killed", **early | plug))
    train(config("killed", **early, ckpt="last"))
    for name in ("logs/metrics.csv", "binder/model.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
