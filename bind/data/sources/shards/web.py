"""Files of web servers, whole or in ranges, over connections that stay open.

A redirect is followed within one scheme, host and port only. obstore's HTTPStore (0.12.1) has no option for that: it
follows one to any host, and sends the signature of the URL along (the test `test_of_obstore_go_anywhere`). It also
ignores a login in the URL, and hides what `Retry-After` says.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from email.message import Message
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from bind.data.sources.shards.answers import Answer, TryAgainError, check_status

TIMEOUT_SECONDS = 30.0
MIN_BYTES_PER_SECOND = 1000
"""Of a body, on average over the timeout: a server that sends less is one that does not answer."""
CHUNK_BYTES = 1 << 20
MAX_REDIRECTS = 5
MAX_WHOLE_BYTES = 2**30
"""Of a file that is read whole: indices and lists of shards."""
PORTS = {"http": 80, "https": 443}


def get(url: str, start: int | None, stop: int | None, seconds: float) -> Answer:
    """Bytes `start` to `stop` of a file, fewer where it ends before; all of it where both are None.

    Args:
        seconds: that it may take; a server that is silent for `TIMEOUT_SECONDS` is given up before.

    Raises:
        TryAgainError, FileNotFoundError, PermissionError: as the server answers, or does not.
        ValueError: where another try changes nothing: a server that ignores ranges, or sends us to another one.
    """
    _server(url)  # refuses what is no URL, before a message can quote it
    headers = {"User-Agent": "bindspace"} | _login("Authorization", urlsplit(url))
    if start is not None and stop is not None:
        headers["Range"] = f"bytes={start}-{stop - 1}"
    max_bytes = MAX_WHOLE_BYTES if start is None or stop is None else stop - start
    ends = time.monotonic() + seconds
    for _ in range(MAX_REDIRECTS + 1):
        status, header, content = _request(url, headers, max_bytes, ends)
        if status not in (301, 302, 303, 307, 308):
            check_status(status, retry_after=header.get("Retry-After", ""))
            return _answer(status, header, content, start)
        url = _redirected(url, header.get("Location", ""))
    raise ValueError(f"more than {MAX_REDIRECTS} redirects. Check the URL")


def _answer(status: int, header: Message, content: bytes, start: int | None) -> Answer:
    if (coding := header.get("Content-Encoding", "identity")) != "identity":
        raise ValueError(f"the server sends it compressed ({coding}), which has other bytes. Serve it as it is")
    version = header.get("ETag")
    if start is None:
        return Answer(content, len(content), version)
    if status == 200:
        raise ValueError(
            "the server ignores ranges and sends the whole file. Put the shards on one that serves ranges, or copy "
            "them to a local folder"
        )
    sent = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)", header.get("Content-Range", ""))
    if sent is None:
        raise ValueError("the server does not say how large the file is. Put the shards on another one")
    if sent[1] is not None and int(sent[1]) != start:
        raise ValueError(f"the server sends bytes from {sent[1]} on, not from {start}. Put the shards on another one")
    if sent[1] is not None and len(content) != (num_sent := int(sent[2]) - start + 1):
        raise TryAgainError(f"{len(content)} of {num_sent} bytes came")
    return Answer(content, int(sent[3]), version)


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    if _server(target) != _server(url):
        scheme, host, port = _server(target)
        raise ValueError(
            f"redirects to another server, {scheme}://{host}:{port}, which is not followed. Name the URL that serves "
            "the file itself, or copy the shards to a local folder"
        )
    return target


def _server(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        if parts.hostname:
            return parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        pass  # their text may hold a part of a password
    raise ValueError("not a usable URL. Check its host and port; a login in it is percent-encoded") from None


def _request(url: str, headers: dict[str, str], max_bytes: int, ends: float) -> tuple[int, Message, bytes]:
    """Status and headers of the answer to a GET, with its body where that is the requested one.

    A body of more than `max_bytes` is not what was asked for; one that drips, or is not there at the time `ends`, is
    given up.
    """
    # A connection serves one thread at a time and does not survive a fork.
    connection, prefix, login = _connection(_server(url), os.getpid(), threading.get_ident())
    parts = urlsplit(url)
    target = prefix + quote(parts.path or "/", safe="/%!$&'()*+,;=:@~")
    target += "?" + quote(parts.query, safe="/%!$&'()*+,;=:@~?") if parts.query else ""
    content = None
    try:
        with _deadline(connection, min(2 * TIMEOUT_SECONDS, ends - time.monotonic())):
            response = _send(connection, target, headers | login)
        if response.status == (206 if "Range" in headers else 200):
            with _deadline(connection, ends - time.monotonic()):
                content = _read_bounded(response, max_bytes)
        return response.status, response.headers, content or b""
    except ssl.SSLCertVerificationError as error:
        raise ValueError(f"its certificate can't be verified ({error.verify_message}). Check the URL") from error
    except (HTTPException, OSError) as error:
        raise TryAgainError(f"{type(error).__name__}: {error}") from error
    finally:
        if content is None:  # or the rest of this body would begin the next answer
            connection.close()


@contextlib.contextmanager
def _deadline(connection: HTTPConnection, seconds: float) -> Iterator[None]:
    """Cut the connection where the block takes longer: the socket's own timeout is one of each byte."""
    is_late = threading.Event()

    def cut() -> None:
        is_late.set()
        if (sock := connection.sock) is not None:
            with contextlib.suppress(OSError):  # it has just been closed
                sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, seconds), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (HTTPException, OSError, TryAgainError):
        if not is_late.is_set():
            raise
    finally:
        timer.cancel()
    if is_late.is_set():  # to http.client a head that ends early is a whole one
        raise TryAgainError(f"no whole answer in {seconds:.0f} s")


