"""Binders of which parts are frozen: what training changes, in chunks, shards and shared trunks, and what is saved."""

import copy

import pytest
import torch
import torch.distributed as dist
from support import runs, tiny
from support.batches import RECORDINGS, make_batch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from bind.model.binder import Binder
from bind.runs.jobs import train
from bind.training.module import BindingModule, parameter_groups
from bind.training.sharding import shard
from bind.types import Pair

PAIRS = [Pair("imu", "image"), Pair("depth", "image")]
TRUNK = {"width": 16, "num_layers": 3, "num_heads": 2}
IMU = {"_target_": "bind.encoders.imu_transformer.ImuTransformer", "num_steps": 50, "kernel": 10, **TRUNK}
IMU |= {"drop_path": 0.0, "feature_dropout": 0.0}
DEPTH = {"_target_": "bind.encoders.map_vit.MapViT", "size_px": 64, "patch": 32, **TRUNK}
LORA = {"r": 4, "alpha": 4, "dropout": 0.0, "targets": None}


@pytest.fixture(scope="module")
def anchor_folder(tmp_path_factory):
    return tiny.write_anchor(tmp_path_factory.mktemp("anchor"))


@pytest.fixture
def make_binder(anchor_folder):
    def make(imu="head", depth="full", **more):
        encoders = {"imu": {**IMU, "train": imu, "lora": LORA}, "depth": {**DEPTH, "train": depth, "lora": LORA}}
        encoders["depth"] |= more
        torch.manual_seed(0)
        return Binder.from_config(tiny.binder_config(anchor_folder, encoder=copy.deepcopy(encoders)))

    return make


def changed_by_a_step(binder, chunk_size=None):
    """Names of the weights that one step of the optimizer changes, and the loss before it."""
    module = BindingModule(binder, PAIRS, chunk_size=chunk_size).train()
    module.log = lambda *_, **__: None
    before = copy.deepcopy(binder.own_state_dict())
    optimizer = torch.optim.AdamW(parameter_groups(module, 0.5), lr=0.01)
    torch.manual_seed(1)
    loss = module.training_step(make_batch(binder), 0)
    loss.backward()
    optimizer.step()
    return {name for name, x in binder.own_state_dict().items() if not torch.equal(x, before[name])}, loss.item()


@pytest.mark.parametrize("chunk_size", [None, 1])
@pytest.mark.parametrize("part", ["head", "last_1", "last_3"])
def test_a_step_changes_what_trains_and_nothing_else(make_binder, part, chunk_size):
    binder = make_binder(imu=part)
    changed, _ = changed_by_a_step(binder, chunk_size)
    of_imu = {name for name in changed if name.startswith("encoders.imu.")}
    trained = {f"encoders.imu.{name}" for name, p in binder.encoders["imu"].named_parameters() if p.requires_grad}
    assert of_imu == trained
    assert any(name.startswith("heads.imu.") for name in changed)
    assert any(name.startswith("encoders.depth.stem.") for name in changed)


