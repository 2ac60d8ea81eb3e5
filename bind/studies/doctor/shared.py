"""Faults of groups: values shared without a common one, which are false negatives of the loss, and one group only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from bind.data.shared_values import MAX_CLASHING_SHARE, SharedValues, number_groups
from bind.data.sources.sample_columns import key_column
from bind.data.sources.sample_table import SPLITS, SampleTable
from bind.studies.doctor.captions import number_captions
from bind.studies.doctor.clip_uses import ClipUses
from bind.studies.doctor.duplicates import describe_span
from bind.studies.doctor.findings import Finding, FindingKind
from bind.types import Modality

BATCH_SIZE = 64
"""The default batch, in which samples are each other's negatives."""

REMEDY = "give samples that mean the same one `group`: they are negatives now"
SHARED_CAPTION = FindingKind("caption shared without a group", 1.0, REMEDY)
SHARED_FILE = FindingKind("file shared without a group", 1.0, REMEDY)
ONE_GROUP = FindingKind("all samples in one group", 0.0, "samples of a group are no negatives: the loss has none left")


def check_groups(samples: SampleTable, uses: ClipUses) -> tuple[list[Finding], dict[Modality, float]]:
    """Values that training samples of different groups share, and the share of rows that have theirs as a negative.

    That share is of a batch of 64 drawn at random, of each modality with such values. A stretch of a file is a value of
    its own; captions are equal but for case and punctuation.
    """
    is_train_N = samples.split_codes() == SPLITS.index("train")
    train_rows = np.flatnonzero(is_train_N)
    train = samples.at(train_rows)
    groups_N = number_groups(train)
    if len(train) > 1 and not groups_N.any():
        return [Finding(ONE_GROUP, "", str(train[0].group), f"{len(train)} samples", (train[0].key,))], {}
    captions_V, rows_V, texts = number_captions(train)
    shared = SharedValues.find(captions_V, rows_V, groups_N)
    findings, share = _name_clashes(
        shared, train, SHARED_CAPTION, "text", lambda place: (repr(texts[place].as_py()), "")
    )
    shares = {"text": share} if share else {}
    places_N = np.cumsum(is_train_N) - 1
    for modality in uses.modalities:
        stretches_V, all_rows_V, clips_V = uses.stretches(modality)
        in_train = is_train_N[all_rows_V]
        shared = SharedValues.find(stretches_V[in_train], places_N[all_rows_V[in_train]], groups_N)
        clips_V = clips_V[in_train]

        def name(place: int, clips_V: np.ndarray = clips_V) -> tuple[str, str]:
            return uses.name(uses.files_C[clips_V[place]]), describe_span(uses.clip(clips_V[place]))

        of_modality, share = _name_clashes(shared, train, SHARED_FILE, modality, name)
        findings += of_modality
        shares |= {modality: share} if share else {}
    return findings, shares


def _name_clashes(
    shared: SharedValues,
    train: SampleTable,
    kind: FindingKind,
    modality: Modality,
    name: Callable[[int], tuple[str, str]],
) -> tuple[list[Finding], float]:
    """A finding for each shared value, those of most samples first, where more rows than may pass meet theirs."""
    share = shared.share_of_rows(BATCH_SIZE)
    if share <= MAX_CLASHING_SHARE:
        return [], share
    findings, keys = [], key_column(train)
    for place, rows, num_groups in shared.clashes():
        value, part = name(place)
        detail = f"{len(rows)} samples, {num_groups} groups"
        findings.append(Finding(kind, modality, value, detail, tuple(keys.take(pa.array(rows)).to_pylist()), part))
    return sorted(findings, key=lambda finding: -len(finding.keys)), share
