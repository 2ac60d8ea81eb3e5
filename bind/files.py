"""Files: the boundary behind which they are read, and atomic writing.

`reading` makes one message, with the file and the remedy, of whatever a decoder raises.

Everything that the package writes is written under a temporary name beside its path, flushed to disk and renamed: a
path holds the whole old file or the whole new one, whatever ends the process in between. It gets the permissions that
the user's umask gives to any new file. Several processes may write one path at a time: the last one to end wins.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

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
        refuse_special_file(file, remedy)
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(str(file)):
            raise
        raise ValueError(f"{file}: {problem} ({_reason(error)}). {remedy}") from error


def refuse_special_file(path: Path, remedy: str = REPLACE_OR_DROP) -> None:
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
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` when the block ends, and is deleted where the block fails.

    Raises:
        OSError: where the file can't be written; what `path` held before is untouched.

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
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    finally:
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
    finally:
        shutil.rmtree(partial)


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
