import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import videos

from bind.media import decoded
from bind.media.audio import open_audio, open_sound
from bind.types import Clip, PackedFile, Waveform


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


RATE_HZ = 16_000
MP3 = {"format": "MP3", "subtype": "MPEG_LAYER_III"}


def passages(seconds=6, rate_hz=RATE_HZ, num_channels=1, seed=0):
    """A second of tone, of noise and of near silence in turn: what lossy encoders spend very different bits on."""
    rng, time = np.random.default_rng(seed), np.arange(rate_hz) / rate_hz
    kinds = [
        lambda k: 0.4 * np.sin(2 * np.pi * (300 + 50 * k) * time),
        lambda k: rng.normal(0, 0.1, rate_hz),
        lambda k: 0.02 * np.sin(2 * np.pi * 200 * time),
    ]
    x_T = np.concatenate([kinds[k % 3](k) for k in range(seconds)])
    return np.stack([x_T] + [0.5 * x_T[::-1]] * (num_channels - 1), axis=1)


def write_sound(path, x_TC, rate_hz=RATE_HZ, **options):
    """`options` with `bitrate_mode` make MP3s of constant or variable rate."""
    with soundfile.SoundFile(path, "w", rate_hz, x_TC.shape[1], **options) as file:
        file.write(x_TC)
    return path


def without_first_mp3_frame(path):
    """An MP3 without the frame that states its length, as recorders write it."""
    content = path.read_bytes()
    first = content.index(b"\xff")
    second = content.index(content[first : first + 2], first + 4)
    return path.with_stem(path.stem + "-no-length"), content[second:]


def write_all_kinds(folder):
    """A file of every supported encoding."""
    x_TC, stereo_TC = passages(), passages(num_channels=2)
    paths = []
    for extension, subtype in (
        ("wav", "PCM_16"), ("wav", "PCM_U8"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("wav", "DOUBLE"), ("wav", "ULAW"),
        ("wav", "IMA_ADPCM"), ("wav", "MS_ADPCM"), ("wav", "GSM610"), ("aiff", "PCM_16"), ("au", "PCM_16"),
        ("flac", "PCM_16"), ("flac", "PCM_24"), ("ogg", "VORBIS"), ("ogg", "OPUS"),
    ):  # fmt: skip
        x = x_TC if subtype == "GSM610" else stereo_TC
        path = folder / f"{subtype}.{'opus' if subtype == 'OPUS' else extension}"
        paths.append(write_sound(path, x, format=extension.upper(), subtype=subtype))
    for mode, level, rate_hz in (("CONSTANT", 0.99, 8000), ("CONSTANT", 0.99, 24_000), ("VARIABLE", 0.4, 44_100)):
        path = folder / f"{mode}{rate_hz}.mp3"
        x = passages(rate_hz=rate_hz)
        paths.append(write_sound(path, x, rate_hz, bitrate_mode=mode, compression_level=level, **MP3))
    no_length, content = without_first_mp3_frame(paths[-1])
    no_length.write_bytes(content)
    for suffix in (".m4a", ".mkv", ".mov", ".aac", ".ts", ".avi"):
        paths.append(videos.write_video(folder / f"a{suffix}", None, x_TC[:, 0].astype(np.float32)))
    return [*paths, no_length]


@pytest.fixture(scope="module")
def all_kinds(tmp_path_factory):
    return write_all_kinds(tmp_path_factory.mktemp("sounds"))


@pytest.mark.slow
def test_the_whole_is_what_another_decoder_gives(all_kinds):
    for path in all_kinds:
        if path.stem.endswith("no-length") or path.suffix not in (".wav", ".aiff", ".au", ".flac", ".ogg", ".mp3"):
            continue
        with open_audio(Clip(path)) as recording:
            whole = recording.read(0, recording.num_frames)
        expected, _ = soundfile.read(path, frames=recording.num_frames, dtype="float32", always_2d=True)
        np.testing.assert_allclose(whole, expected, atol=5e-6, err_msg=str(path))


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_part_of_any_file_is_that_slice_of_the_whole(all_kinds, data):
    path = data.draw(st.sampled_from(all_kinds), label="file")
    decoded._kept.clear()
    with pytest.MonkeyPatch.context() as patch:
        if data.draw(st.booleans(), label="too long to be kept"):
            patch.setattr(decoded, "MAX_KEPT_BYTES", 1000)
        with open_audio(Clip(path)) as recording:
            num_frames, rate_hz = recording.num_frames, recording.sample_rate_hz
            whole = recording.read(0, num_frames)
        span_start = data.draw(st.integers(0, num_frames - 2)) / rate_hz
        span = Clip(path, span_start, data.draw(st.floats(span_start + 1 / rate_hz, num_frames / rate_hz + 0.09)))
        for clip, offset in ((Clip(path), 0), (span, round(span_start * rate_hz))):
            with open_audio(clip) as recording:
                for _ in range(data.draw(st.integers(1, 6), label="windows")):
                    first = data.draw(st.integers(0, recording.num_frames - 1))
                    last = data.draw(st.integers(first + 1, min(recording.num_frames, first + 9000)))
                    window = recording.read(first, last)
                    assert np.abs(window - whole[offset + first : offset + last]).max() <= 1e-6
    decoded._kept.clear()


def test_what_is_read_may_be_written_into(tmp_path):
    path = write_sound(tmp_path / "a.ogg", passages(2), format="OGG", subtype="VORBIS")
    with open_audio(Clip(path)) as recording:
        before = recording.read(0, 100)
        recording.read(0, 100)[:] = 7
        np.testing.assert_array_equal(recording.read(0, 100), before)


def test_a_file_that_was_written_again_is_decoded_again(tmp_path):
    for seed in (1, 2):
        path = write_sound(tmp_path / "a.ogg", passages(1 + seed, seed=seed), format="OGG", subtype="VORBIS")
        with open_audio(Clip(path)) as recording:
            assert recording.num_frames == (1 + seed) * RATE_HZ


@pytest.mark.slow
def test_the_length_of_an_mp3_is_what_can_be_decoded(tmp_path):
    path = write_sound(tmp_path / "a.mp3", passages(12), bitrate_mode="VARIABLE", compression_level=0.4, **MP3)
    no_length, content = without_first_mp3_frame(path)
    no_length.write_bytes(content)
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(path.read_bytes() * 2)
    for file, seconds in ((path, 12), (no_length, 12), (joined, 24)):
        with open_audio(Clip(file)) as recording:
            assert recording.num_frames / RATE_HZ == pytest.approx(seconds, abs=0.3)


ID3 = b"ID3\x04\0\0" + bytes([0, 0, 16, 0]) + bytes(2048)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        (lambda b: ID3 + b, 4),
        (lambda b: b + b"TAG" + bytes(125), 4),
        (lambda b: b + b"LYRICSBEGIN" + b"x" * 400 + b"LYRICS200", 4),
        (lambda b: b + bytes(3000), 4),
        (lambda b: b + ID3 + b, 8),
    ],
    ids=["tag before", "tag after", "lyrics", "zeros after", "joined with a tag between"],
)
def test_tags_of_an_mp3_are_no_sound(tmp_path, change, seconds):
    path = make_whole(tmp_path, "mp3")
    path.write_bytes(change(path.read_bytes()))
    with open_audio(Clip(path)) as recording:
        assert recording.num_frames / RATE_HZ == pytest.approx(seconds, abs=0.2)


