"""Files of the feature cache: one folder per (tower, source content, split, modality), filled in parts.

anchors/{anchor}-{fingerprint}/{split}-{modality}-{content and readers}[-{K}views]/
    about.json              what the vectors were made from, in full
    claims                  byte i is locked by the process that makes part i; record i says which, and how far it is
    part-00000.counts.npy   values, or clips of them, of each of its samples, (n,) int32
    part-00000.clips.npy    of features: clips of the value that begins at a row, else 0, (R,) int32
    part-00000.npy          vectors, (R, K, D) fp16, features fp32; it comes last, and with it the part is there
    clips.npy, first_rows.npy, spans.npy, hashes.npy   the index; with the last of them the folder is finished
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import math
import os
import re
import shutil
import socket
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from bind.cache.lookup import CachedEmbeddings, index_keys
from bind.files.checksums import TRAILER_BYTES, has_right_trailer, matches_trailer, trailer_of
from bind.files.plain_data import read_json
from bind.files.reading import require_regular_file
from bind.files.writing import open_atomically, remove_partial_files, write_text
from bind.types import Modality

FORMAT = 1
PART_SIZE = 4096
INDEX = ("first_rows.npy", "spans.npy", "hashes.npy")
CLIPS = "clips.npy"
UNIT_VECTORS, FEATURES = "<f2", "<f4"
"""Numbers of the vectors: half precision where all have norm 1, single where they have any."""
MAX_OPEN_PARTS = 256
RECORD_BYTES = 256
"""Of a claim: process, host, and how often the process has gone on since."""

MISMATCH_MESSAGES = {
    "anchor_fingerprint": "another anchor, or other preprocessing",
    "content": "another state of the data",
    "num_views": "other views",
    "dim": "towers of another width",
    "readers": "files as another version of this package reads them",
    "code": "other code of your own classes",
    "format": "another version's files",
}
UNSAID = {"dtype": UNIT_VECTORS, "code": ""}
"""What the files of a folder do not say, as those of earlier versions did not."""
IMPLIED_BY = {"num_samples": "content", "views": "num_views"}


@dataclass(frozen=True, slots=True)
class Origin:
    """What vectors were made from: they stand for one another where all of it but the two names is equal."""

    anchor: str
    source: str
    anchor_fingerprint: str
    content: str
    split: str
    modality: Modality
    num_samples: int
    num_views: int
    views: str
    dim: int
    part_size: int = PART_SIZE
    format: int = FORMAT
    readers: str = ""
    dtype: str = UNIT_VECTORS
    code: str = ""

    def as_dict(self) -> dict[str, Any]:
        """What `about.json` holds, without what earlier versions of this package did not write."""
        return {name: x for name, x in asdict(self).items() if UNSAID.get(name) != x}

    @property
    def folder_name(self) -> Path:
        anchor = re.sub(r"[^A-Za-z0-9.]+", "-", self.anchor).strip("-")[-60:]
        views = f"-{self.num_views}views" if self.num_views > 1 else ""
        made_of = f"{self.content} {self.readers}" + (f" {self.code}" if self.code else "")
        content = hashlib.blake2b(made_of.encode(), digest_size=8).hexdigest()
        return Path(f"{anchor}-{self.anchor_fingerprint[:12]}", f"{self.split}-{self.modality}-{content}{views}")

    def differences(self, other: dict[str, Any]) -> list[str]:
        """What `other`, as a file describes it, was made from instead, as parts of a message."""
        mine = {name: value for name, value in asdict(self).items() if name not in ("anchor", "source")}
        other = {**UNSAID, **other}
        differ = [name for name, value in mine.items() if other.get(name) != value]
        return [
            f"{MISMATCH_MESSAGES.get(name, f'another {name}')} "
            f"({name} {str(other.get(name))[:12] or 'none'}, here {str(mine[name])[:12] or 'none'})"
            for name in differ
            if IMPLIED_BY.get(name) not in differ
        ]


class CacheFolder:
    """The files of one `Origin` under `root`, written by any number of processes at once.

    Raises:
        ValueError: where the folder holds vectors of another origin or damaged files, or can't be written.
    """

    def __init__(self, root: Path, origin: Origin) -> None:
        self.path = root / origin.folder_name
        if not self.path.exists():  # one model may go by two names, such as a folder and the binder it was copied into
            about = f"*-{origin.anchor_fingerprint[:12]}/{origin.folder_name.name}/about.json"
            self.path = next((path.parent for path in sorted(root.glob(about))), self.path)
        self.origin = origin
        self.sizes = [
            min(origin.part_size, origin.num_samples - start)
            for start in range(0, origin.num_samples, origin.part_size)
        ]
        self._claims: int | None = None
        self._claimed: set[int] = set()
        self._num_signs = 0
        if self._about.exists():
            self._refuse_another_origin()

    @property
    def _about(self) -> Path:
        return self.path / "about.json"

    def _refuse_another_origin(self) -> None:
        try:
            differences = self.origin.differences(read_json(self._about))
        except (OSError, ValueError, AttributeError) as error:
            raise ValueError(f"{self._about} is damaged ({error}): delete {self.path}, it is made again") from error
        if differences and self._is_begun:
            raise ValueError(
                f"{self.path} was made from {' and '.join(differences)}: its vectors can't be used here. "
                "Delete the folder, or set cache.dir to another place"
            )

    def part(self, number: int) -> Path:
        return self.path / part_name(number)

    def _counts_of(self, number: int) -> Path:
        return self.path / f"part-{number:05d}.counts.npy"

    def _clips_of(self, number: int) -> Path:
        return self.path / f"part-{number:05d}.clips.npy"

    def missing_parts(self) -> list[int]:
        there = set(os.listdir(self.path)) if self.path.is_dir() else set()
        return [n for n in range(len(self.sizes)) if not {self.part(n).name, self._counts_of(n).name} <= there]

    def _has_part(self, number: int) -> bool:
        return self.part(number).exists() and self._counts_of(number).exists()

    @property
    def _is_begun(self) -> bool:
        """Whether there is anything to lose: a part, or an index."""
        return any(name.endswith(".npy") for name in os.listdir(self.path))

    @property
    def is_finished(self) -> bool:
        return all((self.path / name).is_file() for name in INDEX) and not self.missing_parts()

    # Writing

    @contextlib.contextmanager
    def open_for_writing(self, num_bytes: int) -> Iterator[None]:
        """Make the folder, where there is room for `num_bytes` more; claims end with the context."""
        with self._plain_errors():
            self.path.mkdir(parents=True, exist_ok=True)
            if (free := shutil.disk_usage(self.path).free) < num_bytes:
                raise OSError(errno.ENOSPC, f"{num_bytes / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
            if not self._about.exists() or not self._is_begun:  # what a run that failed has left says nothing
                write_text(self._about, json.dumps(self.origin.as_dict(), indent=2) + "\n")
            self._refuse_another_origin()
            self._claims = os.open(self.path / "claims", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            yield
        finally:
            os.close(self._claims)  # which releases what is still claimed
            self._claims = None
            self._claimed.clear()

    @contextlib.contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ValueError(
                f"{self.path}: the anchor cache can't be written ({error.strerror}); set cache.dir to a folder with "
                "room, or cache.dir=null to keep the vectors in memory for this run only"
            ) from error

    def claim(self, number: int) -> bool:
        """Claim part `number` for this process, unless it is another's or done; ends with the process at the latest."""
        assert self._claims is not None
        try:
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            # A file system without locks: processes may do the same part, which costs time and changes nothing.
            return not self._has_part(number)
        if self._has_part(number):  # another process has made it since
            self.release(number)
            return False
        remove_partial_files(self.path, part_name(number))
        self._claimed.add(number)
        self.show_life()
        return True

    def show_life(self) -> None:
        """Let processes that wait for the parts of this one see that it goes on."""
        assert self._claims is not None
        self._num_signs += 1
        record = {"pid": os.getpid(), "host": socket.gethostname(), "signs": self._num_signs}
        with self._plain_errors():
            for number in self._claimed:
                os.pwrite(self._claims, json.dumps(record).encode().ljust(RECORD_BYTES), number * RECORD_BYTES)

    def signs_of_life(self, number: int) -> dict[str, Any]:
        """What the process that makes part `number` has said of itself, {} where it has not; other while it goes on."""
        assert self._claims is not None
        try:
            record = json.loads(os.pread(self._claims, RECORD_BYTES, number * RECORD_BYTES))
        except ValueError:  # not written yet, or just being written
            return {}
        return record if isinstance(record, dict) else {}

    def release(self, number: int) -> None:
        assert self._claims is not None
        self._claimed.discard(number)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, number)

    def write_part(self, number: int, counts: np.ndarray, z_RKD: np.ndarray, clips_R: np.ndarray | None = None) -> None:
        """Put part `number` on disk, whole or not at all; `clips_R` comes with features."""
        assert len(counts) == self.sizes[number]
        assert z_RKD.shape == (counts.sum(), self.origin.num_views, self.origin.dim)
        assert (clips_R is not None) == (self.origin.dtype == FEATURES)
        with self._plain_errors():
            self._write_array(self._counts_of(number), counts.astype(np.int32))
            if clips_R is not None:
                self._write_array(self._clips_of(number), clips_R.astype(np.int32))
            self._write_array(self.part(number), z_RKD.astype(self.origin.dtype))

    def discard(self) -> None:
        """Delete the parts, of which nobody knows what they were made from."""
        for number in range(len(self.sizes)):
            self.part(number).unlink(missing_ok=True)

    def finish(self, hashes_N: np.ndarray) -> None:
        """Write the index of a folder that has all its parts; `hash_keys` gives the hashes of the samples."""
        counts = [load_array(self._counts_of(number)) for number in range(len(self.sizes))]
        hashes, spans = index_keys(hashes_N, np.concatenate(counts))
        first_rows = np.cumsum([0, *(counts_of_part.sum() for counts_of_part in counts)])
        with self._plain_errors():
            if self.origin.dtype == FEATURES:
                clips = [load_array(self._clips_of(number)) for number in range(len(self.sizes))]
                self._write_array(self.path / CLIPS, np.concatenate(clips))
            for name, array in zip(INDEX, (first_rows, spans, hashes), strict=True):
                self._write_array(self.path / name, array)

    def _write_array(self, path: Path, array: np.ndarray) -> None:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        with open_atomically(path) as file:
            file.write(buffer.getbuffer())
            file.write(trailer_of(buffer.getbuffer()))

    # Reading

    def open(self) -> CachedEmbeddings:
        """Open a finished folder: maps its index into memory, and reads vectors when they are looked up."""
        with contextlib.suppress(OSError):  # of a cache that can only be read
            os.utime(self._about)  # the time of the last use
        first_rows = load_array(self.path / INDEX[0])
        spans, hashes = (load_array(self.path / name, mmap_mode="r") for name in INDEX[1:])
        if len(first_rows) != len(self.sizes) + 1 or len(hashes) != len(spans) or len(spans) != self.origin.num_samples:
            raise ValueError(f"{self.path} is damaged: its index has another size; delete it, it is made again")
        of_row = (self.origin.num_views, self.origin.dim)
        for number, num_rows in enumerate(np.diff(first_rows).tolist()):
            num_bytes = size_of_array((num_rows, *of_row), self.origin.dtype)
            if self.part(number).stat().st_size not in (num_bytes, num_bytes + TRAILER_BYTES):
                raise ValueError(f"{self.part(number)} has another size than it should: delete it, it is made again")
        shape = (int(first_rows[-1]), *of_row)
        clips = load_array(self.path / CLIPS) if self.origin.dtype == FEATURES else None
        if clips is not None and len(clips) != shape[0]:
            raise ValueError(f"{self.path} is damaged: {CLIPS} has another size; delete it, it is made again")
        if clips is not None and (clips == 1).all():
            clips = None
        rows = RowsInFiles(self.path, first_rows, shape, self.origin.dtype)
        # As plain arrays: numpy's own subclass for maps makes every use of them slower.
        return CachedEmbeddings(np.asarray(hashes), np.asarray(spans), rows, clips)


