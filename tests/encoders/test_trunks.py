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
from bind.layers import TransformerLayer
from bind.model.trunks import copy_trunk
from bind.types import Encoder, TokenEncoder

TRUNKS = {
    "AudioCNN": (lambda: AudioCNN(sample_rate_hz=8000, width=8, time_width=16), (4000,)),
    "AudioCNN, attention": (lambda: AudioCNN(sample_rate_hz=16000, width=8, time_width=16, pool="attention"), (8000,)),
    "AudioViT": (lambda: AudioViT(num_frames=64, width=24, num_layers=2, num_heads=2), (8000,)),
    "ImuCNN": (lambda: ImuCNN(width=8), (6, 50)),
    "ImuCNN, 4 channels": (lambda: ImuCNN(num_channels=4, width=8, magnitudes=False, pool="attention"), (4, 50)),
    "ImuTransformer": (lambda: ImuTransformer(num_steps=64, width=24, num_layers=2, num_heads=2), (6, 48)),
    "MapCNN": (lambda: MapCNN(width=8), (1, 64, 64)),
    "MapViT with kv_bias": (
        lambda: MapViT(size_px=32, patch=8, width=24, num_layers=2, num_heads=2, kv_bias=True),
        (1, 32, 32),
    ),
    "MapViT": (lambda: MapViT(size_px=32, patch=8, width=24, num_layers=2, num_heads=2), (1, 32, 32)),
    "VideoCNN": (lambda: VideoCNN(width=8, num_layers=2), (3, 3, 32, 32)),
}


@pytest.fixture(params=TRUNKS, scope="module")
def trunk_and_shape(request):
    make, shape = TRUNKS[request.param]
    torch.manual_seed(0)
    return make(), shape


@pytest.mark.slow
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


@pytest.mark.slow
@settings(max_examples=6)
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "other"),
    [
        (
            lambda: AudioCNN(sample_rate_hz=8000, width=8, time_width=16),
            lambda: AudioCNN(sample_rate_hz=16000, num_mels=40, width=16, time_width=16),
        ),
        (
            lambda: AudioViT(sample_rate_hz=8000, num_mels=64, num_frames=50, width=24, num_heads=2),
            lambda: AudioViT(patch=8, width=24, num_heads=2),
        ),
        (lambda: ImuCNN(num_channels=6, width=8), lambda: ImuCNN(num_channels=4, width=8, kernel=9, magnitudes=False)),
        (
            lambda: ImuTransformer(num_channels=3, num_steps=80, kernel=5, width=24, num_heads=2),
            lambda: ImuTransformer(width=24, num_heads=2),
        ),
        (lambda: MapViT(size_px=32, patch=8, width=24, num_heads=2), lambda: MapViT(width=24, num_heads=2)),
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


@pytest.mark.parametrize("name", ["AudioViT", "ImuTransformer", "MapViT"])
def test_tokens_are_those_that_the_features_are_made_of(name):
    make, shape = TRUNKS[name]
    encoder = make().eval()
    x = 0.1 * torch.randn(3, *shape)
    attended = []
    encoder.trunk.layers[-1].register_forward_hook(lambda layer, inputs, output: attended.append(output))
    z_BLF, mask_BL = encoder.tokens(x)
    assert isinstance(encoder, TokenEncoder)
    assert mask_BL.shape == z_BLF.shape[:2]
    assert mask_BL.all()
    torch.testing.assert_close(z_BLF, encoder.trunk.norm(attended[0])[:, 1:])
    torch.testing.assert_close(encoder(x), encoder.trunk.norm(attended[0])[:, 0])


def test_an_encoder_without_tokens_does_not_offer_them():
    assert not isinstance(MapCNN(), TokenEncoder)


def test_a_layers_key_and_value_are_those_of_torchs_attention():
    torch.manual_seed(0)
    layer, reference = TransformerLayer(24, 3, kv_bias=True).eval(), nn.MultiheadAttention(24, 3, add_bias_kv=True)
    reference.load_state_dict(
        {
            "in_proj_weight": layer.qkv.weight,
            "in_proj_bias": layer.qkv.bias,
            "out_proj.weight": layer.out.weight,
            "out_proj.bias": layer.out.bias,
            "bias_k": layer.kv_bias[None, :1],
            "bias_v": layer.kv_bias[None, 1:],
        }
    )
    x_BLW = torch.randn(4, 7, 24)
    y_LBW, _ = reference(*[x_BLW.transpose(0, 1)] * 3)
    torch.testing.assert_close(layer._attend(x_BLW), y_LBW.transpose(0, 1), atol=1e-6, rtol=0)
    assert TransformerLayer(24, 3).kv_bias is None