def _read_bounded(response: HTTPResponse, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    left, in_window, started = max_bytes + 1, 0, time.monotonic()
    while left and (chunk := response.read1(min(left, CHUNK_BYTES))):
        chunks.append(chunk)
        left -= len(chunk)
        in_window += len(chunk)
        if (seconds := time.monotonic() - started) > TIMEOUT_SECONDS:
            if in_window < seconds * MIN_BYTES_PER_SECOND:
                raise TryAgainError(f"only {in_window} bytes came in {seconds:.0f} s")
            in_window, started = 0, time.monotonic()
    if not left:
        raise ValueError(f"the server sends more than the {max_bytes} bytes that were asked for. Check the URL")
    if response.length:  # read1 doesn't notice a body that ends before its length
        raise TryAgainError(f"ended {response.length} bytes before its end")
    response.close()  # so that the connection serves another request
    return b"".join(chunks)


def _send(connection: HTTPConnection, target: str, headers: dict[str, str]) -> HTTPResponse:
    is_reused = connection.sock is not None
    try:
        connection.request("GET", target, headers=headers)
        return connection.getresponse()
    except ConnectionError:
        connection.close()
        if not is_reused:
            raise
        return _send(connection, target, headers)  # servers close connections that were idle


@lru_cache(maxsize=64)
def _connection(server: tuple[str, str, int], process: int, thread: int) -> tuple[HTTPConnection, str, dict[str, str]]:
    """A connection; what its paths begin with and its headers, where the environment names a proxy for http."""
    scheme, host, port = server
    address = "" if proxy_bypass(host) else getproxies().get(scheme, "")
    proxy = urlsplit(address if "//" in address else f"//{address}")
    to_host, to_port = (proxy.hostname, proxy.port or 80) if proxy.hostname else (host, port)
    login = _login("Proxy-Authorization", proxy)
    if scheme == "http":
        connection = HTTPConnection(to_host, to_port, timeout=TIMEOUT_SECONDS)
        return connection, f"http://{host}:{port}" if address else "", login
    connection = HTTPSConnection(to_host, to_port, timeout=TIMEOUT_SECONDS, context=_certificates())
    if address:
        connection.set_tunnel(host, port, login)
    return connection, "", {}


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context()


def _login(header: str, parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {header: "Basic " + base64.b64encode(login.encode()).decode()}
