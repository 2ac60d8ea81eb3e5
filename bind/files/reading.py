"""Reading: whatever a decoder or the system raises becomes one message with the file and the remedy."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import traceback
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from bind.files.content import HEAD_BYTES, describe_other_format

REPLACE_OR_DROP = "Replace the file or drop its row"
ARCHIVE_SUFFIXES = (".ckpt", ".pt", ".tar", ".zip")

MAX_REASON_LENGTH = 300
"""Of a decoder's own words in a message, in characters: some quote the file."""


@contextlib.contextmanager
def reading(file: object, problem: str, remedy: str = REPLACE_OR_DROP) -> Iterator[None]:
    """Read a file in the block: whatever is raised there becomes a ValueError that names the file and the remedy.

    Decoders raise errors of any class on broken files, and no list of them is complete. Errors that begin
    with the file's name pass unchanged, unless the file is of a kind that no reader takes, which is then said.

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
        other_format = describe_other_format(_head(file))
        if not other_format and isinstance(error, ValueError) and str(error).startswith(str(file)):
            raise
        raise ValueError(f"{file}: {problem} ({other_format or _reason(error)}). {remedy}") from error


def _head(file: object) -> bytes:
    """The first bytes of a file, on disk or in memory; none of an archive by its name, or where they can't be read."""
    if Path(str(file)).suffix in ARCHIVE_SUFFIXES:
        return b""
    if not isinstance(file, Path):
        content = getattr(file, "content", b"")  # of a `PackedFile`, which torch would have to be imported for
        return bytes(content[:HEAD_BYTES])
    try:
        with file.open("rb") as opened:
            return opened.read(HEAD_BYTES)
    except OSError:
        return b""


def require_regular_file(path: Path, remedy: str = REPLACE_OR_DROP) -> None:
    """Raise ValueError unless `path` is a regular file, or a link to one: opening a named pipe waits for ever."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file{describe_other_form(path)}. Check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise ValueError(f"{path}: not readable ({_reason(error)}). Check the path") from error
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: is {FILE_TYPES.get(stat.S_IFMT(mode), 'no file')}, not a regular file. {remedy}")


def describe_other_form(path: Path) -> str:
    """What to say of a missing file that is there under a name that looks the same; empty where none is."""
    for form, description in FORMS_OF_UNICODE:
        other = Path(unicodedata.normalize(form, str(path)))
        if other != path and other.is_file():
            return f", but one whose name is in Unicode's {description} form, as other systems write it: {str(other)!a}"
    return ""


FORMS_OF_UNICODE: tuple[tuple[Literal["NFC", "NFD"], str], ...] = (("NFC", "composed"), ("NFD", "decomposed"))

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
