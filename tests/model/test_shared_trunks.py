"""Encoders with one trunk: what may be shared, one set of weights in training, on disk and afterwards."""

import copy

import pytest
import torch
import torch.distributed as dist
from support import runs, tiny
from support.batches import RECORDINGS, depth_map, make_batch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from bind.build import build
from bind.encoders.imu_transformer import ImuTransformer
from bind.encoders.map_cnn import MapCNN
from bind.encoders.map_vit import MapViT
from bind.model.binder import WEIGHTS_NAME, Binder
from bind.model.places import CONFIG_NAME
from bind.model.trunks import copy_trunk, share_trunks
from bind.runs.jobs import evaluate, train
from bind.training.module import BindingModule, parameter_groups
from bind.training.sharding import shard
from bind.types import Pair

TRUNK = {"width": 16, "num_layers": 2, "num_heads": 2}
ENCODERS = {
    "imu": {"_target_": "bind.encoders.imu_transformer.ImuTransformer", "num_steps": 50, "kernel": 10, **TRUNK}
    | {"drop_path": 0.0, "feature_dropout": 0.0},
    "depth": {"_target_": "bind.encoders.map_vit.MapViT", "size_px": 64, "patch": 32, **TRUNK},
}
PAIRS = [Pair("imu", "image"), Pair("depth", "image")]


def imu(**more):
    return ImuTransformer(**{"num_steps": 50, "kernel": 10, "drop_path": 0.0} | TRUNK | more)


def depth(**more):
    return MapViT(**{"size_px": 64, "patch": 32} | TRUNK | more)


@pytest.fixture
def config(anchor_folder):
    return tiny.binder_config(anchor_folder, encoder=copy.deepcopy(ENCODERS))


@pytest.fixture
def shared(config):
    config["encoder"]["depth"]["share"] = "imu"
    return config


