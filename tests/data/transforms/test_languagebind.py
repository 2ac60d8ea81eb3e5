"""LanguageBind's loaders: three parts of a sound as channels, metres and heat as CLIP's photographs."""

import numpy as np
import pytest
import torch
import torchaudio
from support import videos
from torchaudio.compliance import kaldi

from bind.data.transforms.languagebind import (
    CLIP_MEAN,
    CLIP_STD,
    LanguageBindAudioTransform,
    LanguageBindDepthTransform,
    LanguageBindThermalTransform,
    LanguageBindVideoTransform,
)
from bind.media.video import open_video
from bind.types import Clip, Waveform

RATE_HZ, NUM_FRAMES, NUM_MELS = 16_000, 60, 20


def noise(num_samples, num_channels=1):
    return (0.1 * np.random.default_rng(0).standard_normal((num_samples, num_channels))).astype(np.float32)


def mel_of(wave_T):
    return kaldi.fbank(
        (wave_T - wave_T.mean())[None],
        htk_compat=True,
        sample_frequency=RATE_HZ,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=NUM_MELS,
        dither=0.0,
    )


def published_loader(samples_TC, rate_hz):
    """The steps of the published loader, on the filter bank of the whole sound."""
    wave = torch.from_numpy(samples_TC[:, 0].copy())
    if rate_hz != RATE_HZ:
        wave = torchaudio.functional.resample(wave, rate_hz, RATE_HZ)
    longest = NUM_FRAMES * RATE_HZ // 100
    if len(wave) > longest:
        mel = mel_of(wave)
        thirds = np.array_split(np.arange(len(mel) - NUM_FRAMES + 1), 3)
        parts = [mel[third[0] if len(third) else 0 :][:NUM_FRAMES] for third in thirds]
    else:
        wave = wave.repeat(longest // len(wave))
        parts = [mel_of(torch.cat([wave, torch.zeros(longest - len(wave))]))] * 3
    parts = [torch.nn.functional.pad(part, (0, 0, 0, NUM_FRAMES - len(part))) for part in parts]
    return (torch.stack(parts).transpose(1, 2) + 4.2677393) / 4.5689974


@pytest.mark.parametrize(
    ("num_samples", "rate_hz", "num_channels"),
    [
        (3 * RATE_HZ, RATE_HZ, 1),  # three parts
        (3 * 44_100, 44_100, 2),
        (9_900, RATE_HZ, 1),  # a few places only
        (9_601, RATE_HZ, 1),  # longer than the input, and fewer whole frames than it has
        (9_600, RATE_HZ, 1),
        (2_500, RATE_HZ, 2),  # repeated three times, then silence
        (100, RATE_HZ, 1),  # shorter than a frame
    ],
)
def test_sounds_are_those_of_the_published_loader(num_samples, rate_hz, num_channels):
    samples = noise(num_samples, num_channels)
    transform = LanguageBindAudioTransform(num_frames=NUM_FRAMES, num_mels=NUM_MELS)
    x = transform(Waveform(samples if num_channels > 1 else samples[:, 0], rate_hz), None)
    assert x.shape == (3, NUM_MELS, NUM_FRAMES)
    torch.testing.assert_close(x, published_loader(samples, rate_hz), atol=2e-3, rtol=0)


def test_training_draws_a_part_of_each_third():
    transform = LanguageBindAudioTransform(num_frames=NUM_FRAMES, num_mels=NUM_MELS)
    sound = Waveform(noise(5 * RATE_HZ)[:, 0], RATE_HZ)
    places = np.array([transform._first_frames(5 * RATE_HZ, np.random.default_rng(i)) for i in range(50)])
    assert (np.diff(places, axis=1) > 0).all()
    assert places[:, 2].max() > places[:, 2].min()
    assert places.max() + NUM_FRAMES <= 498
    drawn = [transform(sound, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("shape", [(45, 77), (32, 32), (90, 33)])
def test_depth_is_that_of_the_published_loader(shape, antialias):
    functional = pytest.importorskip("torchvision.transforms.functional")
    millimetres = np.random.default_rng(0).integers(0, 15_000, shape).astype(np.uint16)
    x = torch.from_numpy((millimetres / 1000.0).clip(0.01, 10.0).astype(np.float32) / 10.0).expand(3, -1, -1)
    bicubic = functional.InterpolationMode.BICUBIC
    x = functional.center_crop(functional.resize(x, 32, bicubic, antialias=antialias), 32)
    expected = functional.normalize(x, CLIP_MEAN, CLIP_STD)
    given = LanguageBindDepthTransform(size_px=32, antialias=antialias)(millimetres, None)
    torch.testing.assert_close(given, expected, atol=1e-4, rtol=0)


def test_heat_is_that_of_the_published_loader():
    functional = pytest.importorskip("torchvision.transforms.functional")
    grey_HW = np.random.default_rng(0).integers(0, 256, (45, 77)).astype(np.uint8)
    x = torch.from_numpy(grey_HW / np.float32(255)).expand(3, -1, -1)
    x = functional.center_crop(functional.resize(x, 32, functional.InterpolationMode.BICUBIC, antialias=False), 32)
    given = LanguageBindThermalTransform(size_px=32)(np.stack([grey_HW] * 3, axis=-1), None)
    torch.testing.assert_close(given, functional.normalize(x, CLIP_MEAN, CLIP_STD), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_a_video_is_that_of_the_published_loader(tmp_path):
    functional = pytest.importorskip("torchvision.transforms.functional")
    colours = [videos.plain((20 * i, 250 - 20 * i, 5 * i), height=48, width=80) for i in range(11)]
    for frame in colours:
        frame[:, :40] //= 2
    clip = Clip(videos.write_video(tmp_path / "a.mp4", colours))
    with open_video(clip) as video:
        frames = video.frames([i / 10 for i in np.linspace(0, 10, 4, dtype=int)])
    x = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2) / 255.0
    x = torch.nn.functional.interpolate(functional.normalize(x, CLIP_MEAN, CLIP_STD), size=(32, 53), mode="bilinear")
    transform = LanguageBindVideoTransform(num_frames=4, size_px=32)
    x_TCHW = transform(clip, None)
    torch.testing.assert_close(x_TCHW, functional.center_crop(x, 32), atol=1e-5, rtol=0)
    drawn = [transform(clip, np.random.default_rng(seed)) for seed in range(6)]
    mirrored = [torch.equal(x, x_TCHW.flip(-1)) for x in drawn]
    assert sorted(set(mirrored)) == [False, True]
    assert all(torch.equal(x, x_TCHW) for x, is_mirrored in zip(drawn, mirrored, strict=True) if not is_mirrored)
    assert transform.collate(drawn[:2]).shape == (2, 4, 3, 32, 32)
