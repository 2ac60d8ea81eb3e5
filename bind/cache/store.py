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
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bind.cache.arrays import load_array, size_of_array, write_array
from bind.cache.claims import Claims
from bind.cache.lookup import CachedEmbeddings, index_keys
from bind.cache.origin import FEATURES, Origin
from bind.cache.stored_rows import RowsInFiles, part_name
from bind.files.checksums import TRAILER_BYTES
from bind.files.plain_data import read_json
from bind.files.writing import remove_partial_files, write_text

INDEX = ("first_rows.npy", "spans.npy", "hashes.npy")
CLIPS = "clips.npy"


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
        self._claims: Claims | None = None
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
            self._claims = Claims(self.path / "claims")
        try:
            yield
        finally:
            self._claims.close()
            self._claims = None

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
        is_locked = self._claims.lock(number)
        if is_locked is None:  # processes may do the same part, which costs time and changes nothing
            return not self._has_part(number)
        if is_locked and self._has_part(number):  # another process has made it since
            self._claims.release(number)
        elif is_locked:
            remove_partial_files(self.path, part_name(number))
            self._claims.add(number)
            self.show_life()
            return True
        return False

    def show_life(self) -> None:
        """Let processes that wait for the parts of this one see that it goes on."""
        assert self._claims is not None
        with self._plain_errors():
            self._claims.show_life()

    def signs_of_life(self, number: int) -> dict[str, Any]:
        """See `Claims`."""
        assert self._claims is not None
        return self._claims.signs_of_life(number)

    def release(self, number: int) -> None:
        assert self._claims is not None
        self._claims.release(number)

    def write_part(self, number: int, counts: np.ndarray, z_RKD: np.ndarray, clips_R: np.ndarray | None = None) -> None:
        """Put part `number` on disk, whole or not at all; `clips_R` comes with features."""
        assert len(counts) == self.sizes[number]
        assert z_RKD.shape == (counts.sum(), self.origin.num_views, self.origin.dim)
        assert (clips_R is not None) == (self.origin.dtype == FEATURES)
        with self._plain_errors():
            write_array(self._counts_of(number), counts.astype(np.int32))
            if clips_R is not None:
                write_array(self._clips_of(number), clips_R.astype(np.int32))
            write_array(self.part(number), z_RKD.astype(self.origin.dtype))

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
                write_array(self.path / CLIPS, np.concatenate(clips))
            for name, array in zip(INDEX, (first_rows, spans, hashes), strict=True):
                write_array(self.path / name, array)

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
