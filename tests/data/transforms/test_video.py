import numpy as np
import pytest
import torch
from support import videos

from bind.data.transforms.video import VideoTransform
from bind.types import Clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return Clip(videos.three_colours(tmp_path_factory.mktemp("videos") / "a.mp4"))


def colours(x_TCHW):
    return x_TCHW.float().mean(dim=(2, 3)).argmax(dim=1).tolist()


@pytest.mark.slow
def test_evaluation_takes_the_middle_or_clips_from_start_to_end(clip):
    one = VideoTransform(num_frames=4, clip_seconds=1.0, size_px=16)(clip, None)
    assert (one.shape, one.dtype) == ((4, 3, 16, 16), torch.uint8)
    assert colours(one) == [1, 1, 1, 1]
    three = VideoTransform(num_frames=4, clip_seconds=1.0, num_clips=3)(clip, None)
    assert [colours(x) for x in three] == [[0] * 4, [1] * 4, [2] * 4]
    tiled = VideoTransform(num_frames=2, clip_seconds=0.7, num_clips=None)(clip, None)
    assert [colours(x) for x in tiled] == [[0, 0], [0, 1], [1, 1], [1, 2], [2, 2]]


@pytest.mark.slow
def test_training_takes_a_random_clip_of_its_generator(clip):
    transform = VideoTransform(num_frames=2, clip_seconds=0.5, num_clips=3)
    clips = [transform(clip, np.random.default_rng(seed)) for seed in range(12)]
    assert {colours(x)[0] for x in clips} == {0, 1, 2}
    assert torch.equal(clips[3], transform(clip, np.random.default_rng(3)))


@pytest.mark.slow
def test_the_last_frame_of_a_short_video_stays(clip):
    short = Clip(clip.path, 0.5, 2.0)
    # Blue comes at 2 s, where the span has ended.
    assert colours(VideoTransform(num_frames=4, clip_seconds=3.0)(short, None)) == [0, 1, 1, 1]


def test_the_middle_of_a_wide_picture_is_kept(tmp_path):
    wide = videos.plain(videos.RED, 32, 96)
    wide[:, 32:64] = videos.BLUE
    path = videos.write_video(tmp_path / "a.mp4", [wide] * 5)
    x = VideoTransform(num_frames=2, clip_seconds=0.4, size_px=32)(Clip(path), None).float()
    assert x[:, 2, :, 2:-2].mean() > 200
    assert x[:, 0, :, 2:-2].mean() < 50


def test_collate_stacks(clip):
    transform = VideoTransform(num_frames=3, size_px=16)
    assert transform.collate([transform(clip, None)] * 2).shape == (2, 3, 3, 16, 16)


@pytest.mark.parametrize("options", [{"num_frames": 0}, {"clip_seconds": 0.0}, {"size_px": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="video needs"):
        VideoTransform(**options)
