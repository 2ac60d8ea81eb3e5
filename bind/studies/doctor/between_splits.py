"""Faults between splits: owners and files that two of them have, and a split of a single owner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.hashes import shared_hashes
from bind.data.sources.file_identities import FileIdentities
from bind.data.sources.sample_table import SPLITS, SampleTable, flatten_lists
from bind.data.sources.splits import owner_suspects, shared_owners, shared_spans
from bind.studies.doctor.clip_uses import ClipUses
from bind.studies.doctor.duplicates import name_in_manifest
from bind.studies.doctor.findings import Finding, FindingKind
from bind.types import Modality

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


def check_splits(samples: SampleTable, uses: ClipUses, known: Sequence[Modality] = ()) -> list[Finding]:
    """Owners in two splits, files and stretches of files that two splits read, and splits of a single owner."""
    findings = [
        Finding(SHARED_OWNER, "", owner, _keys_by_split(keys), tuple(keys.values()))
        for owner, keys in shared_owners(owner_suspects([samples])).items()
    ]
    findings += _check_files(samples, uses, known)
    for split in ("val", "test"):
        of_split = samples.at(np.flatnonzero(samples.split_codes() == SPLITS.index(split)))
        if len(of_split) > 1 and (owner := _common_owner(of_split)):
            findings.append(Finding(ONE_OWNER, "", split, f"all {len(of_split)} rows are of {owner!r}"))
    return findings


def _check_files(samples: SampleTable, uses: ClipUses, known: Sequence[Modality]) -> list[Finding]:
    rows, identities = uses.rows_by_identity(known)
    codes = samples.split_codes()[rows]
    shared = shared_hashes([identities[codes == code] for code in range(len(SPLITS))])
    suspects = np.unique(rows[np.isin(identities, shared)])
    if not len(suspects):
        return []
    folder = samples.folder.resolve()
    cut = uses.identities_F[uses.files_C[uses.are_cut()]]
    findings: list[Finding] = []
    whole: dict[str, dict[str, str]] = {}
    overlaps = shared_spans(samples.at(suspects), known)
    files = FileIdentities(Path()).of(pa.array([path for path, _ in overlaps], pa.large_string()))[0]
    for (path, keys), is_cut in zip(overlaps, np.isin(files, cut).tolist(), strict=True):
        name = name_in_manifest(path, folder)
        if is_cut:
            findings.append(Finding(SHARED_SPAN, "", name, _keys_by_split(keys), tuple(keys.values())))
        else:
            whole.setdefault(name, {}).update(keys)
    return findings + [
        Finding(SHARED_FILE, "", name, _keys_by_split(keys), tuple(keys.values())) for name, keys in whole.items()
    ]


def _common_owner(samples: SampleTable) -> str:
    """The first by name of the owners of all samples, empty where there is none."""
    for owner in sorted(samples[0].owners):
        for part in samples.parts(["owner"]):
            rows, owners = flatten_lists(part.column(0))
            if len(np.unique(rows[pc.equal(owners, owner).to_numpy(zero_copy_only=False)])) < part.num_rows:
                break
        else:
            return owner
    return ""


def _keys_by_split(keys: dict[str, str]) -> str:
    return ", ".join(f"{split}: key {key!r}" for split, key in keys.items())
