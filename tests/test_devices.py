"""One training under every strategy: sources that alternate, missing modalities, several pairs, a fusion, clipping."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import OmegaConf
from support import runs, tiny, two_trainers

from bind.model.binder import Binder
from bind.training.module import BindingModule
from bind.training.sharding import ShardedStrategy
from bind.training.trainer import make_trainer
from bind.types import Pair

PAIRS = ("audio-image", "imu-image", "audio-imu", "audio_and_imu-image")


def as_srun(rank, port):
    """The environment of a task: two nodes with one task each."""
    tasks = str(two_trainers.WORLD_SIZE)
    slurm = {"JOB_ID": "7", "JOB_NAME": "bind", "NTASKS": tasks, "NTASKS_PER_NODE": "1", "NNODES": tasks}
    slurm |= {"NODELIST": "127.0.0.1", "PROCID": str(rank), "NODEID": str(rank), "LOCALID": "0"}
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **here, **{f"SLURM_{name}": value for name, value in slurm.items()}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Run directories of `two_trainers`, and the same training in one process."""
    folder = tmp_path_factory.mktemp("devices")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    command = [sys.executable, "-m", two_trainers.__name__, str(folder)]
    logs = [(folder / f"log{rank}").open("w+") for rank in range(two_trainers.WORLD_SIZE)]
    processes = [
        subprocess.Popen(command, env=as_srun(rank, port), cwd=folder, stdout=log, stderr=log)
        for rank, log in enumerate(logs)
    ]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bind.runs.evaluation.draw_run", lambda *args, **kwargs: {})
            two_trainers.train(folder / "one")
            two_trainers.train(folder / "one_trunk", kind="one_trunk")
            two_trainers.train(folder / "parts", kind="parts")
            for process, log in zip(processes, logs, strict=True):
                assert process.wait(timeout=250) == 0, Path(log.name).read_text()[-3000:]
            two_trainers.train(folder / "fsdp_then_one", ckpt="last")
    finally:
        for process, log in zip(processes, logs, strict=True):
            process.kill()
            process.wait()
            log.close()
    return folder


