"""Bytes of files, wherever they lie: local, over HTTP, or on anything fsspec knows; with retries and clear errors."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from time import sleep
from typing import Any, BinaryIO, TypeVar, cast

logger = logging.getLogger("bind.data")

NUM_TRIES = 6
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
TIMEOUT_SECONDS = 30.0
NUM_THREADS = 16
STREAM_BYTES = 2**23
RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)

T = TypeVar("T")


class TryAgainError(Exception):
    """What may go well the next time; `after_seconds` where the server said when."""

    def __init__(self, reason: str, after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


def is_remote(path: str) -> bool:
    return "://" in path


def shown(path: str) -> str:
    """A path or URL for messages: without its query, which may be a signature, and without a password."""
    return re.sub(r"(?<=://)[^/@]*@", "", path.partition("?")[0]) if is_remote(path) else path


def read_range(path: str, start: int, stop: int, num_bytes: int | None = None) -> bytes:
    """Bytes `start` to `stop` of a file.

    Args:
        num_bytes: the size that the file should have, where it is known.

    Raises:
        ValueError: naming the file: it does not exist, has another size or ends early, its server ignores ranges, or
            it could not be read in six tries, half a second to 30 s apart.
    """
    if not is_remote(path):
        return _read_local(path, start, stop, num_bytes)
    if path.startswith(("http://", "https://")):
        return _existing(path, lambda: _read_http(path, start, stop, num_bytes))
    return _existing(path, lambda: _read_fsspec(path, start, stop))


def read_whole(path: str, *, missing_ok: bool = False) -> bytes | None:
    """A small file, whole; None where it is missing and may be."""
    if not is_remote(path):
        if missing_ok and not os.path.exists(path):
            return None
        with open(path, "rb") as file:
            return file.read()
    try:
        if path.startswith(("http://", "https://")):
            return _with_retries(path, lambda: _get_http(path))
        return _with_retries(path, lambda: _read_fsspec(path, None, None))
    except (FileNotFoundError, PermissionError):  # who may not list a bucket is forbidden what is not there
        if missing_ok:
            return None
        raise ValueError(f"{shown(path)}: not found, or not to be read without a login") from None


def file_size(path: str) -> int:
    """Bytes of a file, without reading it."""
    if not is_remote(path):
        return os.stat(path).st_size
    if path.startswith(("http://", "https://")):
        return _existing(path, lambda: _size_http(path))

    def ask() -> int:
        fs, inside = _fsspec(path)
        return int(fs.size(inside))

    return _existing(path, lambda: _guarded(path, ask))


def open_stream(path: str) -> BinaryIO:
    """A file to be read from its first byte to its last."""
    if not is_remote(path):
        return open(path, "rb")
    return cast(BinaryIO, RangeStream(path, file_size(path)))


class RangeStream(io.RawIOBase):
    """A file read from its first byte to its last in ranges, each with its own retries."""

    def __init__(self, path: str, num_bytes: int) -> None:
        self.path, self.num_bytes, self.position, self.buffer = path, num_bytes, 0, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self.buffer and self.position < self.num_bytes:
            stop = min(self.position + STREAM_BYTES, self.num_bytes)
            self.buffer = read_range(self.path, self.position, stop, self.num_bytes)
            self.position = stop
        size = len(self.buffer) if size < 0 else size
        head, self.buffer = self.buffer[:size], self.buffer[size:]
        return head


def in_parallel(job: Callable[[Any], T], items: list[Any]) -> list[T]:
    """`job` of every item, sixteen at a time, in order."""
    if len(items) < 2:
        return [job(item) for item in items]
    return list(_threads(os.getpid()).map(job, items))


def _existing(path: str, read: Callable[[], T]) -> T:
    try:
        return _with_retries(path, read)
    except FileNotFoundError:
        raise ValueError(f"{shown(path)}: not found. Check the URL") from None
    except PermissionError as error:
        raise ValueError(f"{shown(path)}: may not be read ({error}). Check the URL and the credentials") from None


def _with_retries(path: str, read: Callable[[], T]) -> T:
    pause = FIRST_PAUSE_SECONDS
    for number in range(1, NUM_TRIES + 1):
        try:
            return read()
        except TryAgainError as error:
            if number == NUM_TRIES:
                raise ValueError(
                    f"{shown(path)}: not readable in {NUM_TRIES} tries, the last time because of: {error}. Check the "
                    "connection and the server, then go on with ckpt=last"
                ) from error
            wait = min(max(pause, error.after_seconds), LONGEST_PAUSE_SECONDS)
            logger.warning("%s: %s; try %d of %d in %.1f s", shown(path), error, number + 1, NUM_TRIES, wait)
            sleep(wait)
            pause *= 2
    raise AssertionError


def _read_local(path: str, start: int, stop: int, num_bytes: int | None) -> bytes:
    file = _open(path, os.getpid())
    found = os.fstat(file.fileno()).st_size
    if num_bytes is not None and found != num_bytes:
        raise ValueError(_other_size(path, found, num_bytes))
    content = os.pread(file.fileno(), stop - start, start)
    if len(content) != stop - start:
        raise ValueError(f"{shown(path)}: bytes {start} to {stop} can't be read, it ends at {found}")
    return content


def _other_size(path: str, found: int, expected: int) -> str:
    return (
        f"{shown(path)}: has {found} bytes where its index says {expected}: the shard was written again or cut off. "
        "Pack it again, or delete its index"
    )


@lru_cache(maxsize=64)
def _open(path: str, process: int) -> io.FileIO:
    try:
        return io.FileIO(path)
    except OSError as error:
        raise ValueError(f"{shown(path)}: not readable ({error.strerror}). Check data.shards") from error


# Connections and threads do not survive a fork: every process makes its own.
@lru_cache(maxsize=1)
def _threads(process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="shards")


@lru_cache(maxsize=1)
def _http(process: int) -> Any:
    import httpx

    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells every request, tokens in the URL included
    limits = httpx.Limits(max_connections=NUM_THREADS, max_keepalive_connections=NUM_THREADS)
    return httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True, limits=limits)


def _request(path: str, headers: dict[str, str], use: Callable[[Any], T]) -> T:
    import httpx

    try:
        with _http(os.getpid()).stream("GET", path, headers={"Accept-Encoding": "identity", **headers}) as response:
            status = response.status_code
            if status in RETRIED_STATUS:
                after = response.headers.get("Retry-After", "")
                raise TryAgainError(f"HTTP {status}", float(after) if after.isdigit() else 0.0)
            if status in (404, 410):
                raise FileNotFoundError(path)
            if status in (401, 403):
                raise PermissionError(f"HTTP {status}")
            if status >= 400 and status != 416:
                raise ValueError(
                    f"{shown(path)}: HTTP {status}. Check the URL, and whether it may be read without a login"
                )
            return use(response)
    except httpx.TransportError as error:
        raise TryAgainError(f"{type(error).__name__}: {error}") from error
    except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise ValueError(f"{shown(path)}: not a usable URL ({error})") from error


def _read_http(path: str, start: int, stop: int, num_bytes: int | None) -> bytes:
    def body(response: Any) -> bytes:
        if (total := _total(path, response)) != (num_bytes or total):
            raise ValueError(_other_size(path, total, num_bytes or 0))
        if response.status_code == 416:
            raise ValueError(f"{shown(path)}: bytes {start} to {stop} are not in its {total} bytes")
        return _all_of(response.read(), stop - start)

    return _request(path, {"Range": f"bytes={start}-{stop - 1}"}, body)


def _all_of(content: bytes, num_bytes: int) -> bytes:
    if len(content) != num_bytes:
        raise TryAgainError(f"{len(content)} of {num_bytes} bytes came")
    return content


def _get_http(path: str) -> bytes:
    return _request(path, {}, lambda response: response.read())


def _size_http(path: str) -> int:
    # Not HEAD: signed URLs allow one method only.
    return _request(path, {"Range": "bytes=0-0"}, lambda response: _total(path, response))


def _total(path: str, response: Any) -> int:
    """The size of the file that an answer to a range request is about: "bytes 0-99/1234"."""
    if response.status_code == 200:
        raise ValueError(
            f"{shown(path)}: the server ignores ranges and sends the whole file. Put the shards on one that serves "
            "ranges, or copy them to a local folder"
        )
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    if not total.isdigit():
        raise ValueError(f"{shown(path)}: the server does not say how large the file is. Put the shards on another one")
    return int(total)


def _fsspec(path: str) -> tuple[Any, str]:
    import fsspec

    try:
        return fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{shown(path)}: {error}") from error


def _read_fsspec(path: str, start: int | None, stop: int | None) -> bytes:
    def read() -> bytes:
        fs, inside = _fsspec(path)
        content: bytes = fs.cat_file(inside, start=start, end=stop)
        if start is None or stop is None:
            return content
        if len(content) > stop - start:
            raise ValueError(f"{shown(path)}: the server ignores ranges. Copy the shards to one that serves them")
        return _all_of(content, stop - start)

    return _guarded(path, read)


def _guarded(path: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (TryAgainError, ValueError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # file systems of many makers: what their connections raise has no common class
        raise TryAgainError(f"{type(error).__name__}: {error}") from error
