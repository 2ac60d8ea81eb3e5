"""Answers of a web server or an object store, and the errors that say whether asking again may help."""

from __future__ import annotations

from typing import NamedTuple

RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)


class Answer(NamedTuple):
    """Bytes of a file; the size and the version (ETag) of the whole file, where they are known."""

    content: bytes
    num_bytes: int
    version: str | None = None


class TryAgainError(Exception):
    """A failure that the next try may not meet; `after_seconds` where the server named a pause."""

    def __init__(self, reason: str, after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


def check_status(status: int, *, retry_after: str = "", code: str = "") -> None:
    """Raise what an HTTP status stands for.

    Args:
        retry_after: the header of that name, in seconds.
        code: the server's own word for what is wrong, for the message.

    Raises:
        TryAgainError, FileNotFoundError, PermissionError, or ValueError where another try changes nothing.
    """
    reason = f"HTTP {status} {code}".rstrip()
    if status in RETRIED_STATUS:
        raise TryAgainError(reason, float(retry_after) if retry_after.isdecimal() else 0.0)
    if status in (404, 410):
        raise FileNotFoundError(reason)
    if status in (401, 403):
        raise PermissionError(reason)
    if status not in (200, 206, 416):
        raise ValueError(f"{reason}. Check the URL, and whether it may be read without a login")
