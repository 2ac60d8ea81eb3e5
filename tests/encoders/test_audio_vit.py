import pytest
import torch

from bind.encoders.audio_vit import AudioViT


@pytest.mark.slow
def test_the_defaults_are_imagebinds_size():
    with torch.device("meta"):
        encoder = AudioViT()
    assert encoder.stem.positions_WMT.shape == (768, 12, 19)
    assert len(encoder.trunk.layers) == 12
    assert sum(p.numel() for p in encoder.parameters()) == pytest.approx(85.4e6, rel=0.01)


def test_the_order_of_sounds_is_seen():
    torch.manual_seed(0)
    encoder = AudioViT(num_frames=64, width=24, num_layers=1, num_heads=2).eval()
    noise = torch.randn(4000)
    loud_first = torch.cat([noise, 0.01 * noise])[None]
    loud_last = torch.cat([0.01 * noise, noise])[None]
    assert not torch.allclose(encoder(loud_first), encoder(loud_last), atol=1e-3)


@pytest.mark.parametrize("num_samples", [2000, 16000])
def test_a_clip_that_does_not_fit_the_positions_is_refused(num_samples):
    encoder = AudioViT(num_frames=64, width=24, num_layers=1, num_heads=2)
    with pytest.raises(ValueError, match="cut other windows"):
        encoder(torch.zeros(1, num_samples))


def test_filter_banks_that_are_ready_made_are_taken_as_they_are():
    torch.manual_seed(0)
    encoder = AudioViT(num_frames=64, width=24, num_layers=1, num_heads=2).eval()
    wave = 0.1 * torch.randn(2, 8000)
    torch.testing.assert_close(encoder(encoder.fbank(wave)[:, None]), encoder(wave))


@pytest.mark.parametrize("shape", [(1, 64, 40), (2, 128, 40), (128, 40)])
def test_filter_banks_of_another_shape_are_refused(shape):
    encoder = AudioViT(num_frames=64, width=24, num_layers=1, num_heads=2)
    with pytest.raises(ValueError, match=r"filter banks \(B, 1, 128, frames\), got .*num_mels"):
        encoder(torch.zeros(1, *shape))
