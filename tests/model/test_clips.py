import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import tiny, videos
from torch.nn.functional import normalize

from bind.data.collate import collate_clips
from bind.data.dataset import BatchDataset
from bind.data.plan import BatchRequest
from bind.model.binder import Binder
from bind.model.clips import average_clips
from bind.types import Clip, Sample, Waveform

RATE_HZ = 8000
LENGTHS_SECONDS = (0.4, 3.0, 0.9, 1.7)


@pytest.fixture(scope="module")
def binder(tmp_path_factory):
    audio = {"_target_": "bind.encoders.audio_cnn.AudioCNN", "sample_rate_hz": RATE_HZ, "width": 8, "time_width": 16}
    windows = {"_target_": "bind.data.transforms.audio.AudioTransform", "sample_rate_hz": RATE_HZ}
    config = tiny.binder_config(
        tiny.write_anchor(tmp_path_factory.mktemp("anchor")),
        modalities=["audio"],
        encoder={"audio": audio},
        transform={"audio": windows | {"window_seconds": 0.5, "num_clips": None}},
    )
    torch.manual_seed(0)
    return Binder.from_config(config).eval()


def sounds():
    rng = np.random.default_rng(0)
    return [Waveform(rng.uniform(-1, 1, round(RATE_HZ * s)).astype(np.float32), RATE_HZ) for s in LENGTHS_SECONDS]


def one_by_one(binder, sound):
    """Each window on its own, then the mean of their vectors."""
    clips = binder.transforms["audio"](sound, None)
    windows = clips if isinstance(clips, list) else [clips]
    z = torch.cat([binder.encode("audio", window[None]) for window in windows])
    return len(windows), normalize(z.mean(dim=0), dim=-1)


class InMemory:
    """Row 1 has no sound, row 3 has two."""

    name = "memory"

    def __init__(self):
        first, second, third, fourth = sounds()
        values = [[first], [], [second], [third, fourth]]
        self._samples = [Sample(f"k{i}", "val", {"audio": v}) for i, v in enumerate(values)]

    def modalities(self):
        return ("audio",)

    def samples(self, split):
        return self._samples

    def fetch(self, split, indices, modalities, rngs):
        return [{m: list(self._samples[i].values[m]) for m in modalities} for i in indices]


@pytest.mark.slow
@given(counts=st.lists(st.integers(1, 4), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_the_mean_of_each_value_is_a_unit_vector_of_its_clips(counts, seed):
    z_ND = normalize(torch.randn(sum(counts), 6, generator=torch.Generator().manual_seed(seed)), dim=-1)
    averaged = average_clips(z_ND, torch.tensor(counts))
    for own, z in zip(z_ND.split(counts), averaged, strict=True):
        torch.testing.assert_close(z, normalize(own.mean(dim=0), dim=-1))
    torch.testing.assert_close(averaged.norm(dim=-1), torch.ones(len(counts)))
    assert average_clips(z_ND, None) is z_ND


def test_gradients_reach_every_clip():
    z_ND = torch.randn(5, 4, requires_grad=True)
    average_clips(z_ND, torch.tensor([2, 3])).sum().backward()
    assert (z_ND.grad.abs().sum(dim=1) > 0).all()


@pytest.mark.slow
def test_values_with_one_clip_each_have_no_counts(binder):
    inputs, counts = collate_clips(binder.transforms["audio"], [torch.zeros(4000), torch.zeros(4000)])
    assert (inputs.shape, counts) == ((2, 4000), None)
    inputs, counts = collate_clips(binder.transforms["audio"], [torch.zeros(4000), [torch.zeros(4000)] * 3])
    assert (inputs.shape, counts.tolist()) == ((4, 4000), [1, 3])


@pytest.mark.slow
@torch.no_grad()
def test_a_batch_has_one_vector_per_value_however_many_clips(binder):
    dataset = BatchDataset([InMemory()], "val", ["audio"], binder.transforms)
    batch = dataset[BatchRequest(0, (0, 1, 2, 3))].to("cpu")
    assert batch.rows["audio"].tolist() == [0, 2, 3, 3]
    assert batch.num_clips["audio"].tolist() == [1, 6, 2, 4]
    assert len(batch.inputs["audio"]) == 13
    naive = [one_by_one(binder, sound) for sound in sounds()]
    assert [count for count, _ in naive] == batch.num_clips["audio"].tolist()
    for chunk_size in (None, 3):
        embeddings = binder(batch, chunk_size)
        torch.testing.assert_close(embeddings.z["audio"], torch.stack([z for _, z in naive]), atol=1e-5, rtol=1e-5)
        assert embeddings.rows["audio"].tolist() == [0, 2, 3, 3]


def test_training_has_one_random_window_per_row(binder):
    dataset = BatchDataset([InMemory()], "train", ["audio"], binder.transforms)
    batch = dataset[BatchRequest(0, (0, 1, 2, 3), ((1,), (2,), (3,), (4,)))]
    assert batch.rows["audio"].tolist() == [0, 2, 3]
    assert batch.num_clips == {}
    assert batch.inputs["audio"].shape == (3, 4000)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [64, 2])
def test_embedding_values_averages_their_clips(binder, batch_size):
    z = binder.embed("audio", sounds(), batch_size=batch_size)
    expected = torch.stack([one_by_one(binder, sound)[1] for sound in sounds()])
    torch.testing.assert_close(z, expected.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_a_video_is_the_mean_of_its_frames_in_the_image_tower(binder, tmp_path):
    path = videos.three_colours(tmp_path / "a.mp4")
    z = binder.embed("video", [path, path])
    assert z.shape == (2, tiny.DIM)
    frames = binder.transforms["video"](Clip(path), None)
    assert [int(np.asarray(frame).mean(axis=(0, 1)).argmax()) for frame in frames] == [0, 0, 0, 1, 1, 2, 2, 2]
    expected = normalize(binder.embed("image", frames).mean(dim=0), dim=-1)
    torch.testing.assert_close(z, expected.expand(2, -1))
    assert not binder.is_trainable("video")


@pytest.mark.slow
def test_an_encoder_for_video_takes_the_towers_place(tmp_path):
    encoder = {"_target_": "bind.encoders.video_cnn.VideoCNN", "width": 8, "num_layers": 2}
    transform = {"_target_": "bind.data.transforms.video.VideoTransform", "num_frames": 2, "num_clips": 3}
    config = tiny.binder_config(
        tiny.write_anchor(tmp_path / "anchor"),
        modalities=["video"],
        encoder={"video": encoder},
        transform={"video": transform | {"clip_seconds": 1.0}},
    )
    binder = Binder.from_config(config).eval()
    assert binder.modalities == ("image", "text", "video")
    assert binder.anchor.modalities == ("image", "text")
    assert binder.is_trainable("video")
    path = videos.three_colours(tmp_path / "a.mp4")
    clips = binder.transforms["video"](Clip(path), None)
    assert len(clips) == 3
    z = torch.cat([binder.encode("video", clip[None]) for clip in clips])
    torch.testing.assert_close(binder.embed("video", [path])[0], normalize(z.mean(dim=0), dim=-1).detach())
