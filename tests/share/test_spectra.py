"""Spectrograms by matrix products are those by Fourier transforms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.encoders.audio_cnn import AudioCNN
from bind.encoders.mel import KaldiFbank, LogMel
from bind.share.spectra import MatrixLogMel, without_fourier


def waves(num_samples, scale=0.3):
    generator = torch.Generator().manual_seed(num_samples)
    return scale * torch.randn(2, num_samples, generator=generator)


@pytest.mark.slow
@settings(max_examples=12)
@given(
    st.sampled_from([8000, 16_000, 22_050]),
    st.sampled_from([16, 64]),
    st.sampled_from([20.0, 25.0, 33.3]),
    st.booleans(),
    st.integers(2000, 4000),
)
def test_log_mel(rate_hz, num_mels, window_ms, per_clip, num_samples):
    mel = LogMel(rate_hz, num_mels=num_mels, window_ms=window_ms, per_clip=per_clip)
    wave_BT = waves(num_samples)
    torch.testing.assert_close(without_fourier(mel)(wave_BT), mel(wave_BT), atol=1e-3, rtol=1e-3)


@pytest.mark.slow
@settings(max_examples=8)
@given(st.sampled_from([8000, 16_000]), st.sampled_from([20, 128]), st.integers(1000, 4000))
def test_kaldi_fbank(rate_hz, num_mels, num_samples):
    fbank = KaldiFbank(rate_hz, num_mels=num_mels)
    wave_BT = waves(num_samples)
    torch.testing.assert_close(without_fourier(fbank)(wave_BT), fbank(wave_BT), atol=1e-3, rtol=1e-3)


def test_an_encoder_keeps_its_own():
    encoder = AudioCNN(sample_rate_hz=8000, width=4, num_layers=1, num_time_layers=1, time_width=8).eval()
    copy = without_fourier(encoder)
    assert isinstance(encoder.mel, LogMel)
    assert isinstance(copy.mel, MatrixLogMel)
    torch.testing.assert_close(copy(waves(4000)), encoder(waves(4000)), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("num_samples", [400, 560])
def test_frames_are_counted_as_before(num_samples):
    fbank = KaldiFbank(16_000)
    assert without_fourier(fbank)(waves(num_samples)).shape == fbank(waves(num_samples)).shape
