"""Captions: those that the text tower cuts, and which are one but for case and punctuation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from textwrap import shorten
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.numbering import number_strings
from bind.data.sources.sample_columns import key_column
from bind.data.sources.sample_table import SampleTable
from bind.studies.doctor.findings import Finding, FindingKind
from bind.types import Anchor, CuttingTransform

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


def number_captions(samples: SampleTable) -> tuple[np.ndarray, np.ndarray, pa.Array]:
    """Of every caption (V,) its number, one for those that `normalise_caption` makes equal, its sample and its text."""
    rows, parts = [np.zeros(0, np.int64)], [pa.array([], pa.large_string())]
    for rows_of_part, of_part in samples.flat_values("text") if "text" not in samples.vectors else ():
        rows.append(rows_of_part)
        parts.append(of_part.cast(pa.large_string()))
    texts = pa.concat_arrays(parts)
    numbers_V, first = number_strings(texts)
    distinct = texts if len(first) == len(texts) else texts.take(pa.array(first))
    captions = [_normalise(distinct[start : start + BLOCK_ROWS]) for start in range(0, len(distinct), BLOCK_ROWS)]
    numbers_of_distinct, _ = number_strings(pa.concat_arrays([distinct[:0], *captions]))
    return numbers_of_distinct[numbers_V], np.concatenate(rows), texts


def _normalise(texts: pa.Array) -> pa.Array:
    """`normalise_caption` of every text."""
    words = pc.replace_substring_regex(pc.ascii_lower(texts), "[^a-z0-9_]+", " ")
    captions = pc.ascii_trim_whitespace(words)
    is_other = pc.invert(pc.string_is_ascii(texts))
    if pc.any(is_other).as_py():
        others = [normalise_caption(text) for text in texts.filter(is_other).to_pylist()]
        captions = pc.replace_with_mask(captions, is_other, pa.array(others, pa.large_string()))
    return captions
