import pytest
import torch
from torch.nn.functional import cosine_similarity

from bind.encoders.audio_cnn import AudioCNN


def click(start: int, hz: float = 1500.0) -> torch.Tensor:
    """A short ring that starts at a sample, on a noise floor."""
    t = torch.arange(16000 - start) / 16000
    wave = 0.001 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    wave[start:] += torch.sin(6.2832 * hz * t) * torch.exp(-20 * t)
    return wave


def test_onset_matters_less_than_pitch():
    torch.manual_seed(0)
    encoder = AudioCNN(sample_rate_hz=16000).eval()
    early = click(3200)
    shifts = [160, 400, 960, 640]
    features = encoder(torch.stack([early, *(early.roll(n) for n in shifts), click(3200, hz=700.0)]))
    *shifted, other_pitch = 1 - cosine_similarity(features[:1], features[1:])
    assert max(shifted) < 0.7 * other_pitch
    # 640 samples are the stride of the last layer: 4 frames of 10 ms.
    assert shifted[-1] < 0.01 * other_pitch


@pytest.mark.parametrize("num_samples", [4000, 16000, 48000])
def test_clips_of_any_length_give_the_same_number_of_features(num_samples):
    encoder = AudioCNN(sample_rate_hz=16000)
    assert encoder(0.1 * torch.randn(2, num_samples)).shape == (2, encoder.num_features)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="mean_max or attention"):
        AudioCNN(sample_rate_hz=16000, pool="max")
