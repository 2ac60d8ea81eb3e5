"""Files that are cut short or whose head states a wrong length are refused, whatever their format."""

import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support import videos

from bind.media.audio import open_audio
from bind.types import Clip

RATE_HZ = 16_000
X = (0.3 * np.sin(np.arange(RATE_HZ) / 9) + 0.01 * np.random.default_rng(0).standard_normal(RATE_HZ)).astype(np.float32)
FORMATS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "SVX", "CAF", "NIST", "FLAC", "OGG", "MP3")


def read(path):
    with open_audio(Clip(path)) as recording:
        return recording.read(0, recording.num_frames)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Format → a file of it, whole."""
    folder = tmp_path_factory.mktemp("sounds")
    paths = {}
    for name in FORMATS:
        paths[name] = folder / f"whole.{'wav' if name in ('WAVEX', 'RF64') else name.lower()}"
        soundfile.write(paths[name], X, RATE_HZ, format=name)
    for suffix in (".m4a", ".aac", ".mkv", ".mov", ".ts"):
        paths[suffix] = videos.write_video(folder / f"whole{suffix}", None, X)
    return paths


def aac_frame_ends(content):
    """Of a stream of AAC frames with a head each (ADTS)."""
    ends, position = set(), 0
    while position < len(content):
        head = content[position : position + 6]
        position += (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        ends.add(position)
    return ends


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_file_cut_off_anywhere_is_refused_or_as_long_as_the_whole(files, tmp_path_factory, data):
    name = data.draw(st.sampled_from(sorted(files)), label="format")
    whole = files[name].read_bytes()
    length = data.draw(st.integers(1, len(whole) - 1), label="bytes")
    if name == ".ts" and length % 188 == 0:
        return  # a stream of packets, of which no one says which is the last
    if name == ".aac" and length in aac_frame_ends(whole):
        return  # the same
    path = tmp_path_factory.mktemp("cut") / f"cut{files[name].suffix}"
    path.write_bytes(whole[:length])
    try:
        samples = read(path)
    except ValueError as error:
        message = str(error)
    else:
        message = str(path)
        np.testing.assert_array_equal(samples, read(files[name]))
    assert str(path) in message


@pytest.mark.parametrize("name", ["VOC", "PAF", "IRCAM", "AVR", "HTK"])
def test_formats_that_do_not_say_where_they_end_are_refused(tmp_path, name):
    path = tmp_path / f"a.{name.lower()}"
    soundfile.write(path, X, RATE_HZ, format=name, subtype="PCM_16")
    with pytest.raises(ValueError, match=rf"a\.{name.lower()}: of the format {name}, which does not say where it ends"):
        read(path)


def wav(path, *, stated=None, riff=None, rest=b"", odd=False):
    """A WAV of 8 bits with another length of its sound in its head, and more behind it."""
    sound = (np.clip(X, -1, 1) * 127 + 128).astype(np.uint8).tobytes()[: -1 if odd else None]
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, RATE_HZ, 1, 8)
    data = struct.pack("<4sI", b"data", len(sound) if stated is None else stated) + sound + rest
    size = 4 + len(head) + len(data) if riff is None else riff
    path.write_bytes(struct.pack("<4sI4s", b"RIFF", size, b"WAVE") + head + data)
    return path


@pytest.mark.parametrize("riff", [None, 36 + 5000])
def test_a_stated_length_that_leaves_sound_out_is_refused(tmp_path, riff):
    with pytest.raises(ValueError, match=r"a\.wav: its head states 5000 bytes of sound, and 11000 bytes follow"):
        read(wav(tmp_path / "a.wav", stated=5000, riff=riff))


@pytest.mark.parametrize("odd", [False, True], ids=["even", "odd, without padding"])
@pytest.mark.parametrize("riff", [None, 5], ids=["right", "wrong length of the whole"])
@pytest.mark.parametrize("rest", [b"", b"LIST" + struct.pack("<I", 4) + b"INFO", b"\0" * 3000, b"\x01\x02tag"])
def test_what_programs_leave_behind_the_sound_is_no_fault(tmp_path, odd, riff, rest):
    path = wav(tmp_path / "a.wav", riff=riff, rest=rest, odd=odd)
    assert len(read(path)) == RATE_HZ - odd


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "name"),
    [(".m4a", "a.mp3"), (".mkv", "a.ogg"), (".mov", "a.wav"), (".m4a", "a.flac"), ("MP3", "a.wav"), ("WAV", "a.mp3")],
)
def test_the_content_decides_and_not_the_name(files, tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(files[content].read_bytes())
    np.testing.assert_array_equal(read(path), read(files[content]))


def test_mp3_within_wav_is_decoded(files, tmp_path):
    content = files["MP3"].read_bytes()
    head = struct.pack("<4sIHHIIHHHHIHHH", b"fmt ", 30, 0x55, 1, RATE_HZ, 8000, 1, 0, 12, 1, 2, 576, 1, 0)
    fact = struct.pack("<4sII", b"fact", 4, 2 * RATE_HZ)  # frames that are not there: encoders round up
    data = struct.pack("<4sI", b"data", len(content)) + content
    size = 4 + len(head) + len(fact) + len(data)
    (tmp_path / "a.wav").write_bytes(struct.pack("<4sI4s", b"RIFF", size, b"WAVE") + head + fact + data)
    samples = read(tmp_path / "a.wav")
    assert RATE_HZ <= len(samples) <= RATE_HZ + 3000
    assert np.sqrt((samples**2).mean()) == pytest.approx(np.sqrt((X**2).mean()), rel=0.1)


@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\0\x05hello"], ids=["", "behind a tag"])
def test_a_stream_of_aac_frames_that_ends_within_the_head_of_one_is_refused(files, tmp_path, tag):
    whole = tag + files[".aac"].read_bytes()
    path = tmp_path / "a.aac"
    end = sorted(len(tag) + end for end in aac_frame_ends(files[".aac"].read_bytes()))[3]
    for length in range(end + 1, end + 8):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.aac: cut short"):
            read(path)
    for rest in (b"", b"\0\0", b"TAG" + bytes(125)):  # what programs leave behind sound
        path.write_bytes(whole + rest)
        assert len(read(path)) == len(read(files[".aac"]))
