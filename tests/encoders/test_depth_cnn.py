import pytest
import torch

from bind.encoders.depth_cnn import DepthCNN


@pytest.mark.parametrize("size", [(64, 64), (96, 128), (224, 224)])
def test_maps_of_any_size_give_the_same_number_of_features(size):
    encoder = DepthCNN(width=8)
    assert encoder(torch.rand(2, 1, *size)).shape == (2, encoder.num_features)


def test_mean_and_std_standardise_the_map():
    torch.manual_seed(0)
    plain = DepthCNN(width=8).eval()
    torch.manual_seed(0)
    disparity = DepthCNN(width=8, mean=0.0418, std=0.0295).eval()
    x = torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(disparity(0.0418 + 0.0295 * x), plain(x), atol=1e-4, rtol=1e-4)


def test_pictures_are_refused():
    with pytest.raises(ValueError, match="depth maps"):
        DepthCNN()(torch.zeros(2, 3, 64, 64))
