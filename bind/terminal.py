"""Text on its way to a terminal or a log: control characters become visible, and every terminal can show the rest.

A key, a label or a file's name may come from anybody, and a terminal obeys the control characters in it: they clear the
screen, forge lines and set titles. All that a command prints and logs goes through here; errors are made printable
where they leave the readers of such files.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import io
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from rich import get_console
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""All control characters but line feed and tab; also those that turn the direction of writing or break lines."""

_SPELLED_OUT = {"×": "x", "→": "->", "–": "-", "—": "-", "…": "...", "≤": "<=", "≥": ">=", "±": "+-", "·": "*"}
_BOXES = {**dict.fromkeys("─━╌═", "-"), **dict.fromkeys("│┃║", "|"), **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯", "+"), "█": "#"}


def printable(text: str) -> str:
    r"""`text` with its control characters spelled out, but for line feeds and tabs.

    Examples:
        >>> print(printable("a cat\x1b[2Jall good"))
        a cat\x1b[2Jall good
    """
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


@contextlib.contextmanager
def printable_errors() -> Iterator[None]:
    """Make the message of a ValueError that leaves the block printable; also a decorator.

    Raises:
        ValueError: the same one, or one with the control characters of its message spelled out.
    """
    try:
        yield
    except ValueError as error:
        message = str(error)
        if (shown := printable(message)) == message:
            raise
        raise ValueError(shown) from None


class ReaderGone(SystemExit):
    """The end of a command whose output nobody reads any more, as behind `| head`; its status is that of SIGPIPE."""

    def __init__(self) -> None:
        super().__init__(128 + 13)


class PipedStream(io.TextIOBase):
    """A text stream that ends the command where it is a pipe that nobody reads any more.

    Raises:
        ReaderGone: at the first write that nobody reads; what is written from then on goes nowhere.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with self._ending_without_reader():
            self.stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._ending_without_reader():
            self.stream.flush()

    @contextlib.contextmanager
    def _ending_without_reader(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            # What is still in the buffer would be tried again when Python ends, with a message for each try.
            with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())
            raise ReaderGone from None

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing: the stream is the process's."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.stream.errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class PrintableStream(PipedStream):
    """A text stream that makes printable what is written to it; `piped` takes what may hold colours."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.piped = PipedStream(stream)

    def write(self, text: str) -> int:
        super().write(printable(text))
        return len(text)


class PrintableConsole(Console):
    """A rich console whose text is printable; the colours and the cursor's moves are rich's own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of `renderable`, printable but for those with which rich moves the cursor."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def _file_for_colours(self) -> Any:
        file = Console.file.fget(self)  # type: ignore[attr-defined]
        return file.piped if isinstance(file, PrintableStream) else file

    file = property(_file_for_colours, Console.file.fset)  # type: ignore[attr-defined]


class PrintableRecord(logging.LogRecord):
    """A log record whose message is printable, on a terminal and in a file."""

    def getMessage(self) -> str:  # noqa: N802
        return printable(super().getMessage())


def prepare_terminal() -> None:
    """Have this process print and log printable text only, in characters that its streams can encode; for commands."""
    codecs.register_error("bind.spell_out", _spell_out)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="bind.spell_out")
        if stream is not None and not isinstance(stream, PrintableStream):
            setattr(sys, name, PrintableStream(stream))
    atexit.register(_flush_quietly)  # what is left in the buffers, before Python does it and complains
    logging.setLogRecordFactory(PrintableRecord)
    get_console().__class__ = PrintableConsole  # rich's own, which progress bars share and set up anew


def _flush_quietly() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ReaderGone):
            stream.flush()


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    """For what an encoding lacks: an arrow in ASCII, or the character's number."""
    assert isinstance(error, UnicodeEncodeError)
    characters = error.object[error.start : error.end]
    known = {**_SPELLED_OUT, **_BOXES}
    return "".join(known.get(c) or ascii(c)[1:-1] for c in characters), error.end
