"""Folders that one process writes: locks that end with the process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bind.files.writing import naming
from bind.processes.states import is_process_alive

log = logging.getLogger("bind")

LOCK = "in_use.lock"
"""The file in a folder that `lock_folder` has locked; `in_use.NAME.lock` where it is for files of that name only."""


class FolderInUseError(ValueError):
    """Another process writes to the folder."""


@contextlib.contextmanager
def lock_folder(folder: Path, advice: str, *, files: str = "") -> Iterator[None]:
    """Own `folder`, which is made where it is missing, until the block or the process ends.

    The kernel releases the lock of a process that was killed. On a file system without locks, which is logged, the
    lock's file alone says whose the folder is; there it stays where a process is killed, and counts only as long as
    a process of its number is alive on its host. Processes that this one forks, such as data workers, do not hold it.

    Args:
        advice: what to do where another process owns it.
        files: own the files of this name alone, beside processes that own those of other names; the whole folder and
            any of its files are never owned by two.

    Raises:
        FolderInUseError: with the process that owns it, and `advice`.
        OSError: where the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / (f"in_use.{files}.lock" if files else LOCK)
    descriptor = _open_lock(path, advice)
    _HELD.add(path)
    try:
        with naming(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        # Of two that begin at once both may be refused here, but never neither.
        for other in [path.with_name(LOCK)] if files else path.parent.glob("in_use.*.lock"):
            _refuse_if_locked(other, advice)
        yield
    finally:
        _HELD.remove(path)
        path.unlink(missing_ok=True)  # before the lock ends: afterwards it may be another's
        os.close(descriptor)


_HELD: set[Path] = set()
"""Locks of this process, which the kernel would grant it again, and end when the second of them is closed."""


def _refuse_if_locked(path: Path, advice: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.close(_open_lock(path, advice, flags=os.O_RDWR))


def _open_lock(path: Path, advice: str, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    if path in _HELD:
        raise FolderInUseError(f"{path.parent} is in use by this process, {os.getpid()}: {advice}")
    while True:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(descriptor)
            if error.errno in (errno.EACCES, errno.EAGAIN) or _is_alive(owner):
                os.close(descriptor)
                raise FolderInUseError(
                    f"{path.parent} is in use by process {owner.get('pid', 'unknown')} on "
                    f"{owner.get('host', 'an unknown host')}: {advice}"
                ) from None
            log.warning("%s: no locks on this file system (%s); %s alone says whose it is", path.parent, error, path)
            return descriptor
        # The owner before may have deleted the file between the two calls: then this lock is of no file any more.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)


def _owner(descriptor: int) -> dict[str, Any]:
    try:
        owner = json.loads(os.pread(descriptor, 1000, 0))
    except ValueError:  # not written yet
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_alive(owner: dict[str, Any]) -> bool:
    """Whether the process that a lock's file names may still be there: known of those of this host only."""
    pid = owner.get("pid")
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    if owner.get("host") != socket.gethostname():
        return True
    return is_process_alive(pid)
