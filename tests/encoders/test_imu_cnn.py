import pytest
import torch

from bind.encoders.imu_cnn import ImuCNN


def test_amplitude_reaches_the_features():
    torch.manual_seed(0)
    encoder = ImuCNN().eval()
    window = torch.randn(1, 6, 100)
    small, large = encoder(window), encoder(2 * window)
    log_std = slice(-8, None)
    assert (large[:, log_std] > small[:, log_std] + 0.1).all()


def test_magnitudes_do_not_change_with_the_mounting():
    encoder = ImuCNN().eval()
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))
    window = torch.randn(1, 6, 100, generator=torch.Generator().manual_seed(1))
    turned = torch.cat([rotation @ window[:, :3], rotation @ window[:, 3:]], dim=1)
    before, after = encoder(window)[:, -16:], encoder(turned)[:, -16:]
    for first in (6, 14):  # the two magnitudes' means and log standard deviations
        torch.testing.assert_close(before[:, first : first + 2], after[:, first : first + 2], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(before, after, atol=1e-2)


def test_channel_scales_divide_the_channels():
    torch.manual_seed(0)
    plain = ImuCNN(width=8).eval()
    torch.manual_seed(0)
    scaled = ImuCNN(width=8, channel_scales=[9.81, 9.81, 9.81, 2, 2, 2]).eval()
    window = torch.randn(2, 6, 50)
    factors = torch.tensor([9.81, 9.81, 9.81, 2, 2, 2])[:, None]
    torch.testing.assert_close(scaled(window * factors), plain(window), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_channels": 4}, "magnitudes=false"),
        ({"channel_scales": [1.0, 2.0]}, "6 positive numbers"),
        ({"channel_scales": [0.0] * 6}, "6 positive numbers"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ImuCNN(**settings)


@pytest.mark.parametrize("shape", [(2, 200, 6), (2, 3, 200), (6, 200), (2, 6, 1)])
def test_windows_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="channels come before time"):
        ImuCNN()(torch.zeros(shape))
