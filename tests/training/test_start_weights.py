"""Weights to start from: of the modalities that were chosen, and of the space that they were bound to."""

import logging
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from support import pretrained, tiny

from bind.model.binder import Binder
from bind.training.checkpoints import init_weights
from bind.training.module import BindingModule
from bind.types import Pair

TOY = tiny.binder_config("toy")


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    return Binder.from_config(TOY).save(tmp_path / "saved")


@pytest.mark.slow
def test_those_of_modalities_that_are_not_chosen_are_left_out_and_named(saved, caplog):
    binder = Binder.from_config(TOY | {"modalities": ["depth"]})
    with caplog.at_level(logging.INFO, "bind"):
        init_weights(SimpleNamespace(binder=binder), saved)
    assert "imu left out, since modalities=['depth']" in caplog.text
    expected = Binder.load(saved).encoders["depth"].state_dict()
    assert all(torch.equal(x, expected[name]) for name, x in binder.encoders["depth"].state_dict().items())


@pytest.mark.slow
def test_a_run_that_goes_on_needs_all_of_them(saved):
    binder = Binder.from_config(TOY | {"modalities": ["depth"]})
    with pytest.raises(ValueError, match=r"unexpected \['encoders\.imu"):
        init_weights(SimpleNamespace(binder=binder), saved, exact=True)


@pytest.mark.slow
def test_those_of_another_anchor_are_named_and_of_another_size_refused(saved, caplog, tmp_path):
    binder = Binder.from_config(tiny.binder_config(tiny.write_anchor(tmp_path / "anchor")))
    with pytest.raises(ValueError, match=r"Their space has other dimensions than the \d+ here: choose the anchor"):
        init_weights(SimpleNamespace(binder=binder), saved)
    assert "bound to another anchor" in caplog.text


@pytest.mark.slow
def test_an_encoder_may_have_options_of_its_own_for_its_head():
    config = TOY | {"encoder": TOY["encoder"] | {"imu": TOY["encoder"]["imu"] | {"head": {"norm": False}}}}
    binder = Binder.from_config(config)
    assert isinstance(binder.heads["imu"].norm, torch.nn.Identity)
    assert isinstance(binder.heads["depth"].norm, torch.nn.LayerNorm)


TRUNK = {"width": 16, "num_layers": 2, "num_heads": 2, "drop_path": 0.0}
WITH_TRUNKS = {
    "imu": {"_target_": "bind.encoders.imu_transformer.ImuTransformer", "num_steps": 50, "kernel": 10, **TRUNK},
    "depth": {"_target_": "bind.encoders.map_vit.MapViT", "size_px": 64, "patch": 32, "share": "imu", **TRUNK},
}


def with_trunk(modality, **options):
    """A binder of one modality, whose trunk is built like that of WITH_TRUNKS unless `options` differ."""
    encoder = {key: value for key, value in WITH_TRUNKS[modality].items() if key != "share"} | options
    return Binder.from_config(TOY | {"modalities": [modality], "encoder": {modality: encoder}})


@pytest.fixture
def saved_with_trunk(tmp_path):
    torch.manual_seed(1)
    return Binder.from_config(TOY | {"encoder": WITH_TRUNKS}).save(tmp_path / "one_trunk")


@pytest.mark.slow
@pytest.mark.parametrize("train", ["full", "head", "lora"])
def test_a_trunk_that_others_trained_is_taken_and_nothing_else(saved_with_trunk, train):
    binder = with_trunk("depth", train=train)
    before = {name: x.clone() for name, x in binder.own_state_dict().items()}
    parts = {"encoders.depth.trunk": "encoders.imu.trunk"}
    init_weights(SimpleNamespace(binder=binder), saved_with_trunk, parts=parts)
    trunk = {
        name.removeprefix("encoders.imu.trunk."): x
        for name, x in load_file(saved_with_trunk / "model.safetensors").items()
        if name.startswith("encoders.imu.trunk.")
    }
    taken = 0
    for name, x in binder.own_state_dict().items():
        if ".trunk." in name and "lora_" not in name:
            assert torch.equal(x, trunk[name.partition(".trunk.")[2].replace(".base_layer", "")])
            taken += 1
        else:
            assert torch.equal(x, before[name])
    assert taken == len(trunk)