class RowsInFiles:
    """`bind.cache.lookup.Rows` of a finished folder, read from its files.

    Vectors are read by their place and not through a map: a kernel that maps large folios makes a map of all parts
    resident within one epoch, and reads take no longer (0.3 ms a batch of 64 against 0.5 ms, from the page cache).
    """

    def __init__(
        self, folder: Path, first_rows: np.ndarray, shape: tuple[int, int, int], dtype: str = UNIT_VECTORS
    ) -> None:
        self.folder, self.first_rows, self.shape, self.dtype = folder, first_rows, shape, np.dtype(dtype)
        self._open: OrderedDict[int, tuple[io.FileIO, int]] = OrderedDict()
        self._verified: set[int] = set()

    def num_bytes(self) -> int:
        """Of the whole folder."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def __getstate__(self) -> dict[str, Any]:
        """Without the open files: another process opens its own."""
        return {**self.__dict__, "_open": OrderedDict()}

    def take(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        """See `Rows`; ValueError naming the file that has been damaged since it was opened."""
        _, num_views, dim = self.shape
        z = np.empty((len(rows), dim), self.dtype)
        parts = np.searchsorted(self.first_rows, rows, side="right") - 1
        places = ((rows - self.first_rows[parts]) * num_views + views) * dim * self.dtype.itemsize
        for vector, number, place in zip(z, parts.tolist(), places.tolist(), strict=True):
            file, first_byte = self._part(number)
            if os.preadv(file.fileno(), [vector.data], first_byte + place) != vector.nbytes:
                raise ValueError(f"{file.name} has become shorter while it was in use: start the run again")
        return z

    def verify(self) -> None:
        """Compare every part with its checksum; ValueError, naming the file, where one is damaged."""
        for number in range(len(self.first_rows) - 1):
            self._part(number)

    def _verify(self, number: int, file: io.FileIO) -> None:
        """Compare a part with its checksum, once; parts of earlier versions have none."""
        if number in self._verified:
            return
        num_rows = int(self.first_rows[number + 1] - self.first_rows[number])
        num_bytes = size_of_array((num_rows, *self.shape[1:]), self.dtype.str)
        has_trailer = os.fstat(file.fileno()).st_size > num_bytes
        if has_trailer and not matches_trailer(cast(BinaryIO, file), num_bytes):
            raise ValueError(f"{file.name} is damaged (its checksum is another one): delete it, it is made again")
        file.seek(0)
        self._verified.add(number)

    def _part(self, number: int) -> tuple[io.FileIO, int]:
        """The file of a part and its first byte after the header; those used last stay open."""
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        path = self.folder / part_name(number)
        require_regular_file(path)
        file = io.FileIO(path)
        self._verify(number, file)
        num_rows = int(self.first_rows[number + 1] - self.first_rows[number])
        expected = (1, 0), ((num_rows, *self.shape[1:]), False, self.dtype)
        try:
            is_expected = (np.lib.format.read_magic(file), np.lib.format.read_array_header_1_0(file)) == expected
        except Exception:  # numpy parses the header as Python, with all that can be wrong in that
            is_expected = False
        if not is_expected:
            raise ValueError(f"{path} is damaged: delete it, it is made again")
        self._open[number] = file, file.tell()
        if len(self._open) > MAX_OPEN_PARTS:
            self._open.popitem(last=False)[1][0].close()
        return self._open[number]


def part_name(number: int) -> str:
    return f"part-{number:05d}.npy"


def size_of_array(shape: tuple[int, ...], dtype: str = UNIT_VECTORS) -> int:
    """Bytes of an `.npy` file."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    return header.tell() + np.dtype(dtype).itemsize * math.prod(shape)


def load_array(path: Path, mmap_mode: Any = None) -> np.ndarray:
    """Load an `.npy` file of numbers.

    Raises:
        ValueError: where it is missing or damaged.
    """
    require_regular_file(path)
    try:
        with path.open("rb") as file:
            is_sealed = has_right_trailer(file)
        if is_sealed is False:
            raise ValueError("its checksum is another one")
        array: np.ndarray = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
        if path.stat().st_size != header.tell() + array.nbytes + (TRAILER_BYTES if is_sealed else 0):
            raise ValueError("it has another size")
        return array
    except Exception as error:  # numpy parses the header as Python, with all that can be wrong in that
        raise ValueError(f"{path} is damaged ({error}): delete it, it is made again") from error