FRAMES_OF_NONE = b"\xff\xfb\x90\x00" + bytes(413)
"""What a picture in a tag may look like: a head as frames of sound have it."""


def ape_tag(num_bytes, has_header, version=2000, has_footer=True):
    item = struct.pack("<II", num_bytes, 0) + b"Cover Art (Front)\0" + (FRAMES_OF_NONE * 300)[:num_bytes]

    def end(flags):
        size = len(item) + (32 if has_footer else 0)
        return b"APETAGEX" + struct.pack("<IIII", version, size, 1, flags) + bytes(8)

    footer = end(0x80000000 if has_header else 0) if has_footer else b""
    return (end(0xA0000000) if has_header else b"") + item + footer


def id3_tag(num_bytes, has_footer=False):
    size = bytes(num_bytes >> shift & 127 for shift in (21, 14, 7, 0))
    tail = bytes([4, 0, 0x10 if has_footer else 0]) + size
    return b"ID3" + tail + (FRAMES_OF_NONE * 300)[:num_bytes] + (b"3DI" + tail if has_footer else b"")


SIZES = st.integers(0, 100_000)
APE_TAGS = st.builds(ape_tag, SIZES, st.booleans(), st.sampled_from([1000, 2000]))
ID3_TAGS = st.builds(id3_tag, SIZES, st.booleans())
PADDING = st.integers(1, 20_000).map(bytes)  # three in a row are within the limit
FRONT = st.one_of(ID3_TAGS, APE_TAGS, PADDING, st.builds(ape_tag, SIZES, st.just(True), has_footer=st.just(False)))
BEHIND = st.one_of(
    st.just(b"TAG" + bytes(125)),
    APE_TAGS,
    st.integers(0, 30_000).map(lambda n: b"LYRICSBEGIN" + b"x" * n + b"%06dLYRICS200" % (n + 11)),
)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(FRONT, max_size=3), st.lists(BEHIND, max_size=3), st.booleans(), st.booleans())
@example([id3_tag(50_000), id3_tag(300), id3_tag(0)], [], False, True)
@example([ape_tag(90_000, True)], [], False, True)
@example([bytes(5000)], [], False, False)
@example([id3_tag(2000), bytes(5000)], [], False, True)
@example([ape_tag(90_000, False, 1000)], [], True, False)
@example([bytes(3), ape_tag(0, False)], [], False, False)
@example([bytes(1), ape_tag(434, False)], [], True, False)
@example([id3_tag(40), bytes(700), ape_tag(512, True), bytes(9)], [], False, False)
@example([ape_tag(65_535, False)], [], False, False)
@example([id3_tag(2000, True), ape_tag(5000, True)], [ape_tag(9000, False, 1000), b"TAG" + bytes(125)], True, False)
def test_an_mp3_is_the_same_sound_whatever_tags_are_around_it(tmp_path_factory, front, behind, is_packed, is_long):
    path = make_whole(tmp_path_factory.mktemp("tags"), "mp3")
    with open_audio(Clip(path)) as recording:
        whole = recording.read(0, recording.num_frames)
    content = b"".join(front) + path.read_bytes() + b"".join(behind)
    path.write_bytes(content)
    clip = Clip(PackedFile("shard.tar/a.audio.mp3", content)) if is_packed else Clip(path)
    with pytest.MonkeyPatch.context() as patch:
        if is_long:
            patch.setattr(decoded, "MAX_KEPT_BYTES", 1000)
        with open_audio(clip) as recording:
            np.testing.assert_array_equal(recording.read(0, recording.num_frames), whole)
            np.testing.assert_array_equal(recording.read(60_000, 63_900), whole[60_000:63_900])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wav", "aiff", "flac", "aac"])
