"""A file as a stream, wherever it lies; a remote one in ranges, each with its own tries."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO, cast

from bind.data.sources.shards.remote import fetch, is_remote, shown
from bind.files.reading import reading

STREAM_BYTES = 2**23


def open_stream(path: str) -> BinaryIO:
    """A file to be read from its first byte to its last."""
    if is_remote(path):
        return cast(BinaryIO, RangeStream(path))
    with reading(Path(path), "not readable", "Check data.shards"):
        return open(path, "rb")


class RangeStream(io.RawIOBase):
    """Ranges of 8 MiB of a remote file.

    Raises:
        ValueError: naming the file: as `fetch` does, and in `read` where it is no longer the file that was opened.
    """

    def __init__(self, path: str) -> None:
        self.path, self.opened, self.position, self.buffer = path, fetch(path, 0, 1), 0, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self.buffer and self.position < self.opened.num_bytes:
            answer = fetch(self.path, self.position, min(self.position + STREAM_BYTES, self.opened.num_bytes))
            if (answer.num_bytes, answer.version) != (self.opened.num_bytes, self.opened.version):
                raise ValueError(f"{shown(self.path)}: was written again while it was read. Start the run again")
            self.buffer = answer.content
            self.position += len(answer.content)
        size = len(self.buffer) if size < 0 else size
        head, self.buffer = self.buffer[:size], self.buffer[size:]
        return head