def column(run_dir, name):
    with (run_dir / "logs" / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def seen(run_dir, rank=0):
    return json.loads((run_dir / f"seen{rank}.json").read_text())


def weights(run_dir):
    """The last state, without the keys' bias: softmax does not see it, so Adam makes steps of its rounding errors."""
    state = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, x in state.items():
        if name.endswith("qkv.bias"):
            x.unflatten(0, (3, -1))[1] = 0.0
    return state


def apart(run_dir, other):
    """The largest difference of any weight."""
    state, other_state = weights(run_dir), weights(other)
    assert state.keys() == other_state.keys()
    return max((x - other_state[name]).abs().max().item() for name, x in state.items())


@pytest.mark.ranks
def test_the_training_is_as_uneven_as_it_is_meant_to_be(folder):
    one, *ranks = (seen(folder / "one"), seen(folder / "ddp", 0), seen(folder / "ddp", 1))
    assert len(one["sources"]) == two_trainers.STEPS
    assert set(one["sources"]) == {"both", "felt"}
    assert all(rank["sources"] == one["sources"] for rank in ranks)
    assert all(rank["steps_without_sound"] > one["steps_without_sound"] > 0 for rank in ranks)
    assert one["steps_clipped"] > 0


@pytest.mark.parametrize("strategy", two_trainers.STRATEGIES)
@pytest.mark.ranks
def test_two_processes_train_as_one_does(folder, strategy):
    for name in ("train/loss", *(f"train/loss/{pair}" for pair in PAIRS)):
        together, one = column(folder / strategy, name), column(folder / "one", name)
        assert together == pytest.approx(one, abs=1e-5, rel=0), name
    assert column(folder / strategy, "val/mean_R@1") == column(folder / "one", "val/mean_R@1")
    assert apart(folder / strategy, folder / "one") < 1e-5
    assert seen(folder / strategy)["steps_clipped"] == seen(folder / "one")["steps_clipped"]


@pytest.mark.parametrize("strategy", two_trainers.STRATEGIES)
@pytest.mark.ranks
def test_one_process_of_two_evaluates_the_whole_split_with_whole_weights(folder, strategy):
    figures, expected = (json.loads((folder / run / "metrics.json").read_text()) for run in (strategy, "one"))
    assert figures["retrieval"].keys() == expected["retrieval"].keys()
    for name, figure in figures["retrieval"].items():
        assert figure["map"] == pytest.approx(expected["retrieval"][name]["map"], abs=1e-3), name


@pytest.mark.parametrize("strategy", two_trainers.STRATEGIES)
@pytest.mark.ranks
def test_learned_scales_stay_together(folder, strategy):
    first, second = (seen(folder / strategy, rank)["scales"] for rank in (0, 1))
    assert first == second
    assert set(first) == {f"train/scale/{pair}" for pair in PAIRS}
    assert all(abs(scale - 1 / 0.07) > 1e-3 for scale in first.values()), "they should have moved"


@pytest.mark.ranks
def test_fsdp_cuts_all_that_is_trained_and_nothing_else(folder):
    first, second = (seen(folder / "fsdp", rank) for rank in (0, 1))
    assert first["sharded"] == first["trainable"]
    assert first["moments_here"] + second["moments_here"] == first["moments"]
    assert second["moments_here"] > 0.4 * first["moments"]
    assert seen(folder / "ddp")["sharded"] == []


@pytest.mark.ranks
def test_two_processes_find_the_same_batch_and_a_forecast_changes_nothing(folder):
    ranks = [seen(folder / "ddp_auto", rank) for rank in (0, 1)]
    assert [rank["batch_size"] for rank in ranks] == [two_trainers.GLOBAL_BATCH // two_trainers.WORLD_SIZE] * 2
    assert [rank["forecast"] for rank in ranks] == [two_trainers.STEPS] * 2
    assert apart(folder / "ddp_auto", folder / "ddp") == 0.0
    assert column(folder / "ddp_auto", "train/loss") == column(folder / "ddp", "train/loss")
    resolved = OmegaConf.load(folder / "ddp_auto" / "config.yaml").data
    assert (resolved.batch_size, resolved.chunk_size) == (ranks[0]["batch_size"], None)


@pytest.mark.ranks
def test_fsdp_resumes_bit_for_bit_and_across_strategies(folder):
    assert apart(folder / "fsdp_twice", folder / "fsdp") == 0.0
    assert seen(folder / "fsdp_twice")["forecast"] == two_trainers.STEPS // 2, "those that were left"
    assert apart(folder / "ddp_then_fsdp", folder / "one") < 1e-5
    assert apart(folder / "fsdp_then_one", folder / "one") < 1e-5


@pytest.mark.parametrize("strategy", two_trainers.STRATEGIES)
@pytest.mark.ranks
def test_one_trunk_of_two_encoders_trains_as_in_one_process(folder, strategy):
    run_dir, one = folder / f"one_trunk_{strategy}", folder / "one_trunk"
    assert set(seen(one)["sources"]) == {"heard", "felt", "both"}
    assert column(run_dir, "train/loss") == pytest.approx(column(one, "train/loss"), abs=1e-5, rel=0)
    assert apart(run_dir, one) < 1e-5
    assert not any(name.startswith("binder.encoders.audio.trunk.") for name in weights(one))


@pytest.mark.ranks
def test_fsdp_cuts_a_shared_trunk_once_and_resumes_bit_for_bit(folder):
    first, second = (seen(folder / "one_trunk_fsdp", rank) for rank in (0, 1))
    assert first["sharded"] == first["trainable"]
    assert first["moments_here"] + second["moments_here"] == first["moments"] == seen(folder / "one_trunk")["moments"]
    assert apart(folder / "one_trunk_fsdp_twice", folder / "one_trunk_fsdp") == 0.0


@pytest.mark.ranks
def test_an_adapter_and_the_head_of_a_frozen_encoder_train_as_in_one_process(folder):
    run_dir, one = folder / "parts_ddp", folder / "parts"
    assert set(seen(one)["sources"]) == {"heard", "felt", "both"}
    assert seen(run_dir)["trainable"] == seen(run_dir, 1)["trainable"] == seen(one)["trainable"]
    of_encoders = [name for name in seen(one)["trainable"] if ".encoders." in name]
    assert all(".imu." in name and ".lora_" in name for name in of_encoders)
    assert of_encoders
    of_views, of_masks = (
        ("train/loss/imu-imu", "val/imu_to_imu/R@1"),
        ("train/loss/masked/imu", "val/masked/imu/explained"),
    )
    for name in ("train/loss", *of_views, *of_masks):
        assert column(run_dir, name) == pytest.approx(column(one, name), abs=1e-5, rel=0), name
    assert apart(run_dir, one) < 1e-5
    adapter = torch.cat([x.flatten() for name, x in weights(run_dir).items() if ".lora_B." in name])
    assert adapter.abs().max() > 1e-3, "it has moved"


# What needs no second process


def trainer_of(folder, *choices, **values):
    config = runs.config(*choices, **runs.QUICK | {"run_dir": str(folder)} | values)
    return make_trainer(OmegaConf.to_container(config, resolve=True), folder)


@pytest.mark.slow
def test_a_choice_names_its_strategy(tmp_path):
    assert isinstance(trainer_of(tmp_path, "trainer=ddp").strategy, DDPStrategy)
    trainer = trainer_of(tmp_path, "trainer=fsdp")
    assert isinstance(trainer.strategy, ShardedStrategy)
    assert not trainer.validate_loop.inference_mode
    with pytest.raises(ValueError, match="2 processes need trainer=ddp or trainer=fsdp"):
        trainer_of(tmp_path, "trainer=cpu", **{"trainer.devices": 2})


@pytest.mark.slow
def test_slurm_counts_nodes_and_devices_and_leaves_signals_to_us(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="start it with srun"):
        trainer_of(tmp_path, "trainer=slurm")
    monkeypatch.setattr(rank_zero_only, "rank", 0)  # Lightning sets it to 1 here, for the rest of this process
    for name, value in as_srun(rank=1, port=1).items():
        monkeypatch.setenv(name, value)
    trainer = trainer_of(tmp_path, "trainer=slurm")
    environment = trainer.strategy.cluster_environment
    assert isinstance(environment, SLURMEnvironment)
    assert not environment.auto_requeue
    assert (trainer.num_nodes, trainer.world_size, trainer.global_rank) == (2, 2, 1)


@pytest.mark.slow
def test_chunks_and_shards_exclude_each_other(tmp_path):
    binder = Binder.from_config(tiny.binder_config(tiny.write_anchor(tmp_path)))
    module = BindingModule(binder, [Pair("imu", "image")], chunk_size=4)
    module.configure_model()  # nothing to do without a mesh of devices
    module._device_mesh = object()
    with pytest.raises(ValueError, match="choose trainer=ddp"):
        module.configure_model()
