"""Files: the boundary behind which they are read, atomic writing, and folders that one process writes.

`reading` makes one message, with the file and the remedy, of whatever a decoder raises.

Everything that the package writes is written under a temporary name beside its path, flushed to disk and renamed: a
path holds the whole old file or the whole new one, whatever ends the process in between. It gets the permissions that
the user's umask gives to any new file. Several processes may write one path at a time: the last one to end wins.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import logging
import os
import re
import secrets
import shutil
import socket
import stat
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bind.processes import is_process_alive

log = logging.getLogger("bind")

LOCK = "in_use.lock"
"""The file in a folder that `lock_folder` has locked; `in_use.NAME.lock` where it is for files of that name only."""
PARTIAL = ".partial"
"""What temporary names end in."""

REPLACE_OR_DROP = "Replace the file or drop its row"
MAX_REASON_LENGTH = 300
"""Of a decoder's own words in a message, in characters: some quote the file."""


@contextlib.contextmanager
def reading(file: object, problem: str, remedy: str = REPLACE_OR_DROP) -> Iterator[None]:
    """Read a file in the block: whatever is raised there becomes a ValueError that names the file and the remedy.

    Decoders raise errors of any class on broken files, and no list of them is complete. Errors that begin
    with the file's name pass unchanged.

    Args:
        file: its path, or what else has the file's name as text, such as a packed file. A path that is a folder, a
            named pipe, a socket or a device is refused before anything opens it.
        problem: what the file then is, such as "not readable as a picture".
        remedy: what to do about it.

    Raises:
        ValueError: naming the file.

    Examples:
        >>> with reading("a shard: 7.depth.npy", "not readable as depth", "Pack it again"):
        ...     raise EOFError("no data left")
        Traceback (most recent call last):
            ...
        ValueError: a shard: 7.depth.npy: not readable as depth (EOFError: no data left). Pack it again
    """
    if isinstance(file, Path):
        require_regular_file(file, remedy)
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(str(file)):
            raise
        raise ValueError(f"{file}: {problem} ({_reason(error)}). {remedy}") from error


def require_regular_file(path: Path, remedy: str = REPLACE_OR_DROP) -> None:
    """Raise ValueError unless `path` is a regular file, or a link to one: opening a named pipe waits for ever."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file. Check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise ValueError(f"{path}: not readable ({_reason(error)}). Check the path") from error
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: is {FILE_TYPES.get(stat.S_IFMT(mode), 'no file')}, not a regular file. {remedy}")


FILE_TYPES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _reason(error: Exception) -> str:
    """The first line of an error's text; with the class where that says more than the text does."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = (str(error).strip().splitlines() or [""])[0][:MAX_REASON_LENGTH]
    if isinstance(error, OSError | ValueError) and not isinstance(error, UnicodeError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an OSError in the block name `path` where the system names no file, or a temporary one beside it."""
    try:
        yield
    except OSError as error:
        named = error.filename
        if named is None or (isinstance(named, str) and named.endswith(PARTIAL)):
            reason = error.strerror or str(error) or type(error).__name__
            raise OSError(error.errno or 0, reason, str(path)) from error
        raise


@contextlib.contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` when the block ends, and is deleted where the block fails.

    Raises:
        OSError: naming `path`, where it can't be written; what it held before is untouched.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "metrics.json"
        >>> write_text(path, "old")
        >>> with open_atomically(path) as file:
        ...     _ = file.write(b"new")
        ...     path.read_text()
        'old'
        >>> path.read_text()
        'new'
    """
    partial = _partial_name(path)
    try:
        with naming(path), partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with naming(path):
            partial.replace(path)
            _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):  # the error before says more
            partial.unlink(missing_ok=True)


