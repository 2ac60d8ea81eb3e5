"""ImageBind's loader of sound: first channel, torchaudio's resampling, filter banks padded with 0."""

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from torchaudio.compliance import kaldi

from bind.data.transforms.imagebind import ImageBindAudioTransform
from bind.types import Clip, Waveform

RATE_HZ = 16_000


def noise(seconds, rate_hz=RATE_HZ, num_channels=1):
    samples = 0.1 * np.random.default_rng(0).standard_normal((round(seconds * rate_hz), num_channels))
    return samples.astype(np.float32)


def published_loader(samples_TC, rate_hz, step_seconds, num_clips=3):
    """The steps of the published loader, on the whole sound."""
    wave = torch.from_numpy(samples_TC.T.copy())
    if rate_hz != RATE_HZ:
        wave = torchaudio.functional.resample(wave, rate_hz, RATE_HZ)
    clips = []
    for i in range(num_clips):
        start = int(step_seconds * i * RATE_HZ)
        clip = wave[:, start : start + 2 * RATE_HZ].clone()
        mel = kaldi.fbank(
            clip - clip.mean(),
            htk_compat=True,
            sample_frequency=RATE_HZ,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=128,
            dither=0.0,
        ).T
        clips.append((torch.nn.functional.pad(mel, (0, 204 - mel.shape[1])) + 4.268) / 9.138)
    return torch.stack(clips)[:, None]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate_hz", "num_channels", "reaches_end", "step_seconds"),
    [(16_000, 1, False, 1.0), (44_100, 2, False, 1.0), (8_000, 2, True, 1.5)],
)
def test_clips_are_those_of_the_published_loader(rate_hz, num_channels, reaches_end, step_seconds):
    samples = noise(5.0, rate_hz, num_channels)
    clips = ImageBindAudioTransform(reaches_end=reaches_end)(Waveform(samples, rate_hz), None)
    expected = published_loader(samples, rate_hz, step_seconds)
    assert clips[0].shape == (1, 128, 204)
    assert (torch.stack(clips) - expected).abs().max() < 1e-2
    assert (torch.stack(clips) - expected).abs().mean() < 1e-4


def test_a_short_sound_is_one_clip_whose_filter_bank_is_padded():
    samples = noise(0.5)
    clip = ImageBindAudioTransform()(Waveform(samples, RATE_HZ), None)
    assert clip.shape == (1, 128, 204)
    torch.testing.assert_close(clip[..., 48:], torch.full((1, 128, 156), 4.268 / 9.138))
    torch.testing.assert_close(clip, published_loader(samples, RATE_HZ, 0.0, 1)[0], atol=1e-3, rtol=0)


@pytest.mark.parametrize(("num_clips", "expected"), [(1, 1), (5, 5), (None, 4)])
def test_there_are_as_many_clips_as_asked_for_or_as_cover_the_sound(num_clips, expected):
    clips = ImageBindAudioTransform(num_clips=num_clips)(Waveform(noise(7.1), RATE_HZ), None)
    assert (len(clips) if isinstance(clips, list) else 1) == expected


def test_training_takes_one_clip_at_a_random_place():
    transform, sound = ImageBindAudioTransform(), Waveform(noise(6.0), RATE_HZ)
    clips = [transform(sound, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert torch.equal(clips[0], clips[1])
    assert not torch.equal(clips[0], clips[2])
    assert transform.collate(clips).shape == (3, 1, 128, 204)


@pytest.mark.slow
def test_less_than_a_frame_is_refused_by_the_files_name(tmp_path):
    soundfile.write(tmp_path / "click.wav", noise(0.01), RATE_HZ)
    with pytest.raises(ValueError, match=r"click\.wav: shorter than the 25 ms of one frame"):
        ImageBindAudioTransform()(Clip(tmp_path / "click.wav"), None)


@pytest.mark.parametrize("window_seconds", [0.01, 3.0])
def test_a_window_that_the_frames_do_not_hold_is_refused(window_seconds):
    with pytest.raises(ValueError, match="num_frames=204 frames of 10 ms: change one"):
        ImageBindAudioTransform(window_seconds=window_seconds)