@pytest.mark.parametrize("tag", [id3_tag(5000), ape_tag(5000, True), id3_tag(300, True) + id3_tag(40)])
def test_tags_before_other_files_are_no_part_of_them(tmp_path, kind, tag):
    path = make_whole(tmp_path, kind)
    with open_audio(Clip(path)) as recording:
        whole = recording.read(0, recording.num_frames)
    content = tag + path.read_bytes()
    path.write_bytes(content)
    for clip in (Clip(path), Clip(PackedFile(f"shard.tar/{path.name}", content))):
        with open_audio(clip) as recording:
            np.testing.assert_array_equal(recording.read(0, recording.num_frames), whole)
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(ValueError, match=rf"a\.{kind}: "), open_audio(Clip(path)):
        pass


@pytest.mark.parametrize(("before", "tag"), [(b"", ape_tag(50_000, True)), (id3_tag(3000), id3_tag(50_000))])
@pytest.mark.parametrize(("change", "message"), [(-700, "no sound begins there"), (1 << 20, "it is cut short")])
def test_a_tag_before_an_mp3_that_is_of_another_length_is_refused_by_name(tmp_path, before, tag, change, message):
    """A decoder takes what is left of it for sound, or leaves sound out."""
    path = make_whole(tmp_path, "mp3")
    if tag.startswith(b"APE"):
        tag = tag[:12] + struct.pack("<I", len(tag) - 32 + change) + tag[16:]
    else:
        tag = tag[:6] + bytes(50_000 + change >> shift & 127 for shift in (21, 14, 7, 0)) + tag[10:]
    tag = tag.replace(FRAMES_OF_NONE, np.random.default_rng(0).bytes(len(FRAMES_OF_NONE)))
    path.write_bytes(before + tag + path.read_bytes())
    with pytest.raises(ValueError, match=rf"a\.mp3: .*{message}"), open_audio(Clip(path)):
        pass


def test_an_mp3_with_a_hole_is_refused(tmp_path):
    path = make_whole(tmp_path, "mp3")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(3000) + content[middle:])
    with pytest.raises(ValueError, match=r"a\.mp3: .*damaged"), open_audio(Clip(path)):
        pass


def test_a_span_may_end_a_tenth_of_a_second_after_the_sound(tmp_path):
    path = write_sound(tmp_path / "a.wav", passages(2))
    with open_audio(Clip(path, 1.0, 2.09)) as recording:
        assert recording.num_frames == RATE_HZ
    with pytest.raises(ValueError, match="only 2 s long"), open_audio(Clip(path, 1.0, 2.2)):
        pass


