"""Servers that answer, but never to an end."""

import itertools
import socket
import struct
import threading
import time
from contextlib import suppress

import pytest
from support import shard_cases

from bind.data.sources.shards import remote, web
from bind.data.sources.shards.answers import TryAgainError
from bind.data.sources.shards.patterns import find_shards
from bind.data.sources.shards.remote import limit_waiting, read_range

HEAD = (
    b"HTTP/1.1 206 Partial Content\r\nContent-Length: 100000\r\nContent-Range: bytes 0-99999/100000\r\n"
    b'ETag: "1"\r\nLast-Modified: Mon, 01 Jun 2026 10:00:00 GMT\r\n\r\n'
)


@pytest.fixture
def drip():
    """The port of a server that sends `head` at once and then a byte every so often, until it is closed.

    Without a `head` it never answers; with None it resets the connection.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve(connection, head, pause):
        with connection, suppress(OSError):
            connection.recv(10_000)
            if head is None:  # closed in this way, a connection is reset
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            connection.sendall(head)
            while not done.wait(pause):
                if head:
                    connection.sendall(b"x")

    def accept(head, pause):
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection, head, pause), daemon=True).start()

    def start(head, pause=0.02):
        threading.Thread(target=accept, args=(head, pause), daemon=True).start()
        return listener.getsockname()[1]

    yield start
    done.set()
    listener.close()
    web._connection.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "reason"), [(HEAD, r"only \d+ bytes came in"), (b"HTTP/1.1 206 Par", r"no whole answer in 1 s")]
)
def test_a_server_that_drips_is_given_up_in_time(head, reason, drip, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(TryAgainError, match=reason):
        web.get(f"http://127.0.0.1:{drip(head)}/shard.tar", 0, 100_000, 60.0)
    assert time.monotonic() - started < 10


@pytest.fixture
def one_second(monkeypatch):
    monkeypatch.setattr(remote, "sleep", time.sleep)
    before = remote._timeout_seconds
    limit_waiting(1.0)
    yield
    limit_waiting(before)


HEADS = {"body": HEAD, "head": b"HTTP/1.1 206 Par", "no answer": b"", "reset": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "case"), [*itertools.product(["http", "s3"], HEADS), ("az", "no answer"), ("gs", "no answer")]
)
def test_reading_has_an_end_whatever_a_server_does(case, scheme, drip, one_second, monkeypatch):
    address = f"http://127.0.0.1:{drip(HEADS[case], pause=1.0)}"
    for name, value in shard_cases.store_options(address).items():
        monkeypatch.setenv(name, value)
    url = f"{address}/bucket/a.tar" if scheme == "http" else f"{scheme}://bucket/a.tar"
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"/a\.tar: not readable in \d tr\w+ within timeout_seconds=1, the last time"):
        read_range(url, 0, 100_000)
    assert time.monotonic() - started < 5, "a second, and what a loaded machine needs"


@pytest.mark.slow
def test_listing_has_an_end(drip, one_second, monkeypatch):
    for name, value in shard_cases.store_options(f"http://127.0.0.1:{drip(b'')}").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"not readable in \d tr\w+ within timeout_seconds=1"):
        find_shards("s3://bucket/*.tar")