def num_weights(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_a_chain_ends_at_one_trunk_and_stems_stay_apart():
    encoders = {"a": depth(), "b": depth(patch=16), "c": imu()}
    stems = [encoder.stem for encoder in encoders.values()]
    trunk = encoders["c"].trunk
    share_trunks(encoders, {"a": "b", "b": "c"})
    assert all(encoder.trunk is trunk for encoder in encoders.values())
    assert [encoder.stem for encoder in encoders.values()] == stems


@pytest.mark.parametrize(
    ("encoders", "share", "message"),
    [
        ({"a": imu}, {"a": "b"}, r"encoder\.a\.share=b: b has no encoder here.*modalities=\[a\]"),
        ({"a": imu}, {"a": "a"}, r"encoder\.a\.share=a: a → a is a circle; set encoder\.a\.share=null"),
        ({"a": imu, "b": imu, "c": imu}, {"a": "b", "b": "c", "c": "b"}, "b → c → b is a circle"),
        ({"a": imu, "b": lambda: nn.Linear(2, 2)}, {"a": "b"}, r"encoder\.b \(Linear\) has no trunk"),
        (
            {"a": imu, "b": lambda: depth(width=24)},
            {"a": "b"},
            r"encoder\.a has TransformerTrunk\(width=16,.* encoder\.b has TransformerTrunk\(width=24,.* same settings",
        ),
        ({"a": imu, "b": lambda: depth(num_heads=4)}, {"a": "b"}, r"num_heads=2\).*num_heads=4\)"),
        ({"a": imu, "b": lambda: depth(dropout=0.1)}, {"a": "b"}, r"Dropout\(p=0\.0,.*Dropout\(p=0\.1,"),
        ({"a": imu, "b": lambda: depth(drop_path=0.1)}, {"a": "b"}, r"DropPath\(p=0\.0\).*DropPath\(p=0\.1\)"),
        ({"a": imu, "b": MapCNN}, {"a": "b"}, r"TransformerTrunk\(.*Sequential\("),
        ({"a": lambda: MapCNN(num_layers=2), "b": MapCNN}, {"a": "b"}, "has no 1 where"),
        ({"a": lambda: MapCNN(num_layers=1)} | {"b": lambda: MapCNN(num_layers=1)}, {"a": "b"}, "raise its num_layers"),
    ],
)
def test_what_can_not_be_shared_is_refused_and_left_as_it_was(encoders, share, message):
    encoders = {modality: make() for modality, make in encoders.items()}
    trunks = [getattr(encoder, "trunk", None) for encoder in encoders.values()]
    with pytest.raises(ValueError, match=message):
        share_trunks(encoders, share)
    assert [getattr(encoder, "trunk", None) for encoder in encoders.values()] == trunks


def test_a_copy_has_the_weights_and_goes_its_own_way():
    source, target = imu(), depth(dropout=0.1)
    before = copy.deepcopy(target.stem.state_dict())
    copy_trunk(source, target)
    assert all(torch.equal(a, b) for a, b in zip(source.trunk.parameters(), target.trunk.parameters(), strict=True))
    assert all(torch.equal(x, before[name]) for name, x in target.stem.state_dict().items())
    with torch.no_grad():
        target.trunk.norm.bias.add_(1.0)
    assert not torch.equal(source.trunk.norm.bias, target.trunk.norm.bias)
    with pytest.raises(
        ValueError, match=r"ImuTransformer has .*num_heads=2\) where that of MapViT has .*num_heads=4\)"
    ):
        copy_trunk(source, depth(num_heads=4))
    with pytest.raises(ValueError, match="no trunk"):
        copy_trunk(nn.Linear(2, 2), source)


@pytest.mark.slow
def test_a_shared_trunk_is_one_set_of_weights_that_both_modalities_train(config, shared):
    apart = Binder.from_config({**config, "encoder": ENCODERS})
    binder = Binder.from_config(shared)
    trunk = binder.encoders["imu"].trunk
    assert num_weights(apart) - num_weights(binder) == num_weights(trunk)
    module = BindingModule(binder, PAIRS)
    module.log = lambda *_, **__: None

    def gradient(**missing):
        module.zero_grad()
        module.training_step(make_batch(binder, **missing), 0).backward()
        return torch.cat([p.grad.flatten() for p in trunk.parameters()])

    both, of_imu, of_depth = gradient(), gradient(depth=()), gradient(imu=())
    assert of_imu.abs().sum() > 0
    assert of_depth.abs().sum() > 0
    assert (both - (of_imu + of_depth)).norm() < 1e-5 * both.norm()
    module.chunk_size = 1
    assert (both - gradient()).norm() < 1e-5 * both.norm()
    in_groups = [id(p) for group in parameter_groups(module, 0.05) for p in group["params"]]
    assert len(in_groups) == len(set(in_groups)) == len([p for p in module.parameters() if p.requires_grad])


@pytest.mark.slow
def test_encoders_that_share_nothing_start_as_they_did(config, shared):
    torch.manual_seed(0)
    apart = Binder.from_config({**config, "encoder": ENCODERS})
    torch.manual_seed(0)
    binder = Binder.from_config(shared)
    expected = apart.own_state_dict()
    assert all(torch.equal(x, expected[name]) for name, x in binder.own_state_dict().items())
    assert {name for name in expected if name not in binder.own_state_dict()} == {
        name for name in expected if name.startswith("encoders.depth.trunk.")
    }


@pytest.mark.slow
@pytest.mark.parametrize("sharer", ["imu", "depth"])
def test_a_saved_binder_shares_again(config, tmp_path, sharer):
    owner = {"imu": "depth", "depth": "imu"}[sharer]
    config["encoder"][sharer]["share"] = owner
    binder = Binder.from_config(config)
    with torch.no_grad():
        for parameter in binder.encoders.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    folder = binder.save(tmp_path)
    loaded = Binder.load(folder)
    assert loaded.encoders["imu"].trunk is loaded.encoders["depth"].trunk
    for modality, values in (("imu", RECORDINGS), ("depth", [depth_map(0), depth_map(1)])):
        assert torch.equal(loaded.embed(modality, values), binder.embed(modality, values))
    assert not any(name.startswith(f"encoders.{sharer}.trunk.") for name in loaded.own_state_dict())
    again = loaded.save(tmp_path / "again")
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
def test_weights_with_trunks_of_their_own_are_refused_and_the_other_way_round(config, shared):
    apart, binder = Binder.from_config({**config, "encoder": ENCODERS}), Binder.from_config(shared)
    with pytest.raises(ValueError, match=r"a trunk for depth alone: set encoder\.depth\.share=null"):
        binder.load_own_state_dict(apart.own_state_dict())
    with pytest.raises(ValueError, match=r"missing \['encoders\.depth\.trunk\."):
        apart.load_own_state_dict(binder.own_state_dict())


@pytest.mark.slow
def test_fsdp_refuses_weights_beside_a_shared_trunk_that_lie_in_no_part(shared, tmp_path):
    binder = Binder.from_config(shared)
    binder.encoders["imu"].scale = nn.Parameter(torch.ones(1))
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        with pytest.raises(ValueError, match=r"encoder\.imu\.scale lies beside a shared trunk.*choose trainer=ddp"):
            shard(binder, nn.ModuleDict(), init_device_mesh("cpu", (1,)))
    finally:
        dist.destroy_process_group()


# Configs and runs

QUICK = {name: value for name, value in runs.RECORDED.items() if not name.startswith("encoder.")}
SMALL = {f"encoder.{m}.{name}": size for m in ("audio", "imu") for name, size in TRUNK.items()}
SMALL |= {"encoder.imu.kernel": 10}


@pytest.mark.slow
def test_share_is_a_key_of_every_encoder():
    composed = runs.config("encoder/imu=transformer", "encoder.imu.share=audio")
    assert composed.encoder.imu.share == "audio"
    assert all(encoder.share is None for modality, encoder in composed.encoder.items() if modality != "imu")
    assert runs.config("+encoder.mine._target_=mine.Mine", "+encoder.mine.share=audio").encoder.mine.share == "audio"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "modalities"), [("transformer", ("audio", "imu", "depth", "thermal")), ("small", ("depth", "thermal"))]
)
def test_presets_of_one_name_have_one_trunk_to_share(preset, modalities):
    composed = runs.config(*(f"encoder/{m}={preset}" for m in modalities))
    parts = {
        m: {k: v for k, v in composed.encoder[m].items() if k not in ("share", "train", "lora")} for m in modalities
    }
    encoders = {m: build(part) for m, part in parts.items()}
    share_trunks(encoders, dict.fromkeys(modalities[1:], modalities[0]))
    assert len({encoder.trunk for encoder in encoders.values()}) == 1


