"""Which weights of an encoder train, and in which mode the others stay."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bind.encoders.audio_cnn import AudioCNN
from bind.encoders.audio_vit import AudioViT
from bind.encoders.imu_cnn import ImuCNN
from bind.encoders.imu_transformer import ImuTransformer
from bind.encoders.map_cnn import MapCNN
from bind.encoders.map_vit import MapViT
from bind.encoders.trainable import is_frozen, require_equal_parts, set_trained_part
from bind.encoders.video_cnn import VideoCNN
from bind.types import LayeredEncoder

SMALL = {"width": 16, "num_layers": 3, "num_heads": 2}
ENCODERS = {
    "audio_vit": (lambda: AudioViT(num_mels=16, window_seconds=0.3, drop_path=0.5, **SMALL), (2, 4800)),
    "audio_cnn": (lambda: AudioCNN(sample_rate_hz=16000, num_mels=8, width=8, time_width=8), (2, 4800)),
    "imu_transformer": (lambda: ImuTransformer(num_steps=40, **SMALL), (2, 6, 40)),
    "imu_cnn": (lambda: ImuCNN(width=8), (2, 6, 40)),
    "map_vit": (lambda: MapViT(size_px=32, dropout=0.5, **SMALL), (2, 1, 32, 32)),
    "map_cnn": (lambda: MapCNN(width=8), (2, 1, 64, 64)),
    "video_cnn": (lambda: VideoCNN(width=8), (2, 2, 3, 64, 64)),
}


class WithBatchNorm(nn.Module):
    """As CLAP's: a BatchNorm of the input that is registered behind the layers; made of files."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.batch_norm = nn.BatchNorm1d(4)
        self.norm = nn.LayerNorm(4)

    def layers(self):
        return list(self.blocks)

    def saved_arguments(self):
        return {"pretrained": None}


def trained(encoder):
    return {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("kind", ENCODERS)
def test_layers_are_those_that_are_passed_in_this_order(kind):
    make, shape = ENCODERS[kind]
    encoder = make().eval()
    assert isinstance(encoder, LayeredEncoder)
    passed = []
    for number, layer in enumerate(encoder.layers()):
        first = next(m for m in layer.modules() if not list(m.children()))
        first.register_forward_pre_hook(lambda *_, number=number: passed.append(number))
    encoder(torch.rand(shape))
    assert passed == list(range(len(encoder.layers())))
    assert len(passed) > 1


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_last_layers_train_with_what_follows_them_and_the_rest_stays_as_it_is(kind):
    make, shape = ENCODERS[kind]
    encoder = make()
    set_trained_part(encoder, "last_1", "encoder.audio")
    last, others = encoder.layers()[-1], encoder.layers()[:-1]
    assert all(parameter.requires_grad for parameter in last.parameters())
    assert not any(parameter.requires_grad for layer in others for parameter in layer.parameters())
    assert not any(parameter.requires_grad for parameter in encoder.stem.parameters())
    encoder.train()
    assert all(module.training for leaf in last.children() for module in leaf.modules())
    assert not any(
        module.training for part in (encoder.stem, *others) for leaf in part.children() for module in leaf.modules()
    )
    encoder(torch.rand(shape)).square().sum().backward()
    assert {name for name, parameter in encoder.named_parameters() if parameter.grad is not None} == trained(encoder)
    assert trained(encoder) != {name for name, _ in encoder.named_parameters()}


@pytest.mark.slow
@pytest.mark.parametrize("again", [copy.deepcopy, lambda encoder: pickle.loads(pickle.dumps(encoder))])
@pytest.mark.parametrize("kind", ENCODERS)
def test_a_frozen_encoder_gives_the_same_features_whatever_is_called(kind, again):
    make, shape = ENCODERS[kind]
    encoder = make()
    set_trained_part(encoder, "head", "encoder.audio")
    x = torch.rand(shape)
    features = encoder(x)
    encoder = again(encoder)
    for train in (encoder.train, nn.Sequential(encoder).train, lambda: encoder.train(True)):
        train()
        assert is_frozen(encoder)
        assert torch.equal(encoder(x), features)
    assert not features.requires_grad
    assert not trained(encoder)


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(number=st.integers(1, 3), modes=st.lists(st.booleans(), max_size=4))
def test_modes_are_a_function_of_the_last_call(number, modes):
    encoder = ImuTransformer(num_steps=40, **SMALL)
    set_trained_part(encoder, f"last_{number}", "encoder.imu")
    for mode in [*modes, True]:
        encoder.train(mode)
    assert [layer.training for layer in encoder.trunk.layers] == [i >= 3 - number for i in range(3)]
    assert encoder.dropout.training
    assert not any(module.training for module in encoder.eval().modules())


@pytest.mark.parametrize("part", ["full", "head", "last_1", "last_3"])
def test_batch_statistics_of_an_encoder_that_was_made_of_files_never_change(part):
    encoder = WithBatchNorm()
    set_trained_part(encoder, part, "encoder.audio")
    encoder.train()
    before = encoder.batch_norm.running_mean.clone()
    encoder.batch_norm(torch.rand(8, 4) + 3)
    assert torch.equal(encoder.batch_norm.running_mean, before)
    assert encoder.batch_norm.weight.requires_grad == (part == "full")
    assert encoder.norm.weight.requires_grad == (part != "head")


def test_full_leaves_an_encoder_as_it_was():
    encoder = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    set_trained_part(encoder, "full", "encoder.audio")
    assert all(module.training for module in encoder.train().modules())
    assert trained(encoder) == {name for name, _ in encoder.named_parameters()}
    assert "train" not in vars(encoder)


@pytest.mark.parametrize(
    ("encoder", "part", "message"),
    [
        (MapCNN, "heads", r"encoder\.depth\.train=heads: give full, head, lora, or last_N such as last_4"),
        (MapCNN, "last_0", "last_N such as last_4"),
        (MapCNN, 4, "last_N such as last_4"),
        (MapCNN, "last_4", r"it has 3 layers; set train=last_3 or full"),
        (lambda: nn.Linear(2, 2), "last_1", r"Linear names no layers; give it a method layers\(\)"),
    ],
)
def test_what_is_no_part_is_refused(encoder, part, message):
    with pytest.raises(ValueError, match=message):
        set_trained_part(encoder(), part, "encoder.depth")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"imu": "head"}, r"encoder\.imu\.train=head and encoder\.audio\.train=full: they share a trunk"),
        ({"imu": "last_1", "audio": "last_2"}, "give both the same"),
        ({"imu": "lora", "audio": "lora"}, r"train=lora does not go with encoder\.imu\.share=audio"),
    ],
)
def test_one_trunk_trains_in_one_way(train, message):
    with pytest.raises(ValueError, match=message):
        require_equal_parts(train, {"imu": "audio"})
    require_equal_parts({"imu": "last_1", "audio": "last_1", "depth": "head"}, {"imu": "audio"})
