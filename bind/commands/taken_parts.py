"""Notice that vectors and answers are about a part of long recordings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bind.data.transforms.taken import TakenPart, find_taken_part
from bind.model.binder import Binder
from bind.terminal import printable
from bind.types import Clip, Modality, Sample

MAX_LOOKED_AT = 3000
"""Of more recordings so many are looked at, evenly drawn: each is opened."""
ADVICE = "Of whole recordings bindspace timeline says what they are from when to when"


def print_taken_parts(
    binder: Binder, inputs: Sequence[tuple[Modality, Any]], *, num_drawn_from: int | None = None
) -> None:
    """Say on stderr, in one line, of how many recordings a part is taken, and of one of them which.

    Of a file that can't be read nothing is said here: whoever reads it names it.

    Args:
        num_drawn_from: of how many the inputs were drawn; None: they are all.
    """
    of_media = [(modality, value) for modality, value in inputs if modality != "text"]
    num_all = max(len(of_media), num_drawn_from or 0)
    drawn = [of_media[place] for place in draw_evenly(range(len(of_media)))]
    parts = list(_taken_parts(binder, drawn))
    cut = [(value, part) for value, part in parts if part.is_cut]
    if not cut:
        return
    value, part = cut[0]
    if len(parts) == 1:
        line = f"{value}: only a part is taken, {part}. {ADVICE}"
    else:
        looked_at = f" looked at, of {num_all:,}," if len(drawn) < num_all else ""
        line = (
            f"{len(cut):,} of {len(parts):,} recordings{looked_at} are longer than what is taken of each, such as "
            f"{value}: {part}. {ADVICE}"
        )
    print(printable(line), file=sys.stderr, flush=True)


def draw_evenly(rows: Sequence[int]) -> list[int]:
    """At most `MAX_LOOKED_AT` of some numbers.

    Examples:
        >>> draw_evenly(range(3)), len(draw_evenly(range(10_000)))
        ([0, 1, 2], 3000)
    """
    places = np.linspace(0, len(rows) - 1, min(len(rows), MAX_LOOKED_AT)).astype(int)
    return [int(rows[place]) for place in places]


def recordings_of(
    samples: Sequence[Sample], rows: Sequence[int], modalities: Sequence[Modality]
) -> tuple[list[tuple[Modality, Clip]], int]:
    """Modality and file of the values of samples that are files, of evenly drawn ones where they are many.

    Returns:
        These, and about how many there are in all.
    """
    drawn = draw_evenly(rows)
    values = [
        (modality, value)
        for row in drawn
        for modality in modalities
        for value in samples[row].values.get(modality, ())
        if isinstance(value, Clip)
    ]
    return values, round(len(values) * len(rows) / max(1, len(drawn)))


def _taken_parts(binder: Binder, inputs: Iterable[tuple[Modality, Any]]) -> Iterable[tuple[Any, TakenPart]]:
    for modality, value in inputs:
        clip = Clip(Path(value)) if isinstance(value, str | Path) else value
        try:
            part = find_taken_part(clip, binder.transforms[modality])
        except ValueError:
            continue
        if part is not None:
            yield (value.path if isinstance(value, Clip) else value), part
