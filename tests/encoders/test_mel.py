import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.compliance import kaldi
from torchaudio.transforms import MelSpectrogram

from bind.encoders.mel import KaldiFbank, LogMel, SpecAugment


def waves(num_rows: int = 3, num_samples: int = 8000, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(num_rows, num_samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sample_rate_hz", [8000, 16000])
def test_kaldi_fbank_equals_torchaudio_on_each_waveform(sample_rate_hz):
    wave_BT = waves() + 0.05
    ours = KaldiFbank(sample_rate_hz, num_mels=128)(wave_BT)
    for wave, mel in zip(wave_BT, ours, strict=True):
        theirs = kaldi.fbank(
            wave[None], htk_compat=True, sample_frequency=sample_rate_hz, use_energy=False, window_type="hanning",
            num_mel_bins=128, dither=0.0, frame_length=25, frame_shift=10,
        )  # fmt: skip
        torch.testing.assert_close(mel, (theirs.T + 4.268) / 9.138, atol=2e-4, rtol=1e-4)


def test_kaldi_fbank_of_two_seconds_fills_imagebinds_grid():
    assert KaldiFbank()(waves(1, 32000)).shape == (1, 128, 198)


def test_log_mel_equals_torchaudio():
    wave_BT = waves()
    ours = LogMel(16000, num_mels=40, per_clip=False, mean=-3.0, std=2.0)(wave_BT)
    power = MelSpectrogram(16000, n_fft=512, win_length=400, hop_length=160, f_min=20.0, n_mels=40)(wave_BT)
    torch.testing.assert_close(ours, ((power + 1e-6).log() + 3.0) / 2.0, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("sample_rate_hz", "num_mels"), [(8000, 64), (16000, 64), (16000, 128), (48000, 64)])
def test_every_mel_band_hears_noise(sample_rate_hz, num_mels):
    mel = LogMel(sample_rate_hz, num_mels=num_mels, per_clip=False)(waves(1, sample_rate_hz))
    assert mel.shape == (1, num_mels, 101)
    assert (mel.amax(dim=(0, 2)) > np.log(1e-4)).all()


def test_per_clip_normalisation_takes_the_gain_out():
    mel = LogMel(16000)
    torch.testing.assert_close(mel(waves()), mel(0.25 * waves()), atol=1e-3, rtol=1e-3)


def test_silence_is_finite():
    assert LogMel(16000)(torch.zeros(2, 16000)).isfinite().all()
    assert KaldiFbank()(torch.zeros(2, 16000)).isfinite().all()


@pytest.mark.parametrize("front_end", [LogMel(16000), KaldiFbank()])
def test_spectrograms_stay_in_fp32_whatever_the_precision(front_end):
    expected = front_end(waves())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = front_end(waves())
    after_cast = front_end.to(torch.bfloat16)(waves())
    assert under_autocast.dtype == after_cast.dtype == torch.float32
    assert torch.equal(under_autocast, expected)
    assert torch.equal(after_cast, expected)


@pytest.mark.parametrize("front_end", [LogMel(16000), KaldiFbank()])
def test_wrong_waveforms_are_refused(front_end):
    with pytest.raises(ValueError, match="too short"):
        front_end(torch.zeros(1, 100))
    with pytest.raises(ValueError, match="mono"):
        front_end(torch.zeros(1, 2, 16000))


def test_bands_beyond_the_nyquist_frequency_are_refused():
    with pytest.raises(ValueError, match="4000"):
        LogMel(8000, high_hz=6000.0)


@pytest.mark.parametrize(
    "options", [{"sample_rate_hz": -5}, {"sample_rate_hz": 0}, {"hop_ms": 0.0}, {"window_ms": -25.0}]
)
def test_windows_without_a_sample_are_refused(options):
    with pytest.raises(ValueError, match="hold no sample at sample_rate_hz="):
        LogMel(**{"sample_rate_hz": 16000, **options})


def test_spec_augment_is_the_identity_in_evaluation():
    mel = torch.randn(2, 64, 100)
    assert SpecAugment().eval()(mel) is mel


@pytest.mark.slow
@settings(max_examples=25)
@given(
    num_masks=st.integers(0, 3),
    max_share=st.floats(0.0, 1.0),
    num_mels=st.integers(1, 40),
    num_frames=st.integers(1, 40),
)
def test_spec_augment_masks_whole_bands_and_frames_within_bounds(num_masks, max_share, num_mels, num_frames):
    augment = SpecAugment(
        num_time_masks=num_masks, max_time_share=max_share, num_mel_masks=num_masks, max_mel_share=max_share
    )
    masked = augment(torch.ones(4, num_mels, num_frames)) == 0
    bands, times = masked.all(dim=2), masked.all(dim=1)
    assert torch.equal(masked, bands[:, :, None] | times[:, None, :])
    if not (bands.all(dim=1) | times.all(dim=1)).any():
        assert bands.sum(dim=1).max() <= num_masks * max_share * num_mels
        assert times.sum(dim=1).max() <= num_masks * max_share * num_frames


def test_spec_augment_draws_masks_per_row():
    torch.manual_seed(0)
    masked = SpecAugment()(torch.ones(16, 64, 100)) == 0
    assert len({tuple(row.flatten().tolist()) for row in masked}) > 8
