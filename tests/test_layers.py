import copy

import pytest
import torch
from torch import nn

from bind.layers import ChannelsLastConv2d


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
