"""Files of object stores (s3, gs, az), whole or in ranges, through obstore.

Credentials and options come from the environment, as obstore names them: AWS_…, GOOGLE_…, AZURE_…. An endpoint is asked
over plain http only where AWS_ALLOW_HTTP=true (GOOGLE_…, AZURE_…) says so. obstore follows what the endpoint redirects
to, from https to https only, without the signature but with tokens (AWS_SESSION_TOKEN, SAS). The endpoint is the
cloud's or of the environment, never of a file; what any web server may answer is for `web`.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from bind.data.sources.shards.answers import Answer, TryAgainError, check_status

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# Parts of the addresses of the clouds' metadata services, which obstore asks where the environment has no credentials.
METADATA_SERVICES = r"/latest/api/token|/latest/meta-data/|/computeMetadata/v1/|/metadata/identity/|169\.254\.170\.2"

T = TypeVar("T")


def get(url: str, start: int | None, stop: int | None, seconds: float) -> Answer:
    """Bytes `start` to `stop` of a file, fewer where it ends before; all of it where both are None.

    Args:
        seconds: that it may take.

    Raises:
        TryAgainError, FileNotFoundError, PermissionError: as the store answers, or does not.
        ValueError: where another try changes nothing.
    """
    import obstore

    def read(store: Any, key: str) -> Answer:
        try:
            result = obstore.get(store, key, options={} if start is None or stop is None else {"range": (start, stop)})
        except obstore.exceptions.GenericError as error:
            if not re.search(r"status code: 416|Invalid range", str(error)):
                raise
            return Answer(b"", obstore.head(store, key)["size"], None)  # the file ends before `start`
        return Answer(bytes(result.bytes()), result.meta["size"], result.meta["e_tag"])

    return _call_store(url, read, seconds)


def list_files(pattern: str, seconds: float) -> list[str]:
    """URLs of the files that match a pattern, sorted; `*` stands for anything but a slash. Arguments, errors: `get`."""
    import obstore

    def find(store: Any, key: str) -> list[str]:
        folder = key.partition("*")[0].rpartition("/")[0]
        is_deep = "/" in key.partition("*")[2]
        objects = (
            chain(*obstore.list(store, folder)) if is_deep else obstore.list_with_delimiter(store, folder)["objects"]
        )
        name = re.compile(re.escape(key).replace(r"\*", "[^/]*"))
        return sorted(file["path"] for file in objects if name.fullmatch(file["path"]))

    root = _split(pattern)[0]
    return [f"{root}/{path}" for path in _call_store(pattern, find, seconds)]


@lru_cache(maxsize=64)
def open_store(root: str) -> ObjectStore:
    """The store of a bucket such as `s3://bucket`; that of `memory://bucket` lives as long as its process."""
    from obstore.store import MemoryStore, from_url

    return MemoryStore() if root.startswith("memory://") else from_url(root, retry_config={"max_retries": 0})


@lru_cache(maxsize=1)
def _first_process() -> int:
    return os.getpid()


def _split(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key


def _call_store(url: str, operation: Callable[[Any, str], T], seconds: float) -> T:
    from obstore.exceptions import BaseError

    if _first_process() != os.getpid():  # obstore would wait for threads that are not there
        raise ValueError(
            "this process was forked from one that reads object stores too, which their connections do not survive. "
            "Start it by multiprocessing's method 'spawn'"
        )
    root, key = _split(url)
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(operation(open_store(root), key))
        except BaseException as error:
            answer.set_exception(error)

    # obstore has a limit for each request only (30 s, or AWS_TIMEOUT, …), and none for how slowly credentials come.
    threading.Thread(target=ask, daemon=True, name="ask-store").start()
    try:
        return answer.result(max(0.0, seconds))
    except TimeoutError:
        raise TryAgainError(f"no whole answer in {seconds:.0f} s") from None
    except BaseError as error:
        _raise_from_text(str(error))


def _raise_from_text(text: str) -> NoReturn:
    """Raise what a text of obstore's stands for; what is no status and did not happen to a connection is for good."""
    if "recognise URL" in text:
        raise ValueError("not an address that can be read. Known are s3://, gs://, az://, https:// and local paths")
    if re.search(METADATA_SERVICES, text):
        raise TryAgainError("no credentials in the environment, and none from this machine's metadata service")
    if status := re.search(r"status code: (\d{3})", text):
        code = re.search(r"<Code>(\w+)</Code>", text)
        check_status(int(status[1]), code=code[1] if code else "")
    reason = re.sub(r"Error performing \w+ \S+ in \S+ - |\S+://\S+", "", text.partition("\n")[0])
    kind = re.search(r"HttpError \{\s*kind: (\w+)", text)
    if kind and kind[1] != "Unknown":
        raise TryAgainError(f"{reason} ({kind[1]})")
    raise ValueError(f"{reason}. Check the URL, and the store's options in the environment")
