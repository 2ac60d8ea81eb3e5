"""Files as streams: the bytes of the file, and of one version of it."""

import random

import pytest

from bind.data.sources.shards import range_stream
from bind.data.sources.shards.range_stream import open_stream

CONTENT = random.Random(0).randbytes(1000)


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch):
    monkeypatch.setattr(range_stream, "STREAM_BYTES", 300)


@pytest.fixture
def path(root, bucket):
    (bucket / "a.bin").write_bytes(CONTENT)
    return f"{root}/a.bin"


def read_all(stream, size):
    return b"".join(iter(lambda: stream.read(size), b""))


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 7, 300, 512, -1])
def test_a_remote_stream_gives_the_file(path, size, server):
    with open_stream(path) as stream:
        assert read_all(stream, size) == CONTENT
    ranges = [range_header for _, range_header in server.requests]
    assert ranges == ["bytes=0-0", "bytes=0-299", "bytes=300-599", "bytes=600-899", "bytes=900-999"]


def test_a_local_stream_gives_the_file(bucket):
    (bucket / "a.bin").write_bytes(CONTENT)
    with open_stream(str(bucket / "a.bin")) as stream:
        assert stream.read() == CONTENT


def test_an_empty_file_is_an_empty_stream(root, bucket):
    (bucket / "empty.bin").touch()
    with open_stream(f"{root}/empty.bin") as stream:
        assert stream.read(10) == b""


def test_a_range_that_is_cut_off_is_read_again(path, server, short_pauses):
    server.mishaps = [None, None, "drop", 503]
    with open_stream(path) as stream:
        assert read_all(stream, 512) == CONTENT
    assert short_pauses == [0.5, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("num_bytes", [1000, 1001, 200])
def test_a_file_that_is_written_again_meanwhile_is_named(path, bucket, num_bytes):
    with open_stream(path) as stream:
        stream.read(300)
        (bucket / "a.bin").write_bytes(bytes(num_bytes))
        with pytest.raises(ValueError, match=r"/a\.bin: was written again while it was read"):
            read_all(stream, 300)
