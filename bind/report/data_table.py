"""The table of a run's data: samples, classes and owners of each split and modality."""

from __future__ import annotations

from collections.abc import Mapping

from bind.data.counts import MAX_COUNTED, Counts
from bind.report.cells import MISSING, Cells, without_empty_columns
from bind.types import Modality


def data_cells(counts: Mapping[str, Mapping[Modality | None, Counts]], modalities: tuple[Modality, ...]) -> Cells:
    """A section for each split, a row for each of `modalities` in it; what the data say nothing of has no column.

    Modalities with equal numbers share a row; it says "all" where some samples have none of them.
    """
    sections: dict[str, list[tuple[str, ...]]] = {}
    for split, of_split in counts.items():
        names: dict[tuple[str, ...], list[str]] = {_numbers(of_split[None]): []}
        for modality in (m for m in modalities if m in of_split):
            names.setdefault(_numbers(of_split[modality]), []).append(modality)
        sections[split] = [(", ".join(of_row) or "all", *numbers) for numbers, of_row in names.items()]
    notes = ["classes: different labels"]
    if any(c.owners for of_split in counts.values() for c in of_split.values()):
        notes.append("owners: where samples come from, none is in two splits")
    if any(of_split[None].num_samples > MAX_COUNTED for of_split in counts.values()):
        notes.append(f"of a split of more than {MAX_COUNTED:,} samples only their number")
    cells = Cells("Data", "; ".join(notes), ("split, modality", "samples", "classes", "owners", "groups"), sections)
    return without_empty_columns(cells)


def _numbers(counts: Counts) -> tuple[str, ...]:
    sets = (counts.labels, counts.owners, counts.groups)
    return (f"{counts.num_samples:,}", *(MISSING if not each else f"{len(each):,}" for each in sets))
