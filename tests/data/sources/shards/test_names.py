"""Keys survive the names of members."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bind.data.sources.shards.names import (
    MODALITY_OF_EXTENSION,
    Suffix,
    escape,
    member_name,
    parse_suffix,
    refuse_dotted_keys,
    split_name,
)


@pytest.mark.slow
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from([None, 0, 12]))
def test_any_key_can_be_read_back(key, number):
    name = member_name(key, "audio", "wav", number)
    escaped, suffix = split_name(name, "a.tar")
    assert escaped == escape(key)
    assert unquote(escaped) == key
    assert parse_suffix(suffix, {}) == Suffix("audio", number or 0, "wav")
    assert ".." not in name
    assert not name.startswith("/")


def test_plain_keys_stay_readable():
    assert member_name("toy/train/0001", "imu", "npy") == "toy/train/0001.imu.npy"
    assert member_name("a.b", "text", "txt", 3) == "a%2Eb.text.3.txt"


@pytest.mark.parametrize(
    ("suffix", "modality"),
    [
        ("jpg", "image"),
        ("wav", "audio"),
        ("seg.png", "seg"),
        ("mid.json", "caption"),
        ("meta.json", None),
        ("cls", None),
        ("a.b.c", None),
        ("Ümlaut.png", None),
    ],
)
def test_what_a_suffix_means(suffix, modality):
    parsed = parse_suffix(suffix, {**MODALITY_OF_EXTENSION, "mid.json": "caption"})
    assert (parsed and parsed.modality) == modality


WORDS = st.text("abcXYZ019_- ", min_size=1, max_size=6).filter(str.strip)


@pytest.mark.slow
@given(st.lists(WORDS, min_size=2, max_size=4, unique_by=str.lower), st.booleans())
def test_keys_that_differ_after_a_dot_never_become_one_sample_in_silence(words, with_texts):
    suffixes = [f"{word.lower()}.{ext}" for word in words for ext in ("wav", *(["txt"] if with_texts else []))]
    try:
        refuse_dotted_keys(suffixes, MODALITY_OF_EXTENSION, "a.tar")
    except ValueError as error:
        assert "a key ends at its first dot" in str(error)  # noqa: PT017
    else:
        parsed = [parse_suffix(suffix, MODALITY_OF_EXTENSION) for suffix in suffixes]
        assert not with_texts
        assert len({(p.modality, p.number) for p in parsed}) == len(suffixes)  # modalities of the user's own


@pytest.mark.parametrize(
    "suffixes",
    [
        ["1.wav"],
        ["1.txt", "txt"],
        ["5x.jpg"],
        ["0_live.wav", "wav"],
        ["live.wav", "live.txt"],
        ["a.b.mp4"],
        ["2.5.png"],
    ],
)
def test_dotted_keys_are_refused_with_the_remedy(suffixes):
    with pytest.raises(ValueError, match=r"a\.tar: members named KEY\..*data\.extensions=\{.+: .+\}"):
        refuse_dotted_keys(suffixes, MODALITY_OF_EXTENSION, "a.tar")


@pytest.mark.parametrize(
    "suffixes",
    [
        ["wav", "txt", "json"],
        ["audio.wav", "text.0.txt", "text.1.txt"],
        ["seg.png", "image.jpg", "image.mp4"],
        ["depth.npy", "imu.npy", "imu.json", "meta.json"],
        ["note.txt"],
        ["5x.cls"],
    ],
)
def test_suffixes_of_one_meaning_pass(suffixes):
    refuse_dotted_keys(suffixes, MODALITY_OF_EXTENSION, "a.tar")


def test_several_pictures_of_a_sample_can_be_named():
    extensions = {**MODALITY_OF_EXTENSION, "0.jpg": "image", "1.jpg": "image"}
    refuse_dotted_keys(["0.jpg", "1.jpg"], extensions, "a.tar")
    assert [parse_suffix(s, extensions).number for s in ("0.jpg", "1.jpg")] == [0, 1]
