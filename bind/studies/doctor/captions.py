"""Faults of captions: shared without a common group, so false negatives of the loss, and cut by the text tower."""

from __future__ import annotations

import re
from collections.abc import Iterator
from textwrap import shorten
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.numbering import number_rows, number_strings
from bind.data.sources.sample_columns import key_column
from bind.data.sources.sample_table import SPLITS, SampleTable
from bind.studies.doctor.findings import Finding, FindingKind
from bind.types import Anchor, CuttingTransform

BATCH_SIZE = 64
"""The default batch, in which samples are each other's negatives."""
MAX_CLASHING_SHARE = 0.01
"""Share of rows that may have their own caption as a negative in a batch. Such a row is pulled to and pushed from the
same text; one in a hundred is the share of damaged files that the data scripts let pass."""

SHARED_CAPTION = FindingKind(
    "caption shared without a group", 1.0, "give samples that mean the same one `group`: they are negatives now"
)
ONE_GROUP = FindingKind("all samples in one group", 0.0, "samples of a group are no negatives: the loss has none left")


CUT_CAPTION = FindingKind(
    "caption longer than the text tower takes",
    1.0,
    "what stands behind the cut is not seen: shorten or split them, or choose an anchor that takes more tokens",
)
EXAMPLE_LENGTH = 80
BLOCK_TEXTS, BLOCK_ROWS = 1024, 2**17
NEVER_CUT_BYTES = 20
"""No text tower is too short for captions of so few bytes, whose tokens are no more."""


def normalise_caption(caption: str) -> str:
    """A caption without case, punctuation and repeated blanks."""
    return " ".join(re.findall(r"\w+", caption.casefold()))


def check_cut_captions(samples: SampleTable, anchor: str | Anchor) -> list[Finding]:
    """One finding for all captions that have more tokens than the text tower of `anchor` takes, if it has one."""
    from bind.studies.doctor.anchor import load_anchor

    transform: Any = None
    cut_rows: list[int] = []
    example = ""
    for rows, texts in _long_texts(samples):
        transform = transform or load_anchor(anchor).transforms.get("text")
        if not isinstance(transform, CuttingTransform):
            return []
        if cut := set(transform.find_cut(texts)):
            of_cut = [(row, text) for row, text in zip(rows, texts, strict=True) if text in cut]
            example = example or of_cut[0][1]
            cut_rows += [row for row, _ in of_cut]
    if not cut_rows:
        return []
    keys = dict.fromkeys(key_column(samples).take(pa.array(cut_rows)).to_pylist())
    numbers = f"{len(cut_rows)} of {samples.count_values('text')} captions"
    detail = f"{numbers} have more than the {transform.max_tokens} tokens of {load_anchor(anchor).name}"
    return [Finding(CUT_CAPTION, "text", repr(shorten(example, EXAMPLE_LENGTH, placeholder=" …")), detail, tuple(keys))]


def _long_texts(samples: SampleTable) -> Iterator[tuple[list[int], list[str]]]:
    """The sample and the text of captions that may be cut, in parts."""
    for rows, texts in samples.flat_values("text") if "text" not in samples.vectors else ():
        is_long = pc.binary_length(texts).to_numpy() > NEVER_CUT_BYTES
        long_rows, long_texts = rows[is_long], texts.filter(pa.array(is_long))
        for start in range(0, len(long_rows), BLOCK_TEXTS):
            part = slice(start, start + BLOCK_TEXTS)
            yield long_rows[part].tolist(), long_texts[part].to_pylist()


