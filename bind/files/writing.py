"""Atomic writing: a path holds the whole old file or the whole new one.

Everything that the package writes is written under a temporary name beside its path, flushed to disk and renamed,
whatever ends the process in between. It gets the permissions that the user's umask gives to any new file. Several
processes may write one path at a time: the last one to end wins.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PARTIAL = ".partial"
"""What temporary names end in."""


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
