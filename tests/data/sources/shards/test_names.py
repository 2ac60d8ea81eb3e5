"""Keys survive the names of members."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bind.data.sources.shards.names import MODALITY_OF_EXTENSION, Suffix, escape, member_name, parse_suffix, split_name


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