def check_captions(samples: SampleTable) -> tuple[list[Finding], float]:
    """Captions that training samples of different groups share, and the share of rows that have theirs as a negative.

    That share is of a batch of 64 drawn at random: each other row is a false negative with the probability that it has
    one of the row's captions and another group.
    """
    train = samples.at(np.flatnonzero(samples.split_codes() == SPLITS.index("train")))
    groups_N = _number_groups(train)
    if len(train) > 1 and not groups_N.any():
        return [Finding(ONE_GROUP, "", str(train[0].group), f"{len(train)} samples", (train[0].key,))], 0.0
    rows_V, texts = _texts(train)
    captions_V = _number_captions(texts)
    order_V = np.lexsort((rows_V, captions_V))
    changes = (np.diff(captions_V[order_V]) != 0) | (np.diff(rows_V[order_V]) != 0)
    last_H = order_V[np.append(changes, True)[: len(order_V)]]  # a caption and one sample that has it, by captions
    captions_H, rows_H = captions_V[last_H], rows_V[last_H]
    pairs_H, first_P = number_rows(captions_H, groups_N[rows_H])
    captions_P, sizes_P = captions_H[first_P], np.bincount(pairs_H)
    totals_C = np.bincount(captions_H)
    clashes_C = totals_C**2 - np.bincount(captions_P, sizes_P.astype(np.float64) ** 2).astype(np.int64)
    if not clashes_C.any():
        return [], 0.0
    others = min(BATCH_SIZE, len(train)) - 1
    chance = min(1.0, int(clashes_C.sum()) / (len(train) * (len(train) - 1)))
    share = 1 - (1 - chance) ** others
    if share <= MAX_CLASHING_SHARE:
        return [], share
    findings, keys = [], key_column(train)
    starts_C = np.append(0, np.cumsum(totals_C))
    for caption in np.flatnonzero(clashes_C).tolist():
        holders = slice(starts_C[caption], starts_C[caption + 1])
        rows, pairs = rows_H[holders], pairs_H[holders]  # pairs are numbered as they first occur
        in_groups = rows[np.argsort(pairs, kind="stable")]
        wording, num_groups = repr(texts[int(last_H[holders.start])].as_py()), len(np.unique(pairs))
        detail = f"{len(rows)} samples, {num_groups} groups"
        findings.append(
            Finding(SHARED_CAPTION, "text", wording, detail, tuple(keys.take(pa.array(in_groups)).to_pylist()))
        )
    return sorted(findings, key=lambda finding: -len(finding.keys)), share


def _number_groups(samples: SampleTable) -> np.ndarray:
    """The number (N,) of the group of every sample; one without is a group of its own."""
    names = [pa.array([], pa.large_string())]
    for part in samples.parts(["key", "group"]):
        keys = pc.binary_join_element_wise("key:", part.column(0), "")
        groups = pc.binary_join_element_wise("group:", part.column(1), "")
        names.append(pc.coalesce(groups, keys).cast(pa.large_string()))
    return number_strings(pa.concat_arrays(names))[0]


def _texts(samples: SampleTable) -> tuple[np.ndarray, pa.Array]:
    """The sample (V,) of every caption, and the captions."""
    rows, texts = [np.zeros(0, np.int64)], [pa.array([], pa.large_string())]
    for rows_of_part, of_part in samples.flat_values("text") if "text" not in samples.vectors else ():
        rows.append(rows_of_part)
        texts.append(of_part.cast(pa.large_string()))
    return np.concatenate(rows), pa.concat_arrays(texts)


def _number_captions(texts: pa.Array) -> np.ndarray:
    """The number (V,) of every text, one for those that `normalise_caption` makes equal, in the order of the first."""
    numbers_V, first = number_strings(texts)
    distinct = texts if len(first) == len(texts) else texts.take(pa.array(first))
    captions = [_normalise(distinct[start : start + BLOCK_ROWS]) for start in range(0, len(distinct), BLOCK_ROWS)]
    numbers_of_distinct, _ = number_strings(pa.concat_arrays([distinct[:0], *captions]))
    numbers: np.ndarray = numbers_of_distinct[numbers_V]
    return numbers


def _normalise(texts: pa.Array) -> pa.Array:
    """`normalise_caption` of every text."""
    words = pc.replace_substring_regex(pc.ascii_lower(texts), "[^a-z0-9_]+", " ")
    captions = pc.ascii_trim_whitespace(words)
    is_other = pc.invert(pc.string_is_ascii(texts))
    if pc.any(is_other).as_py():
        others = [normalise_caption(text) for text in texts.filter(is_other).to_pylist()]
        captions = pc.replace_with_mask(captions, is_other, pa.array(others, pa.large_string()))
    return captions