CUT = {
    "wav": {"format": "WAV"},
    "rf64": {"format": "RF64"},
    "w64": {"format": "W64"},
    "aiff": {"format": "AIFF", "subtype": "PCM_16"},
    "au": {"format": "AU", "subtype": "PCM_16"},
    "flac": {"format": "FLAC"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {**MP3, "bitrate_mode": "VARIABLE", "compression_level": 0.4},
}


def make_whole(folder, kind):
    path = folder / f"a.{kind}"
    if kind in CUT:
        return write_sound(path, passages(4), **CUT[kind])
    return videos.write_video(path, None, passages(4)[:, 0].astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.97])
@pytest.mark.parametrize("kind", [*CUT, "m4a", "mp4", "mkv", "mov", "avi", "aac"])
def test_a_file_that_is_cut_short_is_refused_by_name(tmp_path, kind, share):
    path = make_whole(tmp_path, kind)
    with open_audio(Clip(path)) as recording:
        assert recording.num_frames > 3.9 * RATE_HZ
    content = path.read_bytes()
    content = content[: round(len(content) * share)]
    path.write_bytes(content)
    for clip in (Clip(path), Clip(PackedFile(f"shard.tar/{path.name}", content))):
        with pytest.raises(ValueError, match=rf"a\.{kind}: ") as caught, open_audio(clip) as recording:
            recording.read(0, recording.num_frames)
        assert "Garbled" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*CUT, "m4a", "mkv", "avi", "aac", "ts"])
def test_joined_files_are_read_whole_or_refused(tmp_path, kind):
    path = make_whole(tmp_path, kind)
    path.write_bytes(path.read_bytes() * 2)
    if kind in ("mp3", "aac"):
        with open_audio(Clip(path)) as recording:
            assert recording.num_frames > 7.9 * RATE_HZ
    else:
        with pytest.raises(ValueError, match=rf"a\.{kind}.*join"), open_audio(Clip(path)):
            pass


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_of_a_length_that_was_not_known_is_read_to_its_end(tmp_path, size):
    path = write_sound(tmp_path / "a.wav", passages(1))
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)
    with open_audio(Clip(path)) as recording:
        assert recording.num_frames == RATE_HZ


def test_a_flac_of_a_length_that_was_not_known_is_read_to_its_end(tmp_path):
    path = write_sound(tmp_path / "a.flac", passages(1))
    with open_audio(Clip(path)) as recording:
        whole = recording.read(0, RATE_HZ)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with open_audio(Clip(path)) as recording:
        np.testing.assert_array_equal(recording.read(0, recording.num_frames), whole)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 100), np.float32), r"\(2, 100\) looks like \(channels, time\)"),
        (np.zeros((1, 100), np.float32), "looks like"),
        (np.zeros(100, np.int16), "int16, not float32.*divide by 32768"),
        (np.zeros(100, np.int32), "divide by 2147483648"),
        (np.zeros(100, np.uint8), "uint8"),
        (np.zeros((4, 3, 2), np.float32), "neither"),
        (
            np.float32(20_000) * np.sin(np.arange(100, dtype=np.float32)),
            r"reach 19999.8, where sound lies in \[-1, 1\]",
        ),
        (np.zeros(0, np.float32), "no samples"),
    ],
)
def test_arrays_that_are_no_sound_are_refused(samples, message):
    with pytest.raises(ValueError, match=message), open_audio(Waveform(samples, 8000)) as recording:
        recording.read(0, recording.num_frames)


def test_integers_in_a_float_file_are_refused_and_named(tmp_path):
    path = write_sound(tmp_path / "a.wav", 32768 * passages(1), subtype="FLOAT")
    with pytest.raises(ValueError, match=r"a\.wav: its values reach"), open_audio(Clip(path)) as recording:
        recording.read(0, recording.num_frames)


def test_a_whole_file_is_given_as_stored(tmp_path):
    x = np.arange(10, dtype=np.float32)[:, None] / 10
    x[4] = np.nan
    soundfile.write(tmp_path / "a.wav", x, 8000, subtype="FLOAT")
    with open_sound(Clip(tmp_path / "a.wav", 0.0, 0.5)) as sound:
        assert (sound.sample_rate_hz, sound.num_frames, sound.num_channels) == (8000, 10, 1)
        np.testing.assert_array_equal(sound.read(2, 9), x[2:9])
        with pytest.raises(ValueError, match="cut short: 8 frames instead of 18"):
            sound.read(2, 20)


@pytest.mark.slow
def test_windows_of_a_wav_are_read_without_the_rest(tmp_path):
    content = io.BytesIO()
    soundfile.write(content, passages(60), RATE_HZ, format="WAV")
    path = tmp_path / "a.wav"
    path.write_bytes(content.getvalue())
    decoded._kept.clear()
    with open_audio(Clip(path, 30.0, 31.0)) as recording:
        recording.read(0, 1000)
    assert not decoded._kept
