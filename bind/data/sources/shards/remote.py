"""Bytes of files, wherever they lie: local, on a web server or in an object store; with retries and clear errors."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

from bind.data.sources.shards import objects, web
from bind.data.sources.shards.answers import Answer, TryAgainError
from bind.files.reading import reading

logger = logging.getLogger("bind.data")

SCHEMES = ("http", "https", "s3", "gs", "az", "memory")
"""Of what is opened: `memory` is a store within this process."""
NUM_TRIES = 6
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
NUM_THREADS = 16

T = TypeVar("T")
_timeout_seconds = 600.0


def limit_waiting(seconds: float) -> None:
    """Set how long this process, and workers that it forks, try to read one range or to list one folder."""
    global _timeout_seconds
    _timeout_seconds = seconds


class UnavailableError(ValueError):
    """A file that does not exist, or that may not be read."""


def is_remote(path: str) -> bool:
    """Whether `path` is a URL."""
    return "://" in path


def require_known_scheme(path: str) -> None:
    """Raise ValueError for a URL that is neither of a web server nor of an object store, or that holds another one."""
    scheme, _, rest = path.partition("://")
    if scheme not in SCHEMES or "::" in path.partition("?")[0] or "://" in rest.partition("?")[0]:
        raise ValueError(
            f"{shown(path)}: not an address that can be read. Known are s3://, gs://, az://, https:// and local paths"
        )


def is_in_object_store(path: str) -> bool:
    """Whether `path` is a URL of anything but a web server."""
    return is_remote(path) and not path.startswith(("http://", "https://"))


def shown(path: str) -> str:
    """A path or URL for messages: without its query, which may be a signature, and without a password."""
    return re.sub(r"(?<=://)[^/]*@", "", path.partition("?")[0]) if is_remote(path) else path


def read_range(path: str, start: int, stop: int, num_bytes: int | None = None) -> bytes:
    """Bytes `start` to `stop` of a file.

    Args:
        num_bytes: the size that the file should have, where it is known.

    Raises:
        ValueError: naming the file: it does not exist, has another size or ends early, its server ignores ranges, or
            it could not be read in six tries, half a second to 30 s apart.
    """
    if start == stop:
        return b""
    read = fetch if is_remote(path) else _read_local
    content, size, _ = read(path, start, stop)
    if num_bytes is not None and size != num_bytes:
        raise ValueError(
            f"{shown(path)}: has {size} bytes where its index says {num_bytes}: the shard was written again or cut "
            "off. Pack it again, or delete its index"
        )
    if len(content) != stop - start:
        raise ValueError(f"{shown(path)}: bytes {start} to {stop} can't be read, it ends at {size}")
    return content


def read_whole(path: str, *, missing_ok: bool = False) -> bytes | None:
    """A small file, whole; None where it is missing and may be."""
    if is_remote(path):
        try:
            return fetch(path).content
        except UnavailableError:  # also forbidden: who may not list a bucket is forbidden what is not there
            if missing_ok:
                return None
            raise
    if missing_ok and not os.path.exists(path):
        return None
    with reading(Path(path), "not readable", "Write it again"):
        return Path(path).read_bytes()


def file_size(path: str) -> int:
    """Bytes of a file, without reading it."""
    # A remote one is asked for a byte: signed URLs allow one method only, so not HEAD.
    return fetch(path, 0, 1).num_bytes if is_remote(path) else os.stat(path).st_size


def fetch(path: str, start: int | None = None, stop: int | None = None) -> Answer:
    """Bytes `start` to `stop` of a remote file, fewer where it ends before, or all; raises as `read_with_retries`."""
    require_known_scheme(path)
    get = objects.get if is_in_object_store(path) else web.get
    return read_with_retries(path, lambda seconds: get(path, start, stop, seconds))


def read_with_retries(path: str, read: Callable[[float], T]) -> T:
    """What `read` returns, tried six times where trying again may help, within the time of `limit_waiting`.

    Args:
        read: called with the seconds that are left for it.

    Raises:
        ValueError: naming the file, what is wrong with it and the remedy; UnavailableError where it is missing or
            forbidden.
    """
    ends = monotonic() + _timeout_seconds
    for number in range(1, NUM_TRIES + 1):
        try:
            return read(ends - monotonic())
        except TryAgainError as error:
            reason, after_seconds = str(error), error.after_seconds
        except FileNotFoundError:
            raise UnavailableError(f"{shown(path)}: not found. Check the URL") from None
        except PermissionError as error:
            hint = "Check the URL and the credentials"
            raise UnavailableError(f"{shown(path)}: may not be read ({error}). {hint}") from None
        except ValueError as error:
            raise ValueError(f"{shown(path)}: {error}") from error
        wait = min(max(FIRST_PAUSE_SECONDS * 2 ** (number - 1), after_seconds), LONGEST_PAUSE_SECONDS)
        if number == NUM_TRIES or monotonic() + wait > ends:
            break
        logger.warning("%s: %s; try %d of %d in %.1f s", shown(path), reason, number + 1, NUM_TRIES, wait)
        sleep(wait)
    limit = "" if number == NUM_TRIES else f" within timeout_seconds={_timeout_seconds:g}"
    tries = "1 try" if number == 1 else f"{number} tries"
    raise ValueError(
        f"{shown(path)}: not readable in {tries}{limit}, the last time because of: {reason}. Check the connection "
        "and the server, then go on with ckpt=last"
    )


def in_parallel(job: Callable[[Any], T], items: list[Any]) -> list[T]:
    """`job` of every item, sixteen at a time, in order."""
    if len(items) < 2:
        return [job(item) for item in items]
    return list(_threads(os.getpid()).map(job, items))


# Threads do not survive a fork, and files are shared by one: every process has its own.
@lru_cache(maxsize=1)
def _threads(process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="shards")


@lru_cache(maxsize=64)
def _open(path: str, process: int) -> io.FileIO:
    with reading(Path(path), "not readable", "Check data.shards"):
        return io.FileIO(path)


def _read_local(path: str, start: int, stop: int) -> Answer:
    file = _open(path, os.getpid())
    return Answer(os.pread(file.fileno(), stop - start, start), os.fstat(file.fileno()).st_size)
