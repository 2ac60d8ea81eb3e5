"""A part of a long MP3 that is decoded from a little before it is that slice of the whole decode, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media.test_audio import MP3, passages, without_first_mp3_frame, write_sound

from bind.media import audio, decoded, mp3_index
from bind.media.audio import open_audio
from bind.media.mp3_index import index_mp3, indexed_sound
from bind.media.soundtrack import decode_mp3
from bind.types import Clip

KINDS = [
    (mode, level, rate_hz, num_channels)
    for mode in ("CONSTANT", "VARIABLE")
    for level in (0.0, 0.99)  # 320 and 8 kilobits per second: the less there are, the farther back frames borrow
    for rate_hz, num_channels in ((8000, 1), (22_050, 2), (44_100, 1), (48_000, 2))
]


def decode_whole(path):
    return np.concatenate([block for _, block in decode_mp3(Clip(path))])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """MP3s of several rates and lengths of frames, and their samples."""
    folder, made = tmp_path_factory.mktemp("mp3"), []
    for mode, level, rate_hz, num_channels in KINDS:
        path = folder / f"{mode}{level}{rate_hz}{num_channels}.mp3"
        x_TC = passages(7, rate_hz, num_channels)
        made.append(write_sound(path, x_TC, rate_hz, bitrate_mode=mode, compression_level=level, **MP3))
    no_length, content = without_first_mp3_frame(made[-2])
    no_length.write_bytes(content)
    tagged = folder / "tagged.mp3"
    tagged.write_bytes(b"ID3\x04\0\0\0\0\x0f\x0a" + bytes(15 * 128 + 10) + made[0].read_bytes() + b"TAG" + bytes(125))
    return [(path, decode_whole(path)) for path in (*made, no_length, tagged)]


@pytest.mark.slow
@settings(max_examples=200)
@given(data=st.data())
def test_a_part_is_that_slice_of_the_whole(files, data):
    path, whole = data.draw(st.sampled_from(files), label="file")
    index = index_mp3(Clip(path))
    assert index is not None, path
    assert index.num_frames == len(whole)
    first = data.draw(st.integers(0, len(whole) - 1), label="first")
    last = data.draw(st.integers(first + 1, len(whole)), label="last")
    np.testing.assert_array_equal(indexed_sound(Clip(path), index).read(first, last), whole[first:last])


@pytest.mark.slow
def test_the_lead_in_is_needed(files, monkeypatch):
    path, whole = files[-4]
    sound = indexed_sound(Clip(path), index_mp3(Clip(path)))
    monkeypatch.setattr(mp3_index, "LEAD_IN_BYTES", 0)
    monkeypatch.setattr(mp3_index, "LEAD_IN_FRAMES", 0)
    assert not np.array_equal(sound.read(50_000, 60_000), whole[50_000:60_000])


@pytest.mark.slow
def test_only_the_neighbourhood_of_a_part_is_decoded(files, monkeypatch):
    path, whole = files[-4]
    monkeypatch.setattr(decoded, "MAX_KEPT_BYTES", 1000)
    monkeypatch.setattr(audio, "decode_mp3", None)
    decoded._kept.clear()
    with open_audio(Clip(path)) as recording:
        assert recording.num_frames == len(whole)
        np.testing.assert_array_equal(recording.read(100_000, 100_100), whole[100_000:100_100])


@pytest.mark.slow
def test_where_it_is_not_proven_the_whole_is_decoded(files, tmp_path):
    """Joined files, whose rates differ; short ones; bytes between frames; a number of frames that is not there."""
    contents = {
        "joined": files[2][0].read_bytes() + files[6][0].read_bytes(),
        "short": files[0][0].read_bytes()[:2000],
        "cut": files[2][0].read_bytes()[:-5000],
    }
    content = files[-2][0].read_bytes()
    contents["between"] = content[:40_000] + bytes(100) + content[40_000:]
    for name, content in contents.items():
        path = tmp_path / f"{name}.mp3"
        path.write_bytes(content)
        assert index_mp3(Clip(path)) is None, name


@pytest.mark.slow
def test_a_damaged_frame_of_a_long_file_is_named_where_it_is_read(files, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "MAX_KEPT_BYTES", 1000)
    path, whole = files[2]
    index = index_mp3(Clip(path))
    content = bytearray(path.read_bytes())
    start, size = int(index.starts_N[100]), int(index.sizes_N[100])
    content[start + 4 : start + size] = b"\xff" * (size - 4)
    (tmp_path / "a.mp3").write_bytes(content)
    with open_audio(Clip(tmp_path / "a.mp3")) as recording:
        np.testing.assert_array_equal(recording.read(0, 20_000), whole[:20_000])
        begin, end = 100 * index.frame_samples, 102 * index.frame_samples
        try:
            samples, message = recording.read(begin, end), None
        except ValueError as error:
            samples, message = None, str(error)
    if message is None:  # decoders conceal much, and then the same as from the start
        np.testing.assert_array_equal(samples, decode_whole(tmp_path / "a.mp3")[begin:end])
    else:
        assert "a.mp3" in message
