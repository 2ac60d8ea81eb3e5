"""The rows of a manifest, all that can be read, and what is wrong between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bind.data.manifest import SPLITS, RowReader, modality_columns
from bind.data.rows import read_rows
from bind.data.splits import shared_owners, shared_spans
from bind.studies.doctor.findings import Finding, Kind
from bind.types import Sample

BAD_ROW = Kind("row that can't be read", 0.0, "correct the row")
REPEATED_KEY = Kind("repeated key", 0.0, "give every row its own key")
NO_MODALITY = Kind("row without any modality", 0.0, "fill a cell or delete the row")
OTHER_SPLIT = Kind(
    "split that is never loaded", 1.0, f"rename the split to {', '.join(SPLITS)}, or leave it out on purpose"
)
SHARED_OWNER = Kind("owner in two splits", 0.0, "move all rows of an owner into one split")
SHARED_SPAN = Kind("overlap in time between splits", 0.0, "keep a file's spans in one split, or let them only touch")
MISSING = Kind("missing file", 0.0, "paths are relative to the manifest: correct them or add the file")


def read_samples(manifest: Path) -> tuple[list[Sample], list[Finding]]:
    """The samples of `train`, `val` and `test` that can be read, and what is wrong with the others.

    Raises:
        ValueError: a file that is no table, or whose columns are not those of a manifest: nothing else can be told.
    """
    columns, rows = read_rows(manifest)
    reader = RowReader(manifest, modality_columns(manifest, columns))
    samples, findings = [], []
    for place, cells in rows:
        try:
            samples.append(reader.sample(place, cells))
        except ValueError as error:
            findings.append(Finding(BAD_ROW, "", place, str(error).removeprefix(f"{manifest} {place}").lstrip(": ")))
    counts = Counter(sample.key for sample in samples)
    findings += [Finding(REPEATED_KEY, "", key, f"{n} times", (key,)) for key, n in counts.items() if n > 1]
    others = Counter(sample.split for sample in samples if sample.split not in SPLITS)
    findings += [Finding(OTHER_SPLIT, "", split, f"{n} row(s)") for split, n in others.items()]
    loaded = [sample for sample in samples if sample.split in SPLITS]
    findings += [Finding(NO_MODALITY, "", s.key, s.split, (s.key,)) for s in loaded if not s.values]
    return loaded, findings


def between_splits(samples: Sequence[Sample]) -> list[Finding]:
    """Owners in two splits, and stretches of a file that two splits read."""
    owners = [
        Finding(SHARED_OWNER, "", owner, _by_split(keys), tuple(keys.values()))
        for owner, keys in shared_owners(samples).items()
    ]
    spans = [
        Finding(SHARED_SPAN, "", path, _by_split(keys), tuple(keys.values())) for path, keys in shared_spans(samples)
    ]
    return owners + spans


def _by_split(keys: dict[str, str]) -> str:
    return ", ".join(f"{split}: key {key!r}" for split, key in keys.items())