def config_of_run(recordings, run_dir, **values):
    choices = ("data=manifest", "encoder/audio=transformer", "encoder/imu=transformer")
    own = {"data.manifest": str(recordings), "run_dir": str(run_dir), "encoder.audio.share": "imu"}
    return runs.config(*choices, **QUICK | SMALL | own | values)


@pytest.fixture(scope="module")
def run_dir(recordings, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bind.runs.evaluation.draw_run", lambda *args, **kwargs: {})
        train(config_of_run(recordings, run_dir))
    return run_dir


def weights_of(run_dir):
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_a_run_with_one_trunk_resumes_bit_for_bit(recordings, run_dir, tmp_path, no_pictures):
    plug = {"callbacks.plug": {"_target_": "support.runs.PullPlug", "step": 5}}
    with pytest.raises(runs.PulledPlugError):
        train(config_of_run(recordings, tmp_path, **plug))
    train(config_of_run(recordings, tmp_path, ckpt="last"))
    resumed, whole = weights_of(tmp_path), weights_of(run_dir)
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(x, whole[name]) for name, x in resumed.items())
    assert not any(name.startswith("binder.encoders.audio.trunk.") for name in whole)


@pytest.mark.slow
def test_a_run_with_one_trunk_is_evaluated_again_and_started_from(recordings, run_dir, tmp_path, no_pictures):
    before = (run_dir / "queries.parquet").read_bytes()
    evaluate(runs.config(name="evaluate", run=str(run_dir)))
    assert (run_dir / "queries.parquet").read_bytes() == before
    assert Binder.load(run_dir).share == {"audio": "imu"}
    for start in (run_dir, run_dir / "checkpoints" / "last.ckpt"):
        train(config_of_run(recordings, tmp_path, init_from=str(start), **{"trainer.max_steps": 1, "overwrite": True}))
    with pytest.raises(ValueError, match=r"missing \['encoders\.audio\.trunk\."):
        train(
            config_of_run(
                recordings, tmp_path, init_from=str(run_dir), **{"encoder.audio.share": None, "overwrite": True}
            )
        )


@pytest.mark.slow
def test_a_modality_that_is_not_chosen_has_no_trunk_to_share(recordings, tmp_path):
    with pytest.raises(ValueError, match=r"encoder\.audio\.share=imu: imu has no encoder here; choose it too"):
        train(config_of_run(recordings, tmp_path, modalities=["audio"]))