def read_bytes(path: Path, *, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes`.

    Raises:
        ValueError: naming the file, where it is something else, larger, or can't be read.
    """
    with reading(path, "not readable", "Name the file itself, and check that it may be read"), path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"{path}: has more than {max_bytes} bytes, so it is not what its name says; copy it again")
    return content


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically."""
    with open_atomically(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write a file atomically, as UTF-8 with the line ends of `text`."""
    write_bytes(path, text.encode())


@contextlib.contextmanager
def open_folder_atomically(folder: Path) -> Iterator[Path]:
    """Give a temporary folder whose files replace those of `folder`, each atomically, when the block ends.

    For libraries that write files by their names, some of them readable by their owner alone. `folder` is made where
    it is missing, and keeps files of other names.
    """
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        partial = _partial_name(folder / "files")
        partial.mkdir()
    try:
        yield partial
        # A new folder has the bits that the umask leaves; reading the umask itself would mean to change it.
        mode = partial.stat().st_mode & 0o666
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        for path in files:
            path.chmod(mode)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        for path in files:
            target = folder / path.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        _sync_folder(folder)
    except Exception as error:
        code = re.search(r"\bcode: (\d+)|os error (\d+)", str(error))  # as safetensors, of Rust, words it
        if code is None:
            raise
        number = int(code[1] or code[2])
        raise OSError(number, os.strerror(number), str(folder)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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


FILES_OF_A_START = ("config.yaml", "*.log")
"""What a training writes before its first step."""


@contextlib.contextmanager
def remove_failed_start(folder: Path) -> Iterator[None]:
    """Delete `folder` where the block fails before anything is in it but `FILES_OF_A_START`.

    Empty folders above it go too, up to the current one. What was in it before is never deleted, nor is the current
    folder or one above it.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp(), "runs", "mine")
        >>> with contextlib.suppress(ValueError), remove_failed_start(folder):
        ...     folder.mkdir(parents=True)
        ...     raise ValueError("no such file")
        >>> folder.exists()
        False
    """
    folder = folder.absolute()
    is_new = not any(path.is_file() and path.stat().st_size for path in folder.rglob("*"))
    try:
        yield
    except Exception:
        is_new = is_new and folder not in (Path.cwd(), *Path.cwd().parents)
        files = [path for path in folder.rglob("*") if not path.is_dir()]
        if is_new and folder.is_dir() and all(any(map(path.match, FILES_OF_A_START)) for path in files):
            shutil.rmtree(folder, ignore_errors=True)
            for parent in folder.parents:
                if Path.cwd() not in parent.parents:
                    break
                with contextlib.suppress(OSError):  # not empty
                    parent.rmdir()
        raise


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


REMEDIES = {
    errno.ENOSPC: "make room, or choose another place",
    errno.EDQUOT: "make room within your quota, or choose another place",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f), or choose another place",
    errno.EACCES: "allow it to be read and written, or choose another place",
    errno.EPERM: "allow it to be read and written, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EMFILE: "raise the limit (ulimit -n), or lower data.num_workers",
    errno.ENFILE: "close other programs, or lower data.num_workers",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: a part of it is a file",
    errno.EISDIR: "name a file, not a folder",
    errno.ELOOP: "it is a link: put what it leads to in its place, or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ESTALE: "mount the file system again, then go on with ckpt=last",
    errno.EIO: "check the disk or the mount, then go on with ckpt=last",
}
"""What to do about an error of the system, by its number."""


def explain_os_error(error: OSError) -> str:
    """One line: the file, what the system says, and what to do about it.

    Examples:
        >>> explain_os_error(PermissionError(13, "Permission denied", "/data/a.csv"))
        '/data/a.csv: Permission denied; allow it to be read and written, or choose another place'
    """
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    if not names and error.errno in OF_FILE_SYSTEMS and (file := _file_at_hand(error)):
        names = [file]
    what = error.strerror or str(error) or type(error).__name__
    where = " → ".join(names) or "a file or connection that the system does not name"
    return f"{where}: {what}; {REMEDIES.get(error.errno or 0, 'HYDRA_FULL_ERROR=1 shows where it happened')}"


OF_FILE_SYSTEMS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE, errno.EROFS)


def _file_at_hand(error: OSError) -> str:
    """The file of the innermost function that has one: for an open file the system names none."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        for value in frame.f_locals.values():
            is_open_file = isinstance(value, io.IOBase)
            place = getattr(value, "name", None) if is_open_file else value
            if isinstance(place, Path) or (is_open_file and isinstance(place, str)):
                return str(place)
    return ""


def remove_partial_files(folder: Path, name: str = "*") -> None:
    """Delete what killed processes left of files called `name` (a pattern); for folders that nobody else writes to."""
    for path in folder.glob(f".{name}.*{PARTIAL}"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _partial_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")


def _sync_folder(folder: Path) -> None:
    """Flush the new names of a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems can't, and need it no more than the others
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
