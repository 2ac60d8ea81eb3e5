"""An index says what is in a tar, and a tar that is not to be trusted has none."""

import io
import json
import tarfile

import numpy as np
import pytest
from support import shard_cases

from bind.data.sources.shards.tar_index import MAX_MEMBER_BYTES, TarIndex, index_tar, parse_meta


def read(path):
    with path.open("rb") as file:
        return index_tar(file, str(path))[0]


def info(name, size=0, **options):
    header = tarfile.TarInfo(name)
    header.size = size
    for option, value in options.items():
        setattr(header, option, value)
    return header


def test_members_lie_where_the_index_says(tmp_path):
    path = shard_cases.foreign_tar(tmp_path / "a.tar")
    index, content = read(path), path.read_bytes()
    assert index.key == ["000000", "000001", "000002", "000003"]
    assert index.first.tolist() == [0, 4, 8, 12, 16]
    assert index.num_bytes == len(content)
    with tarfile.open(path) as tar:
        for place, member in enumerate(tar.getmembers()):
            start, size = int(index.members["offset"][place]), int(index.members["size"][place])
            assert content[start : start + size] == tar.extractfile(member).read()
            assert member.name == f"{index.key[place // 4]}.{index.suffix[place]}"


def test_an_index_is_read_as_it_was_written(packed):
    content = (packed / "train-000000.index.parquet").read_bytes()
    index = TarIndex.from_bytes(content, "a")
    assert index.to_bytes() == content
    fresh = read(packed / "train-000000.tar")
    assert (fresh.key, fresh.owners, fresh.suffix.tolist()) == (index.key, index.owners, index.suffix.tolist())
    for name, values in fresh.members.items():
        np.testing.assert_array_equal(values, index.members[name])


def test_long_names_and_folders_are_read(tmp_path):
    name = "folder/" + "x" * 200
    path = shard_cases.write_tar(
        tmp_path / "a.tar", [(info("folder", type=tarfile.DIRTYPE), b""), (name + ".jpg", b"1")]
    )
    assert read(path).key == [name]


def test_members_without_a_key_are_named(tmp_path):
    path = shard_cases.write_tar(tmp_path / "a.tar", [("README", b"hello"), (".hidden.jpg", b"1"), ("a.jpg", b"2")])
    with path.open("rb") as file:
        index, keyless = index_tar(file, "a.tar")
    assert (index.key, keyless) == (["a"], ["README", ".hidden.jpg"])


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../../etc/cron.d/a.jpg", b"1")], r"'\.\./\.\./etc/cron\.d/a\.jpg' would leave its folder"),
        ([("/etc/a.jpg", b"1")], "'/etc/a.jpg' would leave its folder"),
        ([("a\\..\\b.jpg", b"1")], "would leave its folder"),
        ([("C:/a.jpg", b"1")], "would leave its folder"),
        ([(info("a.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")], r"'a\.jpg' is no plain file"),
        ([(info("a.jpg", type=tarfile.LNKTYPE, linkname="b.jpg"), b"")], "is no plain file"),
        ([(info("a.jpg", type=tarfile.CHRTYPE), b"")], "is no plain file"),
        ([("a.jpg", b"1"), ("a.JPG", b"2")], r"'a\.JPG' comes twice"),
        ([("a.jpg", b"1"), ("b.jpg", b"2"), ("a.txt", b"3")], r"the key 'a' comes again at 'a\.txt'"),
        ([("README", b"1")], "no sample in it"),
        ([("a.meta.json", b"not json")], r"a\.meta\.json: not the metadata"),
        ([("a.meta.json", json.dumps({"key": "b"}).encode())], "its key is 'b'"),
        ([("a.meta.json", json.dumps({"key": "a", "split": 3}).encode())], "are texts"),
        ([("a.meta.json", json.dumps({"key": "a", "spans": {"x": [1]}}).encode())], "a span is"),
        ([("a.meta.json", json.dumps({"key": "a", "spans": 1}).encode())], "not the metadata"),
    ],
)
def test_what_is_not_to_be_trusted_is_refused_by_name(tmp_path, members, message):
    path = shard_cases.write_tar(tmp_path / "bad.tar", members)
    with pytest.raises(ValueError, match=message) as raised:
        read(path)
    assert "bad.tar" in str(raised.value)


@pytest.mark.parametrize("size", [MAX_MEMBER_BYTES + 1, 2**60])
def test_a_member_of_absurd_size_is_refused_without_reading_it(tmp_path, size):
    header = info("a.jpg", size).tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "bad.tar").write_bytes(header + bytes(1024))
    with pytest.raises(ValueError, match=rf"bad\.tar: the member 'a\.jpg' claims {size} bytes"):
        read(tmp_path / "bad.tar")


def test_a_tar_cut_off_anywhere_is_refused(tmp_path):
    whole = shard_cases.foreign_tar(tmp_path / "a.tar", num=2).read_bytes()
    index = read(tmp_path / "a.tar")
    end = int(index.members["offset"][-1]) + 512  # the last member, and what pads it
    for length in {*range(0, end + 1, 512), 100, 700, end - 1}:
        with pytest.raises(ValueError, match=r"not a whole tar|cut off"):
            index_tar(io.BytesIO(whole[:length]), "a.tar")
    assert index_tar(io.BytesIO(whole[: end + 512]), "a.tar")[0].key == index.key


def test_other_files_are_no_tars(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(ValueError, match=r"a\.tar: not a whole tar"):
        read(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("column", "value"),
    [("offset", -1), ("offset", 2**40), ("size", -1), ("size", 2**62), ("size", MAX_MEMBER_BYTES + 1)],
)
def test_an_index_that_points_outside_its_tar_is_refused(tmp_path, column, value):
    index = read(shard_cases.foreign_tar(tmp_path / "a.tar"))
    index.members[column][3] = value
    with pytest.raises(ValueError, match=r"a\.index\.parquet: no index of a shard \(member 3 lies outside"):
        TarIndex.from_bytes(index.to_bytes(), "a.index.parquet")


@pytest.mark.parametrize(("column", "place"), [("suffix", 2), ("key", 1), ("owners", 1)])
def test_an_index_with_gaps_is_refused(tmp_path, column, place):
    index = read(shard_cases.foreign_tar(tmp_path / "a.tar"))
    getattr(index, column)[place] = None
    with pytest.raises(ValueError, match="no index of a shard"):
        TarIndex.from_bytes(index.to_bytes(), "a.index.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\x80\x04K\x01."])
def test_any_other_file_is_no_index(content):
    with pytest.raises(ValueError, match=r"a\.index\.parquet: no index of a shard"):
        TarIndex.from_bytes(content, "a.index.parquet")


@pytest.mark.parametrize("name", ["owner", "owners"])
@pytest.mark.parametrize(("owners", "expected"), [("alice", ["alice"]), (["a", "b"], ["a", "b"]), ([], [])])
def test_one_owner_may_stand_as_a_text(name, owners, expected):
    meta = json.dumps({"key": "k", name: owners}).encode()
    assert parse_meta(meta, "a.tar: k.meta.json", "k")["owners"] == expected


@pytest.mark.parametrize("owners", [7, {"a": 1}, [1], None])
def test_owners_that_are_no_texts_are_refused(owners):
    with pytest.raises(ValueError, match="owners are texts, one or a list of them"):
        parse_meta(json.dumps({"key": "k", "owners": owners}).encode(), "a.tar: k.meta.json", "k")
