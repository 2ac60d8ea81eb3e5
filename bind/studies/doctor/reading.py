"""Faults that any sort of file can have, and helpers of all that read files."""

from __future__ import annotations

import hashlib

import numpy as np

from bind.studies.doctor.findings import MANY, Fault, FindingKind

UNREADABLE = FindingKind("unreadable file", 0.0, "replace the file or drop its rows")
REFUSED = FindingKind(
    "refused by the transform", 0.0, "training stops at it: change the file, or the options of the transform, here too"
)
NOT_FINITE = FindingKind("NaN or infinite values", 0.0, "repair the file or drop its rows: training refuses it")
CLIPPED = FindingKind("clipped", MANY, "record with less gain or a wider range, or drop the rows")

MIN_RUN = 3
"""Equal values in a row that make a plateau. Two meet at the top of any smooth curve that is sampled densely."""
MIN_CLIPPED_SHARE = 1e-3
"""Share of the values that must lie on plateaus at the limit: far above what chance leaves on the highest step of a
quantised signal (none of 3,000 recordings of speech and 61 of motion reaches it), and 16 ms in a clip of 16 s."""


def hash_values(values: np.ndarray) -> bytes:
    """A hash, 16 bytes, that differs between arrays of different shape or content."""
    digest = hashlib.blake2b(f"{values.shape} {values.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(values).data)
    return digest.digest()


def count_in_runs(flags_T: np.ndarray) -> int:
    """The number of True entries of (T,) that stand in runs of at least `MIN_RUN`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags_T.astype(np.int8), [0]])))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= MIN_RUN].sum())


def unreadable_fault(error: Exception, name: str) -> Fault:
    """A fault with the reason in short: the table names the file itself."""
    message = str(error).strip() if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    kind = NOT_FINITE if "NaN or infinite" in message else UNREADABLE  # as `media` words it for every kind of file
    return Fault(kind, message.removeprefix(f"{name}: "))
