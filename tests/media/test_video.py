import numpy as np
import pytest
from support import videos

from bind.media.video import open_video
from bind.types import Clip, PackedFile

SUFFIXES = [".mp4", ".mov", ".mkv", ".avi", ".ts"]


def shown(path, times, start=None, end=None):
    """The position of the brightest channel at each time: 0 red, 1 green, 2 blue."""
    with open_video(Clip(path, start, end)) as video:
        return [int(frame.mean(axis=(0, 1)).argmax()) for frame in video.frames(times)]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_frame_is_shown_from_its_time_on_in_every_container(tmp_path, suffix):
    path = videos.three_colours(tmp_path / f"a{suffix}")
    late = 0.1 if suffix == ".ts" else 0.0  # its muxer starts the pictures a little after the sound
    with open_video(Clip(path)) as video:
        assert video.seconds == pytest.approx(3.0, abs=0.1)
        expected = ([0.0, 0.5, 0.85, 1.0 + late, 1.85, 2.9], [0, 0, 0, 1, 1, 2]), ([2.5], [2]), ([0.5], [0])
        for times, colours in expected:
            frames = video.frames(times)
            assert [int(frame.mean(axis=(0, 1)).argmax()) for frame in frames] == colours
        assert (frames[0].shape, frames[0].dtype) == ((32, 48, 3), np.uint8)


@pytest.mark.slow
def test_seeking_far_gives_what_decoding_everything_gives(tmp_path):
    greys = [videos.plain((2 * i, 2 * i, 2 * i)) for i in range(120)]
    path = videos.write_video(tmp_path / "a.mp4", greys)
    times = [0.05 + 0.1 * i for i in range(120)]
    with open_video(Clip(path)) as video:
        one_by_one = [frame.mean() for frame in video.frames(times)]
        assert np.allclose(one_by_one, np.arange(0, 240, 2), atol=3)
        assert [frame.mean() for frame in video.frames([times[3], times[50], times[119]])] == [
            one_by_one[3], one_by_one[50], one_by_one[119]
        ]  # fmt: skip


@pytest.mark.slow
def test_a_span_has_its_own_clock(tmp_path):
    path = videos.three_colours(tmp_path / "a.mp4")
    assert shown(path, [0.0, 0.45, 0.55, 1.4], start=0.5, end=2.0) == [0, 0, 1, 1]
    with open_video(Clip(path, 0.5, 2.0)) as video:
        assert video.seconds == 1.5


def test_frames_at_a_varying_rate_are_found_by_their_times(tmp_path):
    frames = [videos.plain(colour) for colour in (videos.RED, videos.GREEN, videos.BLUE, videos.RED)]
    path = videos.write_video(tmp_path / "a.mp4", frames, times=[0.0, 0.1, 0.9, 1.6])
    assert shown(path, [0.05, 0.2, 0.85, 0.95, 1.5, 1.65]) == [0, 1, 1, 2, 2, 0]


@pytest.mark.parametrize(("rotation", "quarter_turns"), [(0, 0), (90, 1), (-90, -1), (180, 2)])
def test_frames_are_upright(tmp_path, rotation, quarter_turns):
    quarters = np.zeros((32, 64, 3), dtype=np.uint8)
    quarters[:16, :32], quarters[16:, 32:] = videos.RED, videos.BLUE
    path = videos.write_video(tmp_path / "a.mp4", [quarters] * 3, rotation=rotation)
    with open_video(Clip(path)) as video:
        frame = video.frames([0.1])[0]
        small = video.frames([0.1], short_side_px=16)[0]
    assert np.abs(frame.astype(int) - np.rot90(quarters, quarter_turns)).mean() < 5
    assert small.shape == ((32, 16, 3) if rotation in (90, -90) else (16, 32, 3))


@pytest.mark.slow
def test_a_video_inside_a_larger_file_is_read_as_from_disk(tmp_path):
    path = videos.three_colours(tmp_path / "a.mp4")
    packed = PackedFile("shard.tar/a.video.mp4", path.read_bytes())
    assert shown(packed, [0.5, 1.5, 2.5]) == [0, 1, 2]


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "times", "message"),
    [
        (lambda p: p / "none.mp4", [0], r"none\.mp4: no such file"),
        (lambda p: cut(videos.three_colours(p / "a.mp4"), 0.5), [0], r"a\.mp4: not readable as video"),
        (lambda p: cut(videos.three_colours(p / "a.mp4"), 0), [0], r"a\.mp4: not readable as video"),
        (
            lambda p: videos.write_video(p / "a.mp4", None, videos.tones([400])),
            [0],
            r"a\.mp4: there is no video in it",
        ),
    ],
    ids=["missing", "truncated", "empty", "sound only"],
)
def test_a_file_without_video_is_named(tmp_path, make, times, message):
    with pytest.raises(ValueError, match=message):
        shown(make(tmp_path), times)


def test_a_video_that_ends_early_is_named(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (32, 48, 3), dtype=np.uint8) for _ in range(80)]
    path = cut(videos.write_video(tmp_path / "a.mkv", frames), 0.5)
    assert len(shown(path, [0.0, 3.0])) == 2
    with pytest.raises(ValueError, match=r"a\.mkv: ends early, its last frame is at [34]\.\d+ s and one at 7 s"):
        shown(path, [0.0, 7.0])


@pytest.mark.slow
def test_spans_beyond_the_video_are_refused(tmp_path):
    path = videos.three_colours(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match=r"\[1-9\.0 s\]: the video is only 3 s long"):
        shown(path, [0.0], 1.0, 9.0)
    with pytest.raises(ValueError, match=r"\[5-end s\]: there are no frames in it"):
        shown(path, [0.0], 5.0)


def test_other_values_are_refused():
    with pytest.raises(ValueError, match="a video is a Clip"), open_video(np.zeros((3, 8, 8, 3), np.uint8)):
        pass
