import pytest
import torch
from support import tiny
from support.batches import attention, make_batch
from torch import nn

from bind.evaluation.embedded import EmbeddedSplit
from bind.losses import Temperature, info_nce
from bind.model.binder import Binder
from bind.training.module import BindingModule, parameter_groups
from bind.types import Batch, Embeddings, Pair

IMU_IMAGE = Pair("imu", "image", temperature=0.1)
DEPTH_IMAGE = Pair("depth", "image", weight=2.0, temperature=0.5, learn_temperature=False)


@pytest.fixture(scope="module")
def anchor_folder(tmp_path_factory):
    return tiny.write_anchor(tmp_path_factory.mktemp("anchor"))


@pytest.fixture
def binder(anchor_folder):
    return Binder.from_config(tiny.binder_config(anchor_folder))


def quiet(module):
    module.log = lambda *_, **__: None
    return module


@pytest.mark.slow
def test_a_step_is_the_weighted_sum_of_the_pairs_losses(binder):
    module = quiet(BindingModule(binder, [IMU_IMAGE, DEPTH_IMAGE]).eval())
    batch = make_batch(binder)
    embeddings = module(batch)
    imu = info_nce(embeddings.z["imu"], embeddings.z["image"][[0, 2, 3]], 10.0, groups=torch.tensor([0, 2, 3]))
    depth = info_nce(embeddings.z["depth"], embeddings.z["image"][[1, 2]], 2.0, groups=torch.tensor([1, 2]))
    losses = module.losses(batch, embeddings)
    torch.testing.assert_close(losses["imu-image"], imu)
    torch.testing.assert_close(losses["depth-image"], depth)
    torch.testing.assert_close(module.training_step(batch, 0), imu + 2 * depth)


@pytest.mark.slow
def test_gradients_reach_encoders_and_learned_temperatures_only(binder):
    module = quiet(BindingModule(binder, [IMU_IMAGE, DEPTH_IMAGE]))
    module.training_step(make_batch(binder), 0).backward()
    reached = {name for name, parameter in module.named_parameters() if parameter.grad is not None}
    assert not any(name.startswith("binder.anchor.") for name in reached)
    assert {"pair_losses.imu-image.temperature.log_scale"} == {name for name in reached if "log_scale" in name}
    for modality in ("imu", "depth"):
        assert any(name.startswith(f"binder.encoders.{modality}.") for name in reached)


@pytest.mark.slow
def test_a_missing_modality_costs_nothing_and_keeps_its_graph(binder):
    module = BindingModule(binder, [IMU_IMAGE, DEPTH_IMAGE])
    batch = make_batch(binder, depth=())
    losses = module.losses(batch, module(batch))
    assert losses["depth-image"].item() == 0.0
    assert losses["depth-image"].requires_grad
    absent = make_batch(binder, carried=("image", "imu"))
    assert set(module.losses(absent, module(absent))) == {"imu-image"}


@pytest.mark.slow
def test_a_source_without_any_pair_is_named(binder):
    module = quiet(BindingModule(binder, [IMU_IMAGE]))
    batch = make_batch(binder, carried=("image", "depth"))
    batch.source = "kitchen"
    with pytest.raises(ValueError, match=r"source 'kitchen' carries \['image', 'depth'\].*'imu-image'"):
        module.training_step(batch, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", "abc"),
        ("lr", 0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("weight_decay", -0.1),
        ("warmup_fraction", 1.5),
        ("lr_end_fraction", None),
        ("betas", [0.9]),
        ("betas", "ab"),
        ("betas", [0.9, 1.0]),
    ],
)
def test_a_number_of_the_optimizer_that_can_not_be_names_its_key(key, value, binder):
    with pytest.raises(ValueError, match=rf"^optimizer\.{key}="):
        BindingModule(binder, [IMU_IMAGE], **{key: value})


@pytest.mark.slow
def test_pairs_that_can_not_be_trained_are_refused(binder):
    with pytest.raises(ValueError, match="no pair to train on"):
        BindingModule(binder, [])
    with pytest.raises(ValueError, match=r"pairs\.audio-image: audio is not among"):
        BindingModule(binder, [Pair("audio", "image")])
    with pytest.raises(ValueError, match=r"pairs\.text-image: both sides are frozen"):
        BindingModule(binder, [Pair("text", "image")])
    with pytest.raises(ValueError, match="temperature=2"):
        BindingModule(binder, [Pair("imu", "image", temperature=2.0)])


