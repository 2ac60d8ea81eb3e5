import copy

import pytest
import torch
from torch import nn

from bind.layers import ChannelsLastConv2d, TransformerTrunk


@pytest.mark.slow
@pytest.mark.parametrize("num_channels", [1, 3, 8])
@pytest.mark.parametrize("stride", [1, (2, 1)])
def test_a_convolution_in_another_layout_gives_the_same(num_channels, stride):
    torch.manual_seed(0)
    plain = nn.Conv2d(num_channels, 16, 3, stride=stride, padding=1)
    other = ChannelsLastConv2d(num_channels, 16, 3, stride=stride, padding=1)
    other.load_state_dict(copy.deepcopy(plain.state_dict()))
    x_BCHW = torch.randn(4, num_channels, 20, 30)
    for x in (x_BCHW, x_BCHW.contiguous(memory_format=torch.channels_last), x_BCHW.transpose(2, 3)):
        expected, got = plain(x), other(x)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        assert got.is_contiguous(memory_format=torch.channels_last)
        expected.square().sum().backward()
        got.square().sum().backward()
        torch.testing.assert_close(other.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-4)
    assert other.weight.is_contiguous()


@pytest.mark.parametrize("kv_bias", [False, True])
def test_tokens_that_are_not_there_play_no_part(kv_bias):
    trunk = TransformerTrunk(8, num_layers=2, num_heads=2, kv_bias=kv_bias).eval()
    tokens_BLW = torch.randn(2, 5, 8)
    is_present_BL = torch.tensor([[True] * 5, [True, False, True, False, False]])
    features_BW = trunk(tokens_BLW, is_present_BL)
    torch.testing.assert_close(features_BW[:1], trunk(tokens_BLW[:1]))
    torch.testing.assert_close(features_BW[1:], trunk(tokens_BLW[1:, [0, 2]]))
    z_BLW, given_BL = trunk.tokens(tokens_BLW, is_present_BL)
    torch.testing.assert_close(z_BLW[1:, [0, 2]], trunk.tokens(tokens_BLW[1:, [0, 2]])[0])
    assert torch.equal(given_BL, is_present_BL)
