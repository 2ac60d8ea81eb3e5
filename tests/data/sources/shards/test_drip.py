"""Servers that answer, but never to an end."""

import socket
import threading
import time

import pytest

from bind.data.sources.shards import web
from bind.data.sources.shards.answers import TryAgainError

HEAD = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 100000\r\nContent-Range: bytes 0-99999/100000\r\n\r\n"


@pytest.fixture
def drip():
    """The URL of a server that sends `head` at once and then a byte every so often, until it is closed."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve(head):
        connection, _ = listener.accept()
        with connection:
            connection.recv(10_000)
            connection.sendall(head)
            while not done.wait(0.02):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    def start(head):
        threading.Thread(target=serve, args=(head,), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/shard.tar"

    yield start
    done.set()
    listener.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "reason"), [(HEAD, "only \\d+ bytes came in"), (b"HTTP/1.1 206 Par", "no answer in 1 s")]
)
def test_a_server_that_drips_is_given_up_in_time(head, reason, drip, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(TryAgainError, match=reason):
        web.get(drip(head), 0, 100_000)
    assert time.monotonic() - started < 10
