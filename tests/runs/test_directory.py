"""Run directories: what else may write into one, and when."""

import os

import pytest
from omegaconf import OmegaConf
from support import runs

from bind.files.locks import lock_folder
from bind.runs.directory import prepare_run_dir
from bind.runs.jobs import evaluate
from bind.runs.results import owned_results
from bind.studies.heterogeneity.command import heterogeneity
from bind.studies.leakage import leakage
from bind.studies.probe.command import probe
from bind.studies.robustness.command import robustness

COMMANDS = {
    "evaluate": (evaluate, "metrics"),
    "probe": (probe, "probe"),
    "robustness": (robustness, "robustness"),
    "heterogeneity": (heterogeneity, "heterogeneity"),
    "leakage": (leakage, "leakage"),
}
"""Every command that writes into the directory of a run, and what its files are called."""


@pytest.fixture
def run_dir(tmp_path):
    """What is left of a run without its Binder: each command ends there, before it does any work."""
    run_dir, config = prepare_run_dir(runs.config(run_dir=str(tmp_path / "run")))
    (run_dir / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    return run_dir


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_writes_into_a_run_waits_for_its_training_and_for_its_own_like(name, run_dir):
    command, files = COMMANDS[name]
    cfg = runs.config(name=name, run=str(run_dir))
    refused = rf"run is in use by this process, {os.getpid()}: wait until it has ended"
    with lock_folder(run_dir, "wait"), pytest.raises(ValueError, match=refused):
        command(cfg)
    with owned_results(run_dir, files), pytest.raises(ValueError, match=refused):
        command(cfg)
    with owned_results(run_dir, "other"), pytest.raises(ValueError, match="binder"):
        command(cfg)
    assert [path.name for path in run_dir.iterdir()] == ["config.yaml"]


@pytest.mark.slow
def test_splits_are_evaluated_side_by_side(run_dir):
    with owned_results(run_dir, "metrics", "_val"), pytest.raises(ValueError, match="binder"):
        evaluate(runs.config(name="evaluate", run=str(run_dir), split="test"))
    with owned_results(run_dir, "metrics", "_val"), pytest.raises(ValueError, match="in use"):
        evaluate(runs.config(name="evaluate", run=str(run_dir), split="val"))
