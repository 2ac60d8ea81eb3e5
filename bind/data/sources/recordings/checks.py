"""Checks of annotations against the recordings that they speak of: each fault names the file, the line and the time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from bind.data.sources.annotations.columns import Annotations
from bind.data.sources.recordings.windows import ROUNDING_SECONDS
from bind.data.sources.splits import list_some

EDGE_SECONDS = 0.5
"""Who marks a stretch by hand reaches beyond the end of the recording by less; what lies beyond is left out."""


def choose_kinds(annotations: Annotations, kinds: Collection[str] | None, path: Path) -> Annotations:
    """The annotations of these kinds, all by default; ValueError where there are none of one."""
    if kinds is None:
        return annotations
    names = np.array(annotations.names("kind"), dtype=object)
    if unknown := sorted(set(kinds) - set(names)):
        there = ", ".join(repr(name) for name in sorted(set(names)))
        raise ValueError(f"{path}: no annotation is of the kind {', '.join(map(repr, unknown))}; there are {there}")
    return annotations.take(np.isin(names, list(kinds)))


def refuse_empty(annotations: Annotations, path: Path) -> None:
    """Raise ValueError where an annotation has neither a text nor a label."""
    said = zip(annotations.names("text"), annotations.names("label"), strict=True)
    if empty := [row for row, (texts, label) in enumerate(said) if not texts and label is None]:
        raise ValueError(
            f"{path}: {len(empty)} annotation(s) say nothing: {_list_places(annotations, empty)}. Give them a text or "
            "a label, delete them, or choose others by data.kinds"
        )


def refuse_unknown_recordings(annotations: Annotations, keys: Collection[str], path: Path, manifest: Path) -> None:
    """Raise ValueError where an annotation is of a recording that the manifest does not have."""
    known = set(keys)
    if unknown := [row for row, key in enumerate(annotations.names("recording")) if key not in known]:
        num_keys = len({annotations[row].recording for row in unknown})
        some = ", ".join(repr(key) for key in list(keys)[:3])
        raise ValueError(
            f"{path}: {len(unknown)} annotation(s) are of {num_keys} recording(s) that {manifest} does not have: "
            f"{_list_places(annotations, unknown)}. A recording is named by its key there, such as {some}"
        )


def refuse_overlaps(annotations: Annotations, path: Path) -> None:
    """Raise ValueError where two annotations of one recording and one kind overlap; to touch is fine."""
    names = {column: np.unique(annotations.names(column), return_inverse=True)[1] for column in ("recording", "kind")}
    order = np.lexsort([annotations.ends, annotations.starts, names["kind"], names["recording"]])
    same = np.ones(max(len(order) - 1, 0), bool)
    for codes in names.values():
        same &= codes[order][1:] == codes[order][:-1]
    starts, ends = annotations.starts[order], annotations.ends[order]
    pairs = np.flatnonzero(same & (ends[:-1] - starts[1:] > ROUNDING_SECONDS))
    if len(pairs):
        some = [f"{annotations.place(order[i])} and {annotations.place(order[i + 1])}" for i in pairs[:6].tolist()]
        some += [""] * (len(pairs) - len(some))
        raise ValueError(
            f"{path}: {len(pairs)} pair(s) of annotations of one kind overlap: {list_some(some)}. Where both hold, "
            "give them different kinds; else correct their times"
        )


def refuse_outside(annotations: Annotations, extents: Mapping[str, tuple[float, float]], path: Path) -> None:
    """Raise ValueError where an annotation lies outside its recording, of which `extents` has start and end."""
    bounds = np.array([extents.get(key, (-np.inf, np.inf)) for key in annotations.names("recording")]).reshape(-1, 2)
    is_outside = annotations.starts < bounds[:, 0] - EDGE_SECONDS
    is_outside |= annotations.ends > bounds[:, 1] + EDGE_SECONDS
    rows = np.flatnonzero(is_outside).tolist()
    if rows:
        some = [
            f"{annotations.place(row)} in a recording from {bounds[row, 0]:.10g} to {bounds[row, 1]:.10g} s"
            for row in rows[:6]
        ]
        some += [""] * (len(rows) - len(some))
        raise ValueError(
            f"{path}: {len(rows)} annotation(s) lie outside their recordings: {list_some(some)}. Correct their times; "
            "where they are of another clock, say in the manifest where its zero lies in each file "
            "(MODALITY_start_seconds), or let a sensor's count from the first row (MODALITY_clock: first_row)"
        )


def _list_places(annotations: Annotations, rows: list[int]) -> str:
    return list_some([annotations.place(row) for row in rows[:6]] + [""] * (len(rows) - 6))
