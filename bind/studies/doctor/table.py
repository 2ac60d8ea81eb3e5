"""The rows of a manifest that can be read, and the faults of the others and between them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bind.data.sources.arrow_rows import TableReader
from bind.data.sources.cells import RowReader
from bind.data.sources.rows import read_rows
from bind.data.sources.sample_table import SPLITS
from bind.data.sources.splits import shared_owners, shared_spans
from bind.studies.doctor.duplicates import name_in_manifest
from bind.studies.doctor.findings import Finding, FindingKind
from bind.types import Clip, Modality, Sample

BAD_ROW = FindingKind("row that can't be read", 0.0, "correct the row")
REPEATED_KEY = FindingKind("repeated key", 0.0, "give every row its own key")
NO_MODALITY = FindingKind("row without any modality", 0.0, "fill a cell or delete the row")
OTHER_SPLIT = FindingKind(
    "split that is never loaded", 1.0, f"rename the split to {', '.join(SPLITS)}, or leave it out on purpose"
)
SHARED_OWNER = FindingKind("owner in two splits", 0.0, "move all rows of an owner into one split")
SHARED_SPAN = FindingKind(
    "overlap in time between splits", 0.0, "keep a file's spans in one split, or let them only touch"
)
SHARED_FILE = FindingKind(
    "file that two splits use",
    0.0,
    "training refuses it: queries would be scored against what encoders were trained towards. Split by this file, give "
    "each split files of its own and rows that mean the same one `group`, or name its modality in evaluation.known",
)
ONE_OWNER = FindingKind(
    "split of a single owner", 1.0, "its figures say nothing about other owners: give the split rows of several"
)
MISSING = FindingKind("missing file", 0.0, "paths are relative to the manifest: correct them or add the file")


def read_samples(manifest: Path) -> tuple[list[Sample], list[Finding]]:
    """The samples of `train`, `val` and `test` that can be read, and what is wrong with the others.

    Raises:
        ValueError: a file that is no table, or whose columns are not those of a manifest.
    """
    columns, rows = read_rows(manifest)
    vectors = TableReader.open(manifest).vectors if manifest.suffix.lower() == ".parquet" else ()
    reader = RowReader(manifest, columns, vectors)
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


def check_splits(samples: Sequence[Sample], folder: Path, known: Sequence[Modality] = ()) -> list[Finding]:
    """Owners in two splits, files and stretches of files that two splits read, and splits of a single owner."""
    findings = [
        Finding(SHARED_OWNER, "", owner, _keys_by_split(keys), tuple(keys.values()))
        for owner, keys in shared_owners(samples).items()
    ]
    clips = [value for s in samples for values in s.values.values() for value in values if isinstance(value, Clip)]
    cut = {str(clip.path) for clip in clips if (clip.start_seconds, clip.end_seconds) != (None, None)}
    cut = {os.path.realpath(path) for path in cut}
    whole: dict[str, dict[str, str]] = {}
    for path, keys in shared_spans(samples, known):
        name = name_in_manifest(path, folder.resolve())
        if path in cut:
            findings.append(Finding(SHARED_SPAN, "", name, _keys_by_split(keys), tuple(keys.values())))
        else:
            whole.setdefault(name, {}).update(keys)
    findings += [
        Finding(SHARED_FILE, "", name, _keys_by_split(keys), tuple(keys.values())) for name, keys in whole.items()
    ]
    for split in ("val", "test"):
        owners = [set(sample.owners) for sample in samples if sample.split == split]
        if len(owners) > 1 and (common := set.intersection(*owners)):
            findings.append(Finding(ONE_OWNER, "", split, f"all {len(owners)} rows are of {min(common)!r}"))
    return findings


def _keys_by_split(keys: dict[str, str]) -> str:
    return ", ".join(f"{split}: key {key!r}" for split, key in keys.items())
