"""Notice that an answer is about a part of a long recording."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bind.data.transforms.taken import find_taken_part
from bind.model.binder import Binder
from bind.terminal import printable
from bind.types import Clip, Modality


def print_taken_parts(binder: Binder, inputs: Sequence[tuple[Modality, Any]]) -> None:
    """Say on stderr, in one line, which part of a file is taken, where that is not all of it.

    Raises:
        ValueError: naming the file that can't be read.
    """
    cut = []
    for modality, value in inputs:
        clip = Clip(Path(value)) if modality != "text" and isinstance(value, str | Path) else value
        part = find_taken_part(clip, binder.transforms[modality])
        if part is not None and part.is_cut:
            cut.append(f"{value}: only a part is taken, {part}")
    if cut:
        others = f", and of {len(cut) - 1:,} more such files" if len(cut) > 1 else ""
        line = f"{cut[0]}{others}. Of whole recordings bindspace timeline says what they are from when to when"
        print(printable(line), file=sys.stderr, flush=True)
