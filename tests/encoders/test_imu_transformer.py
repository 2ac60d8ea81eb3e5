import pytest
import torch

from bind.encoders.imu_transformer import ImuTransformer


def test_the_defaults_are_imagebinds_size():
    with torch.device("meta"):
        encoder = ImuTransformer()
    assert encoder.stem.embed.in_features == 48
    assert encoder.stem.positions_LW.shape == (250, 512)
    assert [round(layer.drop_path.p, 2) for layer in encoder.trunk.layers] == [0, 0.14, 0.28, 0.42, 0.56, 0.7]


def test_a_piece_holds_all_channels_of_its_steps():
    encoder = ImuTransformer(num_steps=16, kernel=4, width=8, num_layers=1, num_heads=1).eval()
    seen = []
    encoder.stem.embed.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    window = torch.arange(6 * 16.0).reshape(1, 6, 16)
    encoder(window)
    assert torch.equal(seen[0][0, 2].reshape(6, 4), window[0, :, 8:12])


@pytest.mark.parametrize("shape", [(1, 6, 12), (1, 6, 72), (1, 3, 64), (1, 64, 6)])
def test_windows_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="cut other windows"):
        ImuTransformer(num_steps=64, width=24, num_layers=1, num_heads=2)(torch.zeros(shape))


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="num_heads"):
        ImuTransformer(width=20, num_heads=3)
