import numpy as np
import pytest
import soundfile

from bind.media.audio import SoundBlockReader, open_audio, read_sound_header
from bind.types import Clip, Waveform


def test_sound_is_read_in_part_and_from_memory(tmp_path):
    x = np.round(np.random.default_rng(0).uniform(-0.9, 0.9, (800, 2)) * 2**15).astype(np.float32) / 2**15
    soundfile.write(tmp_path / "a.wav", x, 8000, subtype="PCM_16")
    with open_audio(Clip(tmp_path / "a.wav", 0.01, 0.05)) as recording:
        assert (recording.num_frames, recording.sample_rate_hz) == (320, 8000)
        np.testing.assert_array_equal(recording.read(100, 200), x[180:280])
    with open_audio(Waveform(x[:, 0], 8000)) as recording:
        np.testing.assert_array_equal(recording.read(100, 200), x[100:200, :1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a sound", r"a\.wav: not readable as sound"),
        (b"", r"a\.wav: not readable as sound"),
        (None, r"a\.wav: no such file"),
    ],
)
def test_a_corrupt_sound_file_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match=message), open_audio(Clip(tmp_path / "a.wav")):
        pass


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named_where_they_are_read(tmp_path, number):
    x = np.zeros(100, dtype=np.float32)
    x[60] = number
    soundfile.write(tmp_path / "a.wav", x, 8000, subtype="FLOAT")
    with open_audio(Clip(tmp_path / "a.wav")) as recording:
        assert not recording.read(0, 60).any()
        with pytest.raises(ValueError, match=r"a\.wav: 1 of 40 values are NaN or infinite"):
            recording.read(60, 100)


def test_values_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"audio is a Clip .* not ndarray"), open_audio(np.zeros(3)):
        pass


def test_a_header_gives_rate_frames_and_channels(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.zeros((80, 2)), 8000)
    assert read_sound_header(tmp_path / "a.flac") == (8000, 80, 2)
    (tmp_path / "b.wav").write_bytes(b"not a sound")
    with pytest.raises(ValueError, match=r"b\.wav: not readable as sound"):
        read_sound_header(tmp_path / "b.wav")


def test_blocks_are_what_is_stored_nan_and_all(tmp_path):
    x = np.arange(10, dtype=np.float32)[:, None] / 10
    x[4] = np.nan
    soundfile.write(tmp_path / "a.wav", x, 8000, subtype="FLOAT")
    with SoundBlockReader(tmp_path / "a.wav") as sound:
        assert (sound.sample_rate_hz, sound.num_frames) == (8000, 10)
        blocks = list(sound.read(2, 9, block_frames=3))
        assert [len(block) for block in blocks] == [3, 3, 1]
        np.testing.assert_array_equal(np.concatenate(blocks), x[2:9])
        with pytest.raises(ValueError, match="ends early, after 8 of 18 frames"):
            list(sound.read(2, 20, block_frames=100))
