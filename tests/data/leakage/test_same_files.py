import pytest

from bind.data.leakage.same_files import PROBE_BYTES, FileComparison, file_on_disk


def stored(folder, **contents):
    files = []
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        files.append(file_on_disk(folder / name, "audio"))
    return files


def names_of_equals(one, other, max_bytes=1e9):
    comparison = FileComparison(one, other, max_bytes)
    names = {file.identity: file.name.rpartition("/")[2] for file in (*one, *other)}
    equal = {names[identity]: sorted(map(names.get, copies)) for identity, copies in comparison.equal.items()}
    return equal, comparison.left_out


def test_equal_bytes_are_found_and_empty_files_equal_nothing(tmp_path):
    one = stored(tmp_path, a=b"x" * 9000, b=b"y" * 9000, e=b"")
    other = stored(tmp_path, c=b"x" * 9000, d=b"x" * 9000, f=b"z" * 9000, g=b"")
    assert names_of_equals(one, other) == ({"a": ["c", "d"]}, {})


def test_files_that_differ_only_at_an_end_are_not_equal(tmp_path):
    one = stored(tmp_path, a=b"x" * (3 * PROBE_BYTES))
    other = stored(tmp_path, b=b"x" * (3 * PROBE_BYTES - 1) + b"y")
    assert names_of_equals(one, other) == ({}, {})


def test_a_file_and_a_link_to_it_are_one_without_reading(tmp_path):
    one = stored(tmp_path, a=b"x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    other = [file_on_disk(tmp_path / "link", "audio")]
    assert dict(FileComparison(one, other, 0).equal) == {one[0].identity: [one[0].identity]}


def test_a_limit_on_reading_leaves_the_costliest_out(tmp_path):
    one = stored(tmp_path, a=b"x" * 100, b=b"x" * 5000)
    other = stored(tmp_path, c=b"x" * 100, d=b"x" * 5000)
    assert names_of_equals(one, other, 1000) == ({"a": ["c"]}, {"audio": (1, 10_000)})


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.wav: No such file"):
        file_on_disk(tmp_path / "gone.wav", "audio")
