"""Binders of which parts are frozen: what training changes, in chunks, shards and shared trunks, and what is saved."""

import copy

import lightning as L
import peft
import pytest
import torch
import torch.distributed as dist
from support import runs, tiny
from support.batches import RECORDINGS, make_batch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from bind.model.binder import Binder
from bind.runs.jobs import evaluate, train
from bind.training.module import BindingModule, parameter_groups
from bind.training.sharding import shard
from bind.types import Pair

PAIRS = [Pair("imu", "image"), Pair("depth", "image")]
TRUNK = {"width": 16, "num_layers": 3, "num_heads": 2}
IMU = {"_target_": "bind.encoders.imu_transformer.ImuTransformer", "num_steps": 50, "kernel": 10, **TRUNK}
IMU |= {"drop_path": 0.0, "feature_dropout": 0.0}
DEPTH = {"_target_": "bind.encoders.map_vit.MapViT", "size_px": 64, "patch": 32, **TRUNK}
LORA = {"r": 4, "alpha": 8, "dropout": 0.1, "targets": None}


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


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [None, 1])
@pytest.mark.parametrize("part", ["head", "last_1", "last_3", "lora"])
def test_a_step_changes_what_trains_and_nothing_else(make_binder, part, chunk_size):
    binder = make_binder(imu=part)
    changed, _ = changed_by_a_step(binder, chunk_size)
    of_imu = {name for name in changed if name.startswith("encoders.imu.")}
    trained = {f"encoders.imu.{name}" for name, p in binder.encoders["imu"].named_parameters() if p.requires_grad}
    assert of_imu == trained
    assert any(name.startswith("heads.imu.") for name in changed)
    assert any(name.startswith("encoders.depth.stem.") for name in changed)


