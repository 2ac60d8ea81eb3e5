"""Listing of an index, `index.json`: whose vectors it holds, its parts, and what is deleted of them.

An index may come from anybody, so its listing is read as plain data of a known form, and names no file but those of its
own folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bind.files.plain_data import read_json, require_each, require_kinds
from bind.files.writing import write_text
from bind.search.rows import COLUMN_NAME, KNOWN, OWN_KINDS
from bind.types import Modality

LISTING = "index.json"
VERSION = 1
MAX_BYTES = 2**28
"""Of a listing: a million parts."""
MAX_DIM = 2**16
MAX_PART_VECTORS = 2**24
NAME = re.compile(r"[0-9]{1,12}", re.ASCII)
MODALITY = re.compile(r"[a-z][a-z0-9_]{0,99}", re.ASCII)
SCANS = ("fp16", "bf16", "int8")
CHECKSUMS = ("vectors", "table", "scan", "scales")

REMEDY = "Copy the index again, or make it anew"


@dataclass(frozen=True, slots=True)
class IndexPart:
    """Some vectors of one modality, in files that are written once.

    Attributes:
        name: a number; the part's files are called after it.
        modality: of all of its vectors.
        num_vectors: N.
        max_norm: of the longest of its vectors.
        scan: what is scanned, `fp16` the vectors themselves, `bf16` or `int8` a rounded copy beside them.
        residual: the longest difference between a vector and its rounded copy.
        checksums: of its files.
    """

    name: str
    modality: Modality
    num_vectors: int
    max_norm: float
    scan: str
    residual: float
    checksums: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Deleted:
    """Which rows of which parts are deleted: a file with their number, empty where none is."""

    name: str = ""
    num_vectors: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """What an index holds at one moment; a change of the index is another listing, written at once.

    Attributes:
        dim: D of its vectors.
        fingerprint: of the binder that made them, see `bind.search.binder_folder.fingerprint_of`.
        anchor: the name of its anchor.
        scan: what new parts are scanned by.
        parts: in the order in which they were added.
        columns: of a user's own, name → kind, in any of the parts.
        next_name: of the next file.
    """

    dim: int
    fingerprint: str
    anchor: str = ""
    scan: str = "fp16"
    parts: Sequence[IndexPart] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    deleted: Deleted = field(default_factory=Deleted)
    next_name: int = 1

    @property
    def num_vectors(self) -> int:
        """How many vectors there are, without deleted ones."""
        return sum(part.num_vectors for part in self.parts) - self.deleted.num_vectors

    def with_parts(self, parts: Sequence[IndexPart], **changes: Any) -> Listing:
        """The listing with other parts."""
        return replace(self, parts=tuple(parts), **changes)


def write_listing(folder: Path, listing: Listing) -> None:
    """Make a listing the current one, atomically."""
    values = {"version": VERSION, **asdict(listing)}
    write_text(folder / LISTING, json.dumps(values, indent=1) + "\n")


def read_listing(folder: Path) -> Listing:
    """The current listing of an index.

    Raises:
        ValueError: naming the file, where there is none or it is no listing.
    """
    path = folder / LISTING
    if not path.is_file():
        raise ValueError(f"{folder}: no {LISTING} there, so no index; make one with bindspace index … out={folder}")
    where = str(path)
    values = require_kinds(read_json(path, max_bytes=MAX_BYTES), {"version": int}, where)
    if values["version"] != VERSION:
        raise ValueError(f"{path}: version {values['version']}, this bind reads {VERSION}; make the index anew")
    kinds = {
        "dim": int,
        "fingerprint": str,
        "anchor": str,
        "scan": str,
        "parts": list,
        "columns": dict,
        "deleted": dict,
    }
    require_kinds(values, {**kinds, "next_name": int}, where)
    _require(0 < values["dim"] <= MAX_DIM, where, f"dim is {values['dim']}, not from 1 to {MAX_DIM}")
    _require(values["scan"] in SCANS, where, f"scan is {values['scan'][:60]!r}, not one of {', '.join(SCANS)}")
    _require(0 < values["next_name"] < 10**12, where, "next_name is no number of a file")
    parts = tuple(_read_part(entry, f"{where}: part {number}") for number, entry in enumerate(values["parts"]))
    names = [part.name for part in parts]
    _require(len(set(names)) == len(names), where, "two parts have one name")
    for name, kind in values["columns"].items():
        is_column = COLUMN_NAME.fullmatch(name) and name not in KNOWN.names and kind in OWN_KINDS
        _require(
            bool(is_column), where, f"{name[:60]!r} of {str(kind)[:60]!r} is no column of text, numbers or true/false"
        )
    deleted = require_kinds(values["deleted"], {"name": str, "num_vectors": int}, f"{where}: deleted")
    _require(not deleted["name"] or NAME.fullmatch(deleted["name"]) is not None, where, "deleted.name is no number")
    num_vectors = sum(part.num_vectors for part in parts)
    _require(0 <= deleted["num_vectors"] <= num_vectors, where, "more is deleted than there is")
    return Listing(
        values["dim"],
        values["fingerprint"],
        values["anchor"],
        values["scan"],
        parts,
        values["columns"],
        Deleted(deleted["name"], deleted["num_vectors"]),
        values["next_name"],
    )


def _read_part(entry: Any, where: str) -> IndexPart:
    kinds = {"name": str, "modality": str, "num_vectors": int, "scan": str, "checksums": dict}
    require_kinds(entry, {**kinds, "max_norm": (int, float), "residual": (int, float)}, where)
    _require(NAME.fullmatch(entry["name"]) is not None, where, "its name is no number")
    _require(MODALITY.fullmatch(entry["modality"]) is not None, where, f"{entry['modality'][:60]!r} is no modality")
    _require(0 < entry["num_vectors"] <= MAX_PART_VECTORS, where, f"it has {entry['num_vectors']} vectors")
    _require(entry["scan"] in SCANS, where, f"its scan is {entry['scan'][:60]!r}")
    for name in ("max_norm", "residual"):
        _require(0 <= entry[name] <= 2, where, f"its {name} is {entry[name]}, not from 0 to 2")  # NaN is neither
    files = {"vectors", "table", *(["scan"] if entry["scan"] != "fp16" else [])}
    files |= {"scales"} if entry["scan"] == "int8" else set()
    _require(
        set(entry["checksums"]) == files, where, f"it has checksums of other files than {', '.join(sorted(files))}"
    )
    require_each(entry["checksums"].values(), lambda value: isinstance(value, str), where, "a checksum")
    return IndexPart(**{name: entry[name] for name in IndexPart.__slots__})


def _require(is_right: bool, where: str, reason: str) -> None:
    if not is_right:
        raise ValueError(f"{where}: {reason}. {REMEDY}")
