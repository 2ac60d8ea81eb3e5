"""Identities of files by the text of their paths, for whole columns of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bind.data.hashes import combine_hashes, hash_stretches, hash_strings, string_bytes

MAX_FOLDERS = 20_000
"""Folders whose links are followed."""


class FileIdentities:
    """Identities of files by the text of their paths: equal for one folder by whatever way, and one name in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._folders: dict[int, np.uint64] = {}

    def of(self, paths: Any) -> tuple[np.ndarray, np.ndarray]:
        """Of every path of an Arrow array of strings: the file's identity, and a hash of the path; (N,) uint64 each."""
        content, starts, lengths = string_bytes(paths)
        slashes = np.flatnonzero(content == ord("/"))
        before = np.searchsorted(slashes, starts + lengths) - 1
        cuts = np.where(before >= 0, slashes[before] + 1 if len(slashes) else 0, 0)
        cuts = np.maximum(cuts, starts)
        folder_hashes = hash_stretches(content, starts, cuts - starts)
        names = hash_stretches(content, cuts, starts + lengths - cuts)
        # Most paths lie in the folder of the one before.
        is_new = np.concatenate([[True], folder_hashes[1:] != folder_hashes[:-1]])[: len(folder_hashes)]
        known, first, inverse = np.unique(folder_hashes[is_new], return_index=True, return_inverse=True)
        places = np.flatnonzero(is_new)
        identities = [
            self._folder(int(hashed), content[starts[place] : cuts[place]].tobytes())
            for hashed, place in zip(known, places[first], strict=True)
        ]
        of_folder = np.array(identities, np.uint64)[inverse][np.cumsum(is_new) - 1]
        return combine_hashes(of_folder, names), combine_hashes(folder_hashes, names)

    def _folder(self, hashed: int, text: bytes) -> np.uint64:
        if hashed not in self._folders:
            path = self.folder / os.fsdecode(text)
            follow = os.path.realpath if len(self._folders) < MAX_FOLDERS else os.path.abspath
            self._folders[hashed] = hash_strings(pa.array([follow(path)]))[0]
        return self._folders[hashed]
