"""What every trunk promises, whatever its modality."""

import copy

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
from bind.encoders.video_cnn import VideoCNN
from bind.model.trunks import copy_trunk
from bind.types import Encoder

TRUNKS = {
    "AudioCNN": (lambda: AudioCNN(8000, width=8, time_width=16), (4000,)),
    "AudioCNN, attention": (lambda: AudioCNN(16000, width=8, time_width=16, pool="attention"), (8000,)),
    "AudioViT": (lambda: AudioViT(num_frames=64, width=24, num_layers=2, num_heads=2), (8000,)),
    "ImuCNN": (lambda: ImuCNN(width=8), (6, 50)),
    "ImuCNN, 4 channels": (lambda: ImuCNN(4, width=8, magnitudes=False, pool="attention"), (4, 50)),
    "ImuTransformer": (lambda: ImuTransformer(num_steps=64, width=24, num_layers=2, num_heads=2), (6, 48)),
    "MapCNN": (lambda: MapCNN(width=8), (1, 64, 64)),
    "MapViT": (lambda: MapViT(32, 8, width=24, num_layers=2, num_heads=2), (1, 32, 32)),
    "VideoCNN": (lambda: VideoCNN(width=8, num_layers=2), (3, 3, 32, 32)),
}


@pytest.fixture(params=TRUNKS, scope="module")
def trunk_and_shape(request):
    make, shape = TRUNKS[request.param]
    torch.manual_seed(0)
    return make(), shape


def test_features_are_finite_and_every_parameter_learns(trunk_and_shape):
    trunk, shape = trunk_and_shape
    trunk.train()
    trunk.zero_grad()
    torch.manual_seed(0)
    features = trunk(0.1 * torch.randn(8, *shape))
    assert isinstance(trunk, Encoder)
    assert features.shape == (8, trunk.num_features)
    assert features.isfinite().all()
    (features * torch.randn_like(features)).sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in trunk.parameters())


def test_an_empty_batch_gives_empty_features_and_zero_gradients(trunk_and_shape):
    trunk, shape = trunk_and_shape
    trunk.train()
    trunk.zero_grad()
    features = trunk(torch.zeros(0, *shape))
    assert features.shape == (0, trunk.num_features)
    features.sum().backward()
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in trunk.parameters())


@settings(max_examples=6, deadline=None)
@given(order=st.permutations(range(4)), kept=st.integers(1, 4))
def test_a_row_does_not_depend_on_the_rest_of_the_batch(trunk_and_shape, order, kept):
    trunk, shape = trunk_and_shape
    trunk.eval()
    x = 0.1 * torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole, part = trunk(x), trunk(x[order][:kept])
    torch.testing.assert_close(part, whole[order][:kept], atol=1e-4, rtol=1e-4)


def test_there_are_no_batch_statistics(trunk_and_shape):
    trunk, _ = trunk_and_shape
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in trunk.modules())


def test_the_trunk_runs_in_bf16(trunk_and_shape):
    trunk, shape = trunk_and_shape
    trunk.eval()
    x = 0.1 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = trunk(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under_autocast = trunk(x)
        after_cast = copy.deepcopy(trunk).to(torch.bfloat16)(x)
    for low in (under_autocast, after_cast):
        torch.testing.assert_close(low.float(), expected, atol=0.15, rtol=0.15)


@pytest.mark.parametrize(
    ("encoder", "other"),
    [
        (lambda: AudioCNN(8000, width=8, time_width=16), lambda: AudioCNN(16000, 40, width=16, time_width=16)),
        (lambda: AudioViT(8000, 64, 50, width=24, num_heads=2), lambda: AudioViT(patch=8, width=24, num_heads=2)),
        (lambda: ImuCNN(6, width=8), lambda: ImuCNN(4, width=8, kernel=9, magnitudes=False)),
        (
            lambda: ImuTransformer(3, 80, kernel=5, width=24, num_heads=2),
            lambda: ImuTransformer(width=24, num_heads=2),
        ),
        (lambda: MapViT(32, 8, width=24, num_heads=2), lambda: MapViT(width=24, num_heads=2)),
        (MapCNN, lambda: MapCNN(dropout=0.0)),
        (lambda: VideoCNN(width=8), lambda: VideoCNN(width=8, pool="attention")),
    ],
    ids=["AudioCNN", "AudioViT", "ImuCNN", "ImuTransformer", "MapViT", "MapCNN", "VideoCNN"],
)
def test_the_trunk_of_an_encoder_knows_nothing_of_its_input(encoder, other):
    first, second = encoder(), other()
    copy_trunk(first, second)
    num_shared = sum(p.numel() for p in first.trunk.parameters())
    assert 0 < num_shared < sum(p.numel() for p in first.parameters())


EARLIER_NAMES = {
    "AudioCNN": "convs.0.0.weight convs.0.1.weight convs.0.1.bias convs.1.0.weight convs.1.1.weight convs.1.1.bias "
    "time_convs.0.0.weight time_convs.0.1.weight time_convs.0.1.bias time_convs.1.0.weight time_convs.1.1.weight "
    "time_convs.1.1.bias",
    "ImuCNN": "convs.0.0.weight convs.0.1.weight convs.0.1.bias convs.1.0.weight convs.1.1.weight convs.1.1.bias",
    "MapCNN": "convs.0.0.weight convs.0.1.weight convs.0.1.bias convs.1.0.weight convs.1.1.weight convs.1.1.bias",
    "VideoCNN": "convs.0.weight convs.1.weight convs.1.bias convs.3.weight convs.4.weight convs.4.bias",
    "AudioViT": "positions_WMT patches.weight norm.weight norm.bias",
    "ImuTransformer": "positions_LW embed.weight norm.weight norm.bias",
    "MapViT": "positions_LW patches.weight norm.weight norm.bias",
}
TWO_LAYERS = {
    "AudioCNN": lambda: AudioCNN(8000, num_layers=2, width=8, time_width=16, num_time_layers=1),
    "ImuCNN": lambda: ImuCNN(width=8, num_layers=2),
    "MapCNN": lambda: MapCNN(width=8, num_layers=2),
    "VideoCNN": TRUNKS["VideoCNN"][0],
    "AudioViT": TRUNKS["AudioViT"][0],
    "ImuTransformer": TRUNKS["ImuTransformer"][0],
    "MapViT": TRUNKS["MapViT"][0],
}


@pytest.mark.parametrize("name", EARLIER_NAMES)
def test_weights_from_before_there_was_a_stem_load(name):
    saved, encoder = TWO_LAYERS[name](), TWO_LAYERS[name]()
    state = saved.state_dict()
    earlier = EARLIER_NAMES[name].split()
    names = earlier + list(state)[len(earlier) :]
    assert all(name.startswith("trunk.") for name in names[len(earlier) :])
    outer = nn.ModuleDict({"imu": encoder})
    outer.load_state_dict({f"imu.{name}": x for name, x in zip(names, state.values(), strict=True)})
    assert all(torch.equal(x, state[name]) for name, x in encoder.state_dict().items())
    with pytest.raises(RuntimeError, match="Unexpected"):
        outer.load_state_dict({f"imu.{name}": x for name, x in state.items()} | {"imu.convolutions": torch.zeros(1)})