@pytest.mark.slow
def test_chunks_of_a_frozen_encoder_are_run_once(make_binder):
    binder = make_binder(depth="head")
    calls = []
    binder.encoders["imu"].register_forward_hook(lambda *_: calls.append(1))
    losses = [changed_by_a_step(copy.deepcopy(binder), chunk_size)[1] for chunk_size in (None, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert len(calls) == 1 + 2, "the whole batch of 3, then 2 chunks of it"


@pytest.mark.slow
@pytest.mark.parametrize("part", ["head", "lora"])
def test_a_compiled_encoder_trains_as_without(make_binder, tmp_path, part):
    plain, compiled = make_binder(imu=part), make_binder(imu=part)
    compiled.encoders["imu"].compile(backend="aot_eager")
    for binder in (plain, compiled):
        torch.manual_seed(2)
        perturb_adapters(binder)
    assert changed_by_a_step(compiled) == changed_by_a_step(plain)
    weights = plain.own_state_dict()
    assert all(torch.equal(x, weights[name]) for name, x in compiled.own_state_dict().items())
    loaded = Binder.load(compiled.save(tmp_path))
    assert (loaded.embed("imu", RECORDINGS) - plain.embed("imu", RECORDINGS)).abs().max() < 1e-6


@pytest.mark.long
def test_inductor_computes_the_gradients_of_adapters(make_binder):
    gradients = []
    for options in (None, {"fallback_random": True}):
        binder = make_binder(imu="lora")
        torch.manual_seed(2)
        perturb_adapters(binder)
        if options is not None:
            binder.encoders["imu"].compile(options=options)  # dropout draws torch's numbers, not Inductor's own
        module = BindingModule(binder, PAIRS).train()
        module.log = lambda *_, **__: None
        torch.manual_seed(1)
        module.training_step(make_batch(binder), 0).backward()
        named = binder.encoders["imu"].named_parameters()
        gradients.append({name: p.grad for name, p in named if p.requires_grad})
    assert len(gradients[0]) == 2 * 4 * TRUNK["num_layers"]
    for name, plain in gradients[0].items():
        assert (gradients[1][name] - plain).norm() < 1e-5 * plain.norm(), name


@pytest.mark.slow
@pytest.mark.parametrize("part", ["full", "head", "last_2"])
def test_a_binder_is_saved_and_loaded_with_its_parts(make_binder, tmp_path, part):
    binder = make_binder(imu=part)
    changed_by_a_step(binder)
    loaded = Binder.load(binder.save(tmp_path / "one"))
    assert torch.equal(loaded.embed("imu", RECORDINGS), binder.embed("imu", RECORDINGS))
    again = loaded.save(tmp_path / "two")
    for file in ("binder.json", "model.safetensors"):
        assert (again / file).read_bytes() == (tmp_path / "one" / file).read_bytes()


def perturb_adapters(binder):
    with torch.no_grad():
        for name, parameter in binder.encoders.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(std=0.1)


@pytest.mark.slow
def test_an_adapter_is_saved_apart_and_merged(make_binder, tmp_path):
    binder, plain = make_binder(imu="lora", depth="full"), make_binder(imu="full")
    perturb_adapters(binder)
    z = binder.embed("imu", RECORDINGS)
    folder = binder.save(tmp_path / "one")
    loaded = Binder.load(folder)
    assert list(loaded.own_state_dict()) == list(plain.own_state_dict()), "no name is another one"
    assert (loaded.embed("imu", RECORDINGS) - z).abs().max() < 1e-6
    assert (plain.embed("imu", RECORDINGS) - z).abs().max() > 1e-3
    assert loaded.trained_parts["imu"] == "full"
    assert (loaded.save(tmp_path / "two") / "binder.json").read_bytes() == (folder / "binder.json").read_bytes()
    by_peft = peft.PeftModel.from_pretrained(plain.encoders["imu"], str(folder / "adapters" / "imu")).eval()
    transform = binder.transforms["imu"]
    x = transform.collate([transform(value, None) for value in RECORDINGS])
    assert torch.equal(by_peft(x), binder.encoders["imu"].eval()(x))
    binder.merge_adapters()
    assert torch.equal(loaded.embed("imu", RECORDINGS), binder.embed("imu", RECORDINGS))
    assert not any(parameter.requires_grad for parameter in binder.encoders["imu"].train().parameters())


@pytest.mark.slow
def test_an_adapter_starts_from_plain_weights_and_not_the_other_way_round(make_binder):
    plain, binder = make_binder(imu="full"), make_binder(imu="lora")
    with torch.no_grad():
        for parameter in plain.encoders.parameters():
            parameter.add_(0.1)
    perturb_adapters(binder)
    adapter = {name: x.clone() for name, x in binder.own_state_dict().items() if ".lora_" in name}
    binder.load_own_state_dict(plain.own_state_dict())
    after = binder.own_state_dict()
    assert all(torch.equal(x, after[name]) for name, x in adapter.items())
    name = "encoders.imu.trunk.layers.0.qkv"
    assert torch.equal(after[f"{name}.base_layer.weight"], plain.own_state_dict()[f"{name}.weight"])
    with pytest.raises(ValueError, match=r"hold an adapter for imu: set encoder\.imu\.train=lora"):
        plain.load_own_state_dict(after)
    incomplete = plain.own_state_dict()
    del incomplete[f"{name}.bias"]
    with pytest.raises(ValueError, match=r"missing \['encoders\.imu\.trunk\.layers\.0\.qkv\.base_layer\.bias'\]"):
        binder.load_own_state_dict(incomplete)


@pytest.mark.slow
def test_a_downloaded_binder_names_no_adapter(make_binder, tmp_path):
    folder = make_binder().save(tmp_path)
    path = folder / "binder.json"
    path.write_text(path.read_text().replace('"train": "head"', '"train": "lora"'))
    with pytest.raises(ValueError, match=r"binder\.json: encoder\.imu\.train is lora: .*adapter merged"):
        Binder.load(folder)


@pytest.mark.slow
def test_binders_from_before_there_was_a_choice_train_whole(anchor_folder):
    binder = Binder.from_config(tiny.binder_config(anchor_folder, encoder={"imu": dict(IMU), "depth": dict(DEPTH)}))
    assert binder.trained_parts == {"imu": "full", "depth": "full"}
    assert all(parameter.requires_grad for parameter in binder.encoders.parameters())


@pytest.mark.slow
def test_both_sides_of_a_shared_trunk_are_frozen(make_binder):
    binder = make_binder(imu="head", depth="head", share="imu")
    changed, _ = changed_by_a_step(binder)
    assert {name.split(".")[0] for name in changed} == {"heads"}
    with pytest.raises(
        ValueError, match=r"encoder\.depth\.train=full and encoder\.imu\.train=head: they share a trunk"
    ):
        make_binder(imu="head", share="imu")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["last_1", "lora"])
def test_shards_hold_what_trains(make_binder, tmp_path, part):
    binder = make_binder(imu="head", depth=part)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        shard(binder, nn.ModuleDict(), init_device_mesh("cpu", (1,)))
        assert not any(isinstance(p, DTensor) for p in binder.encoders["imu"].parameters())
        assert all(isinstance(p, DTensor) for p in binder.encoders["depth"].parameters() if p.requires_grad)
        changed, _ = changed_by_a_step(binder)
        assert not any(name.startswith("encoders.imu.") for name in changed)
        assert part == "lora" or not any(name.startswith("encoders.depth.trunk.layers.0.") for name in changed)
        assert any(name.startswith("encoders.depth.trunk.layers.2.") for name in changed)
        assert part == "last_1" or all(".lora_" in name for name in changed if name.startswith("encoders.depth."))
        assert not binder.encoders["depth"].train().stem.training
    finally:
        dist.destroy_process_group()


class LossStep(nn.Module):
    """What DDP wraps in a training: the step with its loss."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, batch):
        return torch.stack(list(self.module.losses(batch, self.module(batch)).values())).sum()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["head", "last_1", "lora"])
def test_ddp_averages_the_gradients_of_what_trains(make_binder, tmp_path, part):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        module = BindingModule(make_binder(imu=part), PAIRS).train()
        by_ddp = nn.parallel.DistributedDataParallel(LossStep(module), find_unused_parameters=True)
        for missing in ({}, {"imu": ()}):  # a batch without a modality leaves its head without a gradient
            by_ddp(make_batch(module.binder, **missing)).backward()
        grads = {name for name, p in module.binder.encoders["imu"].named_parameters() if p.grad is not None}
        assert grads == {name for name, p in module.binder.encoders["imu"].named_parameters() if p.requires_grad}
    finally:
        dist.destroy_process_group()


# Runs

QUICK = {name: value for name, value in runs.RECORDED.items() if not name.startswith("encoder.")}
SMALL = {f"encoder.{m}.{name}": size for m in ("audio", "imu") for name, size in TRUNK.items()}
SMALL |= {"encoder.imu.kernel": 10}


def config_of_run(recordings, run_dir, **values):
    choices = ("data=manifest", "encoder/audio=transformer", "encoder/imu=transformer")
    own = {"data.manifest": str(recordings), "run_dir": str(run_dir)}
    own |= {"encoder.audio.train": "lora", "encoder.imu.train": "head", "encoder.audio.lora.dropout": 0.1}
    return runs.config(*choices, **QUICK | SMALL | own | values)


class NoTrunk(L.Callback):
    """Fails where a frozen encoder runs in the training or its validations: its features are cached."""

    def on_train_start(self, trainer, module):
        assert not module.binder.encoders["imu"].training
        self.hook = module.binder.encoders["imu"].register_forward_hook(lambda *_: pytest.fail("the encoder ran"))

    def on_train_end(self, trainer, module):
        self.hook.remove()


@pytest.fixture(scope="module")
def run_dir(recordings, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bind.runs.evaluation.draw_run", lambda *args, **kwargs: {})
        train(config_of_run(recordings, run_dir), callbacks=[NoTrunk()])
    return run_dir


def weights_of(run_dir):
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_a_run_of_parts_resumes_bit_for_bit(recordings, run_dir, tmp_path, no_pictures):
    plug = {"callbacks.plug": {"_target_": "support.runs.PullPlug", "step": 5}}
    with pytest.raises(runs.PulledPlugError):
        train(config_of_run(recordings, tmp_path, **plug))
    train(config_of_run(recordings, tmp_path, ckpt="last"), callbacks=[NoTrunk()])
    resumed, whole = weights_of(tmp_path), weights_of(run_dir)
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(x, whole[name]) for name, x in resumed.items())
    assert whole["binder.encoders.audio.trunk.layers.0.qkv.lora_B.default.weight"].any()


@pytest.mark.slow
def test_the_binder_of_a_run_is_evaluated_as_it_was_trained(run_dir, no_pictures):
    before = (run_dir / "queries.parquet").read_bytes()
    evaluate(runs.config(name="evaluate", run=str(run_dir)))
    assert (run_dir / "queries.parquet").read_bytes() == before
    assert (run_dir / "binder" / "adapters" / "audio" / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_a_run_goes_on_with_the_same_parts_and_starts_with_others(recordings, run_dir, tmp_path, no_pictures):
    last = str(run_dir / "checkpoints" / "last.ckpt")
    other = {"encoder.imu.train": "full", "trainer.max_steps": 1}
    with pytest.raises(ValueError, match=r"trained with encoder\.imu\.train=head, now it is full: .*init_from="):
        train(config_of_run(recordings, tmp_path, ckpt=last, **other))
    train(config_of_run(recordings, tmp_path, init_from=last, overwrite=True, **other))
    before, after = weights_of(run_dir), weights_of(tmp_path)
    name = "binder.encoders.imu.trunk.layers.0.qkv.weight"
    assert (after[name] - before[name]).abs().max() < 0.01
    assert not torch.equal(after[name], before[name])