@pytest.mark.slow
def test_validation_keeps_vectors_but_not_the_data(binder):
    module = BindingModule(binder.eval(), [IMU_IMAGE, DEPTH_IMAGE])
    figures = {}
    module.log = lambda name, value, **_: figures.update({name: value})
    batch = make_batch(binder)
    with torch.no_grad():
        module.validation_step(batch, 0)
    kept, _ = module.validation[0]
    assert kept.inputs == {}
    assert kept.cached == {}
    assert batch.inputs
    module.on_validation_epoch_end()
    assert module.validation == []
    recalls = [figures[f"val/{a}_to_{b}/R@1"] for m in ("imu", "depth") for a, b in ((m, "image"), ("image", m))]
    assert figures["val/mean_R@1"] == pytest.approx(sum(recalls) / 4)


@pytest.mark.slow
def test_a_direction_counts_once_whatever_pairs_name_it(binder):
    imu_twice = Pair("image", "imu", temperature=0.1)
    module = BindingModule(binder.eval(), [IMU_IMAGE, imu_twice, DEPTH_IMAGE])
    figures = []
    module.log = lambda name, value, **_: figures.append((name, value))
    with torch.no_grad():
        module.validation_step(make_batch(binder), 0)
    module.on_validation_epoch_end()
    names = [name for name, _ in figures]
    assert len(names) == len(set(names))
    recalls = [value for name, value in figures if name.endswith("/R@1")]
    assert len(recalls) == 4
    assert dict(figures)["val/mean_R@1"] == pytest.approx(sum(recalls) / 4)


@pytest.mark.slow
def test_a_checkpoint_leaves_the_frozen_anchor_out_and_refuses_another(binder, tmp_path):
    module = BindingModule(binder, [IMU_IMAGE])
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    names = set(checkpoint["state_dict"])
    assert names
    assert not any(name.startswith("binder.anchor.") for name in names)
    assert "pair_losses.imu-image.temperature.log_scale" in names
    module.on_load_checkpoint(checkpoint)
    other = Binder.from_config(tiny.binder_config(tiny.write_anchor(tmp_path, seed=1)))
    with pytest.raises(ValueError, match=r"pass the same anchor\.pretrained="):
        BindingModule(other, [IMU_IMAGE]).on_load_checkpoint(checkpoint)


@pytest.mark.slow
def test_an_open_anchor_is_in_the_checkpoint(anchor_folder):
    config = tiny.binder_config(anchor_folder)
    config["anchor"]["train"] = ["text"]
    module = BindingModule(Binder.from_config(config), [Pair("text", "image")])
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    assert any(name.startswith("binder.anchor.model.text_model.") for name in checkpoint["state_dict"])
    module.on_load_checkpoint(checkpoint)


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.conv = nn.Conv1d(3, 2, 3)
        self.attention = nn.MultiheadAttention(4, 2)
        self.norm = nn.LayerNorm(3)
        self.group_norm = nn.GroupNorm(1, 3)
        self.embedding = nn.Embedding(5, 3)
        self.positions_LW = nn.Parameter(torch.zeros(5, 3))
        self.class_token = nn.Parameter(torch.zeros(1, 1, 3))
        self.temperature = Temperature()
        self.frozen = nn.Linear(3, 2).requires_grad_(False)


def test_only_matrices_and_kernels_decay():
    module = Everything()
    decay, no_decay = parameter_groups(module, 0.1)
    assert (decay["weight_decay"], no_decay["weight_decay"]) == (0.1, 0.0)
    name_of = {id(parameter): name for name, parameter in module.named_parameters()}
    assert {name_of[id(p)] for p in decay["params"]} == {
        "linear.weight",
        "conv.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
    }
    names = {name_of[id(p)] for p in no_decay["params"]}
    assert names == {
        *("linear.bias", "conv.bias", "attention.in_proj_bias", "attention.out_proj.bias"),
        *("norm.weight", "norm.bias", "group_norm.weight", "group_norm.bias"),
        *("embedding.weight", "positions_LW", "class_token", "temperature.log_scale"),
    }
    torch.optim.AdamW([decay, no_decay])


