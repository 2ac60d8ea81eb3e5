"""Who makes which part of a folder: one file that all its processes lock byte by byte, and write their records into."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from pathlib import Path
from typing import Any

RECORD_BYTES = 256
"""Of a claim: process, host, and how often the process has gone on since."""


class Claims:
    """The claims of this process, which end with it at the latest, and what others have said of theirs."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._numbers: set[int] = set()
        self._num_signs = 0

    def close(self) -> None:
        """End all claims of this process."""
        os.close(self._file)

    def lock(self, number: int) -> bool | None:
        """Lock `number` for this process: whether that could be done; None on a file system without locks."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError as error:
            return False if error.errno in (errno.EACCES, errno.EAGAIN) else None
        return True

    def add(self, number: int) -> None:
        """Count `number`, which is locked, among those that `show_life` speaks for."""
        self._numbers.add(number)

    def release(self, number: int) -> None:
        """Leave `number` to others."""
        self._numbers.discard(number)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)

    def show_life(self) -> None:
        """Let processes that wait for the claims of this one see that it goes on."""
        self._num_signs += 1
        record = {"pid": os.getpid(), "host": socket.gethostname(), "signs": self._num_signs}
        for number in self._numbers:
            os.pwrite(self._file, json.dumps(record).encode().ljust(RECORD_BYTES), number * RECORD_BYTES)

    def signs_of_life(self, number: int) -> dict[str, Any]:
        """What the process that has `number` has said of itself, {} where it has not; other while it goes on."""
        try:
            record = json.loads(os.pread(self._file, RECORD_BYTES, number * RECORD_BYTES))
        except ValueError:  # not written yet, or just being written
            return {}
        return record if isinstance(record, dict) else {}
