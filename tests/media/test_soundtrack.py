import logging

import numpy as np
import pytest
from support import videos

from bind.media import notices
from bind.media.audio import open_audio
from bind.types import Clip, PackedFile


def pitch_hz(x_T):
    return float(np.argmax(np.abs(np.fft.rfft(x_T, n=videos.RATE_HZ))))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
def test_the_sound_track_lies_on_the_clock_of_the_pictures(tmp_path, suffix):
    path = videos.three_colours(tmp_path / f"a{suffix}")
    written = videos.tones([400, 800, 1600])
    with open_audio(Clip(path)) as recording:
        assert recording.sample_rate_hz == videos.RATE_HZ
        assert recording.num_frames == pytest.approx(48_000, abs=1100)
        whole = recording.read(0, 48_000)
        assert (whole.shape, whole.dtype) == ((48_000, 1), np.float32)
        assert np.corrcoef(whole[:, 0], written)[0, 1] > 0.98
        for first, last in ((40_000, 48_000), (20_000, 30_000), (0, 100)):
            np.testing.assert_allclose(recording.read(first, last), whole[first:last], atol=1e-6)


@pytest.mark.slow
def test_a_span_is_read_alone_and_from_memory(tmp_path):
    path = videos.three_colours(tmp_path / "a.mp4")
    for place in (path, PackedFile("shard.tar/a.audio.mp4", path.read_bytes())):
        with open_audio(Clip(place, 1.0, 2.0)) as recording:
            assert recording.num_frames == 16_000
            assert pitch_hz(recording.read(0, 16_000)[:, 0]) == 800


@pytest.mark.slow
def test_sound_alone_in_a_container_is_read(tmp_path):
    path = videos.write_video(tmp_path / "a.m4a", None, videos.tones([440]))
    with open_audio(Clip(path)) as recording:
        assert pitch_hz(recording.read(0, recording.num_frames)[:, 0]) == 440


@pytest.mark.slow
def test_sound_that_starts_late_is_silent_before_and_the_log_says_so(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(notices, "_warned", set())
    frames = [videos.plain(videos.RED)] * 30
    path = videos.write_video(tmp_path / "a.mkv", frames, videos.tones([440, 440]), sound_start=1.0)
    with open_audio(Clip(path)) as recording, caplog.at_level(logging.WARNING, "bind.data"):
        sound = recording.read(0, recording.num_frames)[:, 0]
        assert not recording.read(0, 8000).any()
    onset = np.flatnonzero(np.abs(sound) > 0.1)[0]
    assert onset == pytest.approx(videos.RATE_HZ, abs=videos.RATE_HZ * 0.1)
    assert "starts late or has gaps is silent there" in caplog.text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: videos.write_video(p / "a.mp4", [videos.plain(videos.RED)] * 5), r"a\.mp4: there is no sound track"),
        (lambda p: p / "none.mp4", r"none\.mp4: no such file"),
    ],
    ids=["silent film", "missing"],
)
def test_a_file_without_sound_is_named(tmp_path, make, message):
    with pytest.raises(ValueError, match=message), open_audio(Clip(make(tmp_path))):
        pass


@pytest.mark.slow
def test_a_container_that_is_cut_short_is_named(tmp_path):
    rng = np.random.default_rng(0)
    path = videos.write_video(tmp_path / "a.mkv", None, rng.uniform(-0.5, 0.5, 8 * 16_000).astype(np.float32))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"a\.mkv: cut short"), open_audio(Clip(path)):
        pass


@pytest.mark.slow
def test_a_span_beyond_the_sound_is_refused(tmp_path):
    path = videos.three_colours(tmp_path / "a.mp4")
    with open_audio(Clip(path, 1.0, 3.05)) as recording:
        assert recording.num_frames == pytest.approx(32_000, abs=1024)
    with pytest.raises(ValueError, match=r"the recording is only 3\.008 s long"), open_audio(Clip(path, 0.0, 9.0)):
        pass