@pytest.mark.slow
def test_every_trainable_parameter_of_a_module_is_in_one_group(anchor_folder):
    binder = Binder.from_config(tiny.binder_config(anchor_folder, fusion=attention("imu", "depth")))
    module = BindingModule(binder, [IMU_IMAGE, Pair("imu_and_depth", "image")])
    grouped = [id(p) for group in parameter_groups(module, 0.1) for p in group["params"]]
    trainable = [id(p) for p in module.parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(trainable)


@pytest.mark.slow
def test_a_fusion_of_tokens_takes_no_chunks(anchor_folder):
    fusion = {"_target_": "bind.fusion.qformer.QFormerFusion", "inputs": ["imu", "depth"], "width": 8}
    binder = Binder.from_config(tiny.binder_config(anchor_folder, fusion=fusion))
    with pytest.raises(ValueError, match="reads the tokens of a whole batch"):
        BindingModule(binder, [Pair("imu_and_depth", "image")], chunk_size=2)


@pytest.mark.slow
def test_a_fused_pair_trains_the_fusion(anchor_folder):
    binder = Binder.from_config(tiny.binder_config(anchor_folder, fusion=attention("imu", "depth")))
    binder.fusion.modality_dropout = 0.0  # a row that keeps one input only says nothing about their weights
    module = quiet(BindingModule(binder, [Pair("imu_and_depth", "image")]))
    batch: Batch = make_batch(binder)
    module.training_step(batch, 0).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in binder.fusion.parameters())
    assert any(p.grad is not None for p in binder.encoders["depth"].parameters())


SYNCS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal", "aten::nonzero", "aten::masked_select"}
"""What waits for a GPU, whose numbers it gives to Python."""


@pytest.mark.slow
@pytest.mark.parametrize("depth", [(1, 2), (0, 1, 2, 3), ()])
def test_a_step_waits_for_its_device_once_for_all_pairs(depth, binder, monkeypatch):
    num_lists = 0
    to_list = torch.Tensor.tolist

    def counted(x):
        nonlocal num_lists
        num_lists += 1
        return to_list(x)

    module = quiet(BindingModule(binder, [IMU_IMAGE, DEPTH_IMAGE, Pair("imu", "depth")]))
    batch = make_batch(binder, depth=depth)
    monkeypatch.setattr(torch.Tensor, "tolist", counted)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        module.training_step(batch, 0).backward()
    waited = [event.name for event in profile.events() if event.name in SYNCS]
    assert (waited, num_lists) == ([], 1)


@pytest.mark.slow
def test_a_large_scale_is_still_looked_after(binder):
    """Where fp32 could lose terms, the sums are looked at: fp64 takes their place."""
    sharp = Pair("imu", "image", temperature=0.01, learn_temperature=False)
    module = BindingModule(binder, [sharp])
    far_B4 = torch.eye(4)
    batch = Batch([*"abcd"], torch.arange(4), {}, {}, modalities=("imu", "image"))
    rows = {"imu": torch.arange(4), "image": torch.arange(4)}
    loss = module.losses(batch, Embeddings({"imu": far_B4, "image": -far_B4}, rows, 4))["imu-image"]
    torch.testing.assert_close(loss, torch.tensor(100.0 + torch.log(torch.tensor(3.0)).item()))


@pytest.mark.slow
def test_the_figures_of_a_validation_are_those_with_intervals_but_for_them(binder):
    z = torch.nn.functional.normalize(torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    rows = {"a": torch.arange(20), "b": torch.arange(20)}
    split = EmbeddedSplit([str(i) for i in range(20)], torch.arange(20), {"a": z[:20], "b": z[20:]}, rows)
    plain = split.retrieval("a", "b", one_per_group=False, num_resamples=0)
    full = split.retrieval("a", "b", one_per_group=False)
    assert plain == {name: value for name, value in full.items() if not name.startswith("ci95")}
    assert len(full) > len(plain)
