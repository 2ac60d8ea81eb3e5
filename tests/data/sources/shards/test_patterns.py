"""From what a user writes to a list of shards."""

import json

import pytest

from bind.data.sources.shards.patterns import absolute_shards, expand_braces, find_shards


@pytest.mark.parametrize(
    ("pattern", "expanded"),
    [
        ("a.tar", ["a.tar"]),
        ("a{08..11}.tar", ["a08.tar", "a09.tar", "a10.tar", "a11.tar"]),
        ("{x,y}-{0..1}.tar", ["x-0.tar", "x-1.tar", "y-0.tar", "y-1.tar"]),
        ("s3://b/{train,val}.tar", ["s3://b/train.tar", "s3://b/val.tar"]),
    ],
)
def test_braces_expand(pattern, expanded):
    assert expand_braces(pattern) == expanded


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a{0..99999999}.tar", "more than 1000000 shards"),
        ("{0..999}{0..999}{0..999}.tar", "more than 1000000 shards"),
        ("a{0-9}.tar", r"\{0-9\} is neither"),
        ("http://host/*.tar", "web servers list nothing"),
        ("https://me:secret@host/*.tar?secret", r"^https://host/\*\.tar: web servers list nothing"),
        (["https://host/a.tar?secret"] * 2, r"^data\.shards=https://host/a\.tar, https://host/a\.tar: \S+ comes twice"),
    ],
)
def test_a_meaningless_pattern_is_refused(pattern, message):
    with pytest.raises(ValueError, match=message):
        find_shards(pattern)


def test_folders_globs_and_lists(tmp_path):
    for name in ("b.tar", "a.tar", "c.txt"):
        (tmp_path / name).touch()
    both = [str(tmp_path / "a.tar"), str(tmp_path / "b.tar")]
    assert find_shards(str(tmp_path)) == both
    assert find_shards(f"{tmp_path}/*.tar") == both
    assert find_shards(both[::-1]) == both[::-1]
    (tmp_path / "shards.json").write_text(json.dumps({"shards": ["b.tar"]}))
    assert find_shards(str(tmp_path)) == both[1:]


def test_what_is_no_shard_is_refused(tmp_path):
    (tmp_path / "a.tar.gz").touch()
    with pytest.raises(ValueError, match=r"a\.tar\.gz: a shard ends in \.tar.*unpack"):
        find_shards(str(tmp_path / "a.tar.gz"))
    with pytest.raises(ValueError, match=r"b\.tar: no such shard"):
        find_shards(str(tmp_path / "b.tar"))
    with pytest.raises(ValueError, match="no shards there"):
        find_shards(str(tmp_path))
    (tmp_path / "a.tar").touch()
    with pytest.raises(ValueError, match=r"a\.tar comes twice"):
        find_shards([str(tmp_path), str(tmp_path / "a.tar")])


@pytest.mark.parametrize("names", ["[]", '{"shards": ["../a.tar"]}', '{"shards": [1]}', "nothing"])
def test_a_listing_that_is_none_is_refused(tmp_path, names):
    (tmp_path / "shards.json").write_text(names)
    with pytest.raises(ValueError, match=r"shards\.json: not a list of shards"):
        find_shards(str(tmp_path))


def test_local_patterns_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_shards("a/{0..9}.tar") == f"{tmp_path}/a/{{0..9}}.tar"
    assert absolute_shards({"train": ["s3://b/a.tar", "b"]}) == {"train": ["s3://b/a.tar", f"{tmp_path}/b"]}
