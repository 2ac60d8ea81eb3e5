"""What bind takes from Hydra's insides is still there and still means the same."""

import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase
from omegaconf import OmegaConf

from bind.commands.checkout import CONFIG_DIR
from bind.training import hydra_private


@pytest.fixture
def job():
    """The config of a job as Hydra would run it."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = compose("train", ["seed=3", "modalities=[audio]"], return_hydra_config=True)
    config.hydra.runtime.output_dir = "/runs/here"
    config.hydra.overrides.task = ["seed=3", "modalities=[audio]"]
    HydraConfig.instance().set_config(config)
    yield HydraConfig.get()
    HydraConfig.instance().cfg = None


def test_outside_of_a_job_there_is_nothing():
    assert hydra_private.current_job() is None
    assert hydra_private.output_dir() is None
    assert hydra_private.job_overrides() == hydra_private.job_arguments() == []
    assert not hydra_private.is_multirun()


@pytest.mark.slow
def test_a_job_knows_its_folder_overrides_and_flags(job, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "--config-dir", "seed=1,2", "modalities=[audio]"])
    assert str(hydra_private.output_dir()) == "/runs/here"
    assert hydra_private.job_overrides() == ["seed=3", "modalities=[audio]"]
    assert hydra_private.job_arguments() == ["--config-dir", "seed=3", "modalities=[audio]"]
    assert not hydra_private.is_multirun()
    OmegaConf.set_readonly(job, False)
    job.mode = "MULTIRUN"
    assert hydra_private.is_multirun()


@pytest.mark.slow
def test_the_folder_of_further_processes_can_be_set(job, tmp_path):
    hydra_private.set_run_dir(tmp_path)
    assert HydraConfig.get().run.dir == str(tmp_path)


def test_the_jobs_of_a_sweep_are_those_of_hydras_sweeper():
    sweeper = OmegaConf.create({"params": {"optimizer.lr": "1e-3,1e-4"}})
    arguments = ["-m", "hydra.sweep.dir=here", "seed=0,1", "data.batch_size=8"]
    assert hydra_private.jobs_of_sweep(sweeper, arguments) == [
        ["optimizer.lr=0.001", "seed=0", "data.batch_size=8"],
        ["optimizer.lr=0.001", "seed=1", "data.batch_size=8"],
        ["optimizer.lr=0.0001", "seed=0", "data.batch_size=8"],
        ["optimizer.lr=0.0001", "seed=1", "data.batch_size=8"],
    ]


@pytest.mark.slow
def test_an_application_is_forgotten_and_known_again(job):
    version = VersionBase.instance().getbase()
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        with hydra_private.outside_of_any_app():
            assert hydra_private.current_job() is None
            with initialize_config_dir(str(CONFIG_DIR), version_base="1.1"):
                assert compose("train").seed == 0
        assert GlobalHydra.instance().hydra is hydra
        assert hydra_private.job_overrides() == ["seed=3", "modalities=[audio]"]
    assert VersionBase.instance().getbase() == version


@pytest.mark.parametrize(
    ("argument", "is_one"),
    [
        ("seed=0,1", True),
        ("run_dir=a/lr=1", False),
        ("run_dir='a/lr=1'", True),
        ("+x.y=[1,2]", True),
    ],
)
def test_what_is_an_override(argument, is_one):
    assert hydra_private.is_override(argument) is is_one


@pytest.mark.slow
def test_a_sweeps_folder_is_that_of_its_jobs(job, tmp_path):
    config = OmegaConf.create({"hydra": OmegaConf.to_container(job, resolve=False)})
    hydra_private.set_sweep_dir(config, tmp_path / "a=b")
    assert config.hydra.sweep.dir == str(tmp_path / "a=b")
    [override] = config.hydra.overrides.hydra
    assert hydra_private.is_override(override)