def test_chunks_of_a_frozen_encoder_are_run_once(make_binder):
    binder = make_binder(depth="head")
    calls = []
    binder.encoders["imu"].register_forward_hook(lambda *_: calls.append(1))
    losses = [changed_by_a_step(copy.deepcopy(binder), chunk_size)[1] for chunk_size in (None, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert len(calls) == 1 + 2, "the whole batch of 3, then 2 chunks of it"


@pytest.mark.parametrize("part", ["full", "head", "last_2"])
def test_a_binder_is_saved_and_loaded_with_its_parts(make_binder, tmp_path, part):
    binder = make_binder(imu=part)
    changed_by_a_step(binder)
    loaded = Binder.load(binder.save(tmp_path / "one"))
    assert torch.equal(loaded.embed("imu", RECORDINGS), binder.embed("imu", RECORDINGS))
    again = loaded.save(tmp_path / "two")
    for file in ("binder.json", "model.safetensors"):
        assert (again / file).read_bytes() == (tmp_path / "one" / file).read_bytes()


def test_binders_from_before_there_was_a_choice_train_whole(anchor_folder):
    binder = Binder.from_config(tiny.binder_config(anchor_folder, encoder={"imu": dict(IMU), "depth": dict(DEPTH)}))
    assert binder.trained_parts == {"imu": "full", "depth": "full"}
    assert all(parameter.requires_grad for parameter in binder.encoders.parameters())


def test_both_sides_of_a_shared_trunk_are_frozen(make_binder):
    binder = make_binder(imu="head", depth="head", share="imu")
    changed, _ = changed_by_a_step(binder)
    assert {name.split(".")[0] for name in changed} == {"heads"}
    with pytest.raises(
        ValueError, match=r"encoder\.depth\.train=full and encoder\.imu\.train=head: they share a trunk"
    ):
        make_binder(imu="head", share="imu")


def test_shards_hold_what_trains(make_binder, tmp_path):
    binder = make_binder(imu="head", depth="last_1")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        shard(binder, nn.ModuleDict(), init_device_mesh("cpu", (1,)))
        assert not any(isinstance(p, DTensor) for p in binder.encoders["imu"].parameters())
        assert all(isinstance(p, DTensor) for p in binder.encoders["depth"].parameters() if p.requires_grad)
        changed, _ = changed_by_a_step(binder)
        assert not any(name.startswith("encoders.imu.") for name in changed)
        assert not any(name.startswith("encoders.depth.trunk.layers.0.") for name in changed)
        assert any(name.startswith("encoders.depth.trunk.layers.2.") for name in changed)
        assert not binder.encoders["depth"].train().stem.training
    finally:
        dist.destroy_process_group()


# Runs

QUICK = {name: value for name, value in runs.RECORDED.items() if not name.startswith("encoder.")}
SMALL = {f"encoder.{m}.{name}": size for m in ("audio", "imu") for name, size in TRUNK.items()}
SMALL |= {"encoder.imu.kernel": 10}


def config_of_run(recordings, run_dir, **values):
    choices = ("data=manifest", "encoder/audio=transformer", "encoder/imu=transformer")
    own = {"data.manifest": str(recordings), "run_dir": str(run_dir)}
    own |= {"encoder.audio.train": "head", "encoder.imu.train": "last_1"}
    return runs.config(*choices, **QUICK | SMALL | own | values)


@pytest.fixture(scope="module")
def run_dir(recordings, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bind.runs.evaluation.draw_run", lambda *args, **kwargs: {})
        train(config_of_run(recordings, run_dir))
    return run_dir


def weights_of(run_dir):
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_a_run_of_parts_resumes_bit_for_bit(recordings, run_dir, tmp_path, no_pictures):
    plug = {"callbacks.plug": {"_target_": "support.runs.PullPlug", "step": 5}}
    with pytest.raises(runs.PulledPlugError):
        train(config_of_run(recordings, tmp_path, **plug))
    train(config_of_run(recordings, tmp_path, ckpt="last"))
    resumed, whole = weights_of(tmp_path), weights_of(run_dir)
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(x, whole[name]) for name, x in resumed.items())


@pytest.mark.slow
def test_a_run_goes_on_with_the_same_parts_and_starts_with_others(recordings, run_dir, tmp_path, no_pictures):
    last = str(run_dir / "checkpoints" / "last.ckpt")
    other = {"encoder.audio.train": "full", "trainer.max_steps": 1}
    with pytest.raises(ValueError, match=r"trained with encoder\.audio\.train=head, now it is full: .*init_from="):
        train(config_of_run(recordings, tmp_path, ckpt=last, **other))
    train(config_of_run(recordings, tmp_path, init_from=last, overwrite=True, **other))
    before, after = weights_of(run_dir), weights_of(tmp_path)
    name = "binder.encoders.audio.trunk.layers.0.qkv.weight"
    assert (after[name] - before[name]).abs().max() < 0.01
    assert not torch.equal(after[name], before[name])
