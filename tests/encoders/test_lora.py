"""Adapters: what gets one, what is written and read, and what is refused."""

import copy
import json
import sys

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bind.encoders.audio_cnn import AudioCNN
from bind.encoders.lora import (
    CONFIG_NAME,
    PREFIX,
    WEIGHTS_NAME,
    add_adapter,
    has_adapter,
    merge_adapter,
    merged_state_dict,
    save_adapter,
)
from bind.encoders.map_vit import MapViT
from bind.encoders.trainable import set_trained_part
from bind.types import LayeredEncoder

X = torch.rand(2, 1, 32, 32)
KEY = "encoder.depth"


class Attention(nn.Module):
    """A trunk of PyTorch's own layers, with dropout and a BatchNorm."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.batch_norm = nn.BatchNorm1d(4)

    def layers(self):
        return list(self.encoder.layers)

    def forward(self, x):
        return self.batch_norm(self.encoder(x)).mean(dim=1)


def vit(width=16, num_layers=2):
    torch.manual_seed(width)
    return MapViT(size_px=32, width=width, num_layers=num_layers, num_heads=2, dropout=0.2)


def adapted(options=None, make=vit):
    encoder = make()
    add_adapter(encoder, options or {"r": 4, "alpha": 8, "dropout": 0.1, "targets": None}, KEY)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(std=0.1)
    return encoder.eval()


@pytest.fixture
def folder(tmp_path):
    save_adapter(adapted(), tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.slow
def test_an_adapter_changes_nothing_before_it_trains_and_only_it_trains():
    encoder = vit()
    expected = encoder.eval()(X)
    set_trained_part(encoder, "lora", KEY, {"r": 4, "alpha": 8, "dropout": 0.5})
    assert torch.equal(encoder.eval()(X), expected)
    assert all((".lora_" in name) == parameter.requires_grad for name, parameter in encoder.named_parameters())
    encoder.train()
    assert {type(m).__name__ for m in encoder.modules() if m.training} >= {"Dropout", "ModuleDict"}
    assert not any(module.training for name, module in encoder.named_modules() if ".lora_" not in name)
    assert isinstance(encoder, LayeredEncoder)


@pytest.mark.slow
def test_attention_and_mlp_of_every_layer_get_one():
    assert {name.partition(".lora_")[0] for name, _ in adapted().named_parameters() if ".lora_" in name} == {
        f"trunk.layers.{i}.{name}" for i in range(2) for name in ("qkv", "out", "mlp.0", "mlp.3")
    }
    only = adapted({"targets": ["qkv", "mlp.3"], "r": 2})
    names = {name.partition(".lora_")[0] for name, _ in only.named_parameters() if ".lora_" in name}
    assert names == {f"trunk.layers.{i}.{name}" for i in range(2) for name in ("qkv", "mlp.3")}


@pytest.mark.slow
@pytest.mark.parametrize("make", [vit, Attention], ids=["ours", "PyTorch's"])
def test_merged_weights_compute_the_same_under_the_names_of_a_plain_encoder(make):
    x = X if make is vit else torch.rand(2, 4, 8)
    plain = make().eval()
    encoder = adapted({"r": 3, "alpha": 6}, make)
    expected = encoder(x)
    state = merged_state_dict(encoder)
    assert torch.equal(encoder(x), expected), "the adapter is still apart"
    assert set(state) == set(plain.state_dict())
    plain.load_state_dict(state)
    assert (plain(x) - expected).abs().max() < 1e-5
    merge_adapter(encoder)
    assert not has_adapter(encoder)
    assert torch.equal(encoder(x), plain(x))


@pytest.mark.slow
def test_peft_loads_what_is_written_and_what_peft_writes_is_loaded(folder, tmp_path):
    expected = adapted()(X)
    names = load_file(folder / WEIGHTS_NAME)
    assert f"{PREFIX}trunk.layers.0.qkv.lora_A.weight" in names
    assert all(name.startswith(PREFIX) for name in names)
    by_peft = peft.PeftModel.from_pretrained(vit(), str(folder)).eval()
    assert torch.equal(by_peft(X), expected)
    by_peft.save_pretrained(tmp_path / "again")
    encoder = vit()
    add_adapter(encoder, {"adapter": str(tmp_path / "again"), "r": 99}, KEY)
    assert torch.equal(encoder.eval()(X), expected)


@pytest.mark.slow
def test_the_same_adapter_is_written_in_the_same_bytes(folder, tmp_path):
    save_adapter(adapted(), tmp_path / "again")
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r": 0}, r"encoder\.depth\.lora\.r=0: give a rank"),
        ({"r": True}, "give a rank"),
        ({"r": 2.5}, "give a rank"),
        ({"alpha": -1}, r"lora\.alpha=-1: give a number above 0"),
        ({"dropout": 1}, r"lora\.dropout=1: give a share"),
        ({"rank": 4}, r"lora: unknown rank; it takes r, alpha, dropout, targets, adapter"),
        ({"targets": []}, r"lora\.targets=\[\]: give names"),
        ({"targets": "qkv"}, "give names of layers"),
        ({"targets": ["qkv", "query"]}, r"MapViT has no layer 'query'; its linear layers end in qkv, out, 0, 3"),
        ({"adapter": "nowhere"}, r"lora\.adapter=nowhere: no adapter_config\.json there"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        add_adapter(vit(), options, KEY)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 2)), r"Sequential names no layers.*lora\.targets=\[NAME"),
        (lambda: AudioCNN(sample_rate_hz=16000), r"layers of AudioCNN have no attention and no MLP; train=last_1"),
    ],
)
def test_an_encoder_without_such_layers_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        add_adapter(make(), {}, KEY)


def test_the_extra_is_named_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r'encoder\.depth\.train=lora needs peft .*pip install "bindspace\[lora\]"'):
        set_trained_part(vit(), "lora", KEY, {})


def change_config(**changed):
    def change(folder):
        about = json.loads((folder / CONFIG_NAME).read_text())
        (folder / CONFIG_NAME).write_text(json.dumps(about | changed))

    return change


def change_weights(change):
    def write(folder):
        save_file(change(load_file(folder / WEIGHTS_NAME)), folder / WEIGHTS_NAME)

    return write


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "encoder", "message"),
    [
        (lambda folder: None, lambda: vit(width=24), r"of another encoder: it has \(4, 16\) at .*here \(4, 24\)"),
        (lambda folder: None, lambda: vit(num_layers=3), None),
        (
            lambda folder: None,
            lambda: vit(num_layers=1),
            r"adapter: .*adapter is of another encoder: \w+ has no layer 'trunk.layers.1.mlp.0'",
        ),
        (
            change_weights(lambda x: {n.removeprefix(PREFIX): t for n, t in x.items()}),
            vit,
            "it has nothing at base_model",
        ),
        (change_weights(lambda x: dict(list(x.items())[1:])), vit, "it has nothing at"),
        (change_weights(lambda x: {n: t * (".lora_A" in n) for n, t in x.items()}), vit, "so it changes nothing"),
        (change_weights(lambda x: {n: t * float("nan") for n, t in x.items()}), vit, "holds NaN"),
        (lambda folder: (folder / WEIGHTS_NAME).write_bytes(b"\x80\x04K\x01."), vit, "not readable as safetensors"),
        (
            lambda folder: (folder / WEIGHTS_NAME).rename(folder / "adapter_model.bin"),
            vit,
            r"adapter has its weights as a pickle \(adapter_model\.bin\), which can hold commands and is not read",
        ),
        (lambda folder: (folder / CONFIG_NAME).write_text("{"), vit, r"adapter_config\.json"),
        (change_config(use_dora=True), vit, "use_dora=True is more than plain LoRA"),
        (change_config(peft_type="IA3"), vit, "IA3 is more than plain LoRA"),
        (change_config(r=8), vit, r"it has \(4, 16\) at .*here \(8, 16\)"),
        (change_config(target_modules=".*qkv"), vit, "is a pattern; list the names"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(folder, damage, encoder, message):
    damage(folder)
    if message is None:
        add_adapter(encoder(), {"adapter": str(folder)}, KEY)
        return
    with pytest.raises(ValueError, match=message):
        add_adapter(encoder(), {"adapter": str(folder)}, KEY)


@pytest.mark.slow
def test_a_copy_has_an_adapter_that_trains_alone():
    encoder = vit()
    set_trained_part(encoder, "lora", KEY, {"r": 2})
    other = copy.deepcopy(encoder).train()
    other(X).square().sum().backward()
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert {name for name, p in other.named_parameters() if p.grad is not None} == {
        name for name, _ in other.named_parameters() if ".lora_" in name
    }