@pytest.mark.slow
def test_a_trunk_of_other_sizes_is_refused_with_its_file(saved_with_trunk):
    parts = {"encoders.depth.trunk": "encoders.imu.trunk"}
    for options, said in (
        ({"width": 32}, r"another architecture: (?s:.*)size mismatch for encoders\.depth\.trunk\."),
        ({"num_layers": 3}, r"another architecture: of encoders\.imu\.trunk missing \['layers\.2\."),
    ):
        with pytest.raises(ValueError, match=said) as refused:
            init_weights(SimpleNamespace(binder=with_trunk("depth", **options)), saved_with_trunk, parts=parts)
        assert str(refused.value).startswith(f"{saved_with_trunk}: ")


@pytest.fixture
def make_module(tmp_path):
    """A function from what trains, and the seed of a folder's weights, to the module around a pretrained encoder."""

    def make(train="head", seed=0, **options):
        folder = pretrained.write(pretrained.dinov2, tmp_path / f"files-{seed}", seed=seed)
        encoder = {"_target_": "bind.encoders.pretrained.vision.VisionEncoder", "pretrained": folder, "train": train}
        torch.manual_seed(0)
        return BindingModule(
            Binder.from_config(TOY | {"modalities": ["depth"], "encoder": {"depth": encoder | options}}),
            [Pair("depth", "image")],
        )

    return make


def save_checkpoint(module, path):
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    return checkpoint["state_dict"]


def weights_of(module):
    return {name: x.clone() for name, x in module.binder.own_state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(x, b[name]) for name, x in a.items())


@pytest.mark.slow
@pytest.mark.parametrize("train", ["head", "full", "lora"])
def test_a_checkpoint_leaves_out_what_a_frozen_encoder_has_of_its_files(make_module, tmp_path, train):
    module, last = make_module(), tmp_path / "last.ckpt"
    with torch.no_grad():
        module.binder.heads["depth"].project.weight.add_(1.0)
    names = save_checkpoint(module, last)
    assert not any("encoders." in name for name in names)
    assert any("heads.depth." in name for name in names)
    other = make_module(train)
    init_weights(other, last, exact=True)
    assert torch.equal(other.binder.heads["depth"].project.weight, module.binder.heads["depth"].project.weight)
    assert train == "lora" or equal(weights_of(other), weights_of(module))
    whole = {
        name: x.shape for name, x in load_file(module.binder.save(tmp_path / "saved") / "model.safetensors").items()
    }
    assert whole == {name: x.shape for name, x in weights_of(module).items()}


@pytest.mark.slow
def test_a_checkpoint_is_not_loaded_beside_other_files(make_module, tmp_path):
    save_checkpoint(make_module(), tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"holds none of its weights; the one here has others: set encoder\.depth to"):
        init_weights(make_module(seed=1), tmp_path / "last.ckpt")


@pytest.mark.slow
def test_a_checkpoint_holds_frozen_weights_that_no_file_brings_back(make_module, tmp_path):
    module, random, last = make_module(), make_module(seed=1), tmp_path / "last.ckpt"
    init_weights(module, random.binder.save(tmp_path / "other"))
    assert any("encoders.depth." in name for name in save_checkpoint(module, last))
    again = make_module()
    init_weights(again, last, exact=True)
    assert equal(weights_of(again), weights_of(random))
    architecture = random.binder.encoders["depth"].saved_arguments()
    assert any("encoders.depth." in name for name in save_checkpoint(make_module(**architecture), last))


@pytest.mark.slow
def test_a_checkpoint_from_before_they_were_left_out_is_loaded(make_module, tmp_path):
    module, other = make_module(), make_module(seed=1)
    torch.save({"state_dict": module.state_dict()}, tmp_path / "last.ckpt")
    init_weights(other, tmp_path / "last.ckpt", exact=True)
    assert equal(weights_of(other), weights_of(module))
