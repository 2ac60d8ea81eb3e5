"""Decoding of a table's rows into columns of samples: what a row means is said by `RowReader`, once and for all.

Here the same is worked out for whole columns, for rows whose cells leave no doubt; every other row goes through
`RowReader` itself, so that values, warnings and errors are its own.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bind.data.hashes import string_bytes
from bind.data.sources.arrow_rows import RowBatch
from bind.data.sources.cells import CLOCKS, RowReader
from bind.data.sources.sample_table import (
    CLOCK,
    END,
    OTHER_SPLIT,
    SPLITS,
    START,
    VECTOR,
    batch_of_samples,
    list_lengths,
    sample_schema,
    validity,
)
from bind.media.text import INVISIBLE, MISSING_WORDS
from bind.types import Modality

WHITESPACE = "".join(chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace())
"""What `str.strip` takes away."""
SAYS_SOMETHING = (
    r"(?:[A-Za-z0-9][^A-Za-z0-9]*){5}"  # no word for nothing has so many, and none of these is ever taken away
    r"|[\x{0590}-\x{0fff}\x{3040}-\x{d7ff}]"  # letters that no mended text loses
    r"|[\x{0430}-\x{044f}]{2}|[\x{03b1}-\x{03c9}]{2}"  # two of these are no text that was read in a wrong encoding
)
DOUBTFUL = r"[&\x1b]"
MAX_EXACT = 2.0**53


@dataclass
class _Items:
    """The texts of a column of N rows, `counts` (N,) of each row, and the rows that are read here, bool (N,)."""

    counts: np.ndarray
    items: Any
    is_plain: np.ndarray

    def rows(self) -> np.ndarray:
        """The row of each item."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def keep(self, kept: np.ndarray) -> _Items:
        """Without the other items."""
        if kept.all():
            return self
        counts = np.bincount(self.rows()[kept], minlength=len(self.counts))
        return _Items(counts, self.items.filter(pa.array(kept)), self.is_plain)

    def doubt(self, doubtful: np.ndarray) -> None:
        """Leave the rows of these items to `RowReader`."""
        if doubtful.any():
            self.is_plain[self.rows()[doubtful]] = False


class BatchDecoder:
    """Decoder of the rows of one table.

    Args:
        reader: of its rows.
        columns: the table's columns.
        faults: where they are noted, rows that make no sample are left out: the number of the row, and why.

    Attributes:
        schema: of the batches that it gives.
        first_silent_row: the first row with a caption that says nothing.
        num_rows: rows so far.
        other_splits: those that are never loaded, and how many rows each has.
    """

    def __init__(self, reader: RowReader, columns: list[str], faults: list[tuple[int, str]] | None = None) -> None:
        self.reader, self.faults = reader, faults
        extra = [m + end for m in reader.modalities if m != "text" for end in (START, END, CLOCK) if m + end in columns]
        self.schema = sample_schema(reader.modalities, extra, reader.vectors)
        self.num_rows = 0
        self.other_splits: Counter[str] = Counter()
        self.first_silent_row: int | None = None

    def decode(self, rows: RowBatch) -> pa.RecordBatch:
        """Columns of these rows.

        Raises:
            ValueError: for a row that makes no sample, unless `faults` are noted; its place is not named.
        """
        if isinstance(rows, list):
            batch, _ = self._read(rows, np.arange(len(rows)))
        else:
            batch, is_plain = self._decode_columns(rows)
            if not is_plain.all():
                others = np.flatnonzero(~is_plain)
                read, others = self._read(rows.take(pa.array(others)).to_pylist(), others)
                plain = np.flatnonzero(is_plain)
                order = np.argsort(np.concatenate([plain, others]), kind="stable")
                batch = pa.concat_batches([batch.take(pa.array(plain)), read]).take(pa.array(order))
        self.num_rows += len(rows)
        return batch

    def _read(self, rows: list[dict[str, Any]], places: np.ndarray) -> tuple[pa.RecordBatch, np.ndarray]:
        """Columns of rows that are read one by one, and the places of these rows."""
        samples, is_read = [], np.ones(len(rows), bool)
        for number, (place, cells) in enumerate(zip(places.tolist(), rows, strict=True)):
            try:
                samples.append(self.reader.sample("", cells))
            except ValueError as error:
                if self.faults is None:
                    raise
                self.faults.append((self.num_rows + place, str(error)))
                is_read[number] = False
                continue
            if samples[-1].split not in SPLITS:
                self.other_splits[samples[-1].split] += 1
            if self.first_silent_row is None and self.reader.num_missing_captions:
                self.first_silent_row = self.num_rows + place
        return batch_of_samples(samples, self.schema, self.reader.text_of_path), places[is_read]

    def _decode_columns(self, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        """Columns of the rows, and which of them they are right for, bool (N,)."""
        is_plain = np.ones(rows.num_rows, bool)
        columns: dict[str, Any] = {}
        for name in ("key", "split", "group", "label"):
            columns[name] = self._single_texts(rows, name, is_plain)
        is_plain &= validity(columns["key"]) & validity(columns["split"])
        splits, columns["split"] = columns["split"], _split_codes(columns["split"])
        owners = self._texts(rows, "owner")
        if len(owners.items):
            owners.items = compose_names(_whole_numbers(owners.items))
        is_plain &= owners.is_plain
        columns["owner"] = _lists(owners.counts, owners.items, missing=False)
        for modality in self.reader.modalities:
            if modality in self.reader.vectors:
                columns[modality] = _vectors(_column(rows, modality))
                continue
            values = self._texts(rows, modality)
            if modality == "text":
                values = _captions(values)
            else:
                self._add_spans(rows, modality, values, columns)
            is_plain &= values.is_plain
            columns[modality] = _lists(values.counts, values.items, missing=True)
        is_other = is_plain & (columns["split"].to_numpy() == OTHER_SPLIT)
        if is_other.any():
            for count in splits.filter(pa.array(is_other)).value_counts().to_pylist():
                self.other_splits[count["values"]] += count["counts"]
        return pa.record_batch([columns[name] for name in self.schema.names], schema=self.schema), is_plain

    def _single_texts(self, rows: pa.RecordBatch, name: str, is_plain: np.ndarray) -> Any:
        column = _column(rows, name)
        texts, understood = _as_texts(column)
        is_plain &= understood
        texts = compose_names(_strip(texts))
        if name in ("group", "label"):
            texts = _whole_numbers(texts)
        empty = (_lengths(texts) == 0) & validity(texts)
        return pc.if_else(pa.array(empty), pa.scalar(None, pa.string()), texts) if empty.any() else texts

    def _texts(self, rows: pa.RecordBatch, name: str) -> _Items:
        """The texts of every row of a column, stripped, without those that are blank."""
        column = _column(rows, name)
        counts, values, understood = _as_lists(column, self.reader.separator)
        texts, items_understood = _as_texts(values)
        items = _Items(counts, _strip(texts), understood)
        items.doubt(~items_understood)
        items = items.keep(validity(items.items) & (_lengths(items.items) > 0))
        if self.reader.separator:
            items.doubt(_first_bytes(items.items) == ord("["))  # perhaps a list that was written as text
        return items

    def _add_spans(self, rows: pa.RecordBatch, modality: Modality, files: _Items, columns: dict[str, Any]) -> None:
        times = {}
        for name in (START, END):
            times[name] = np.full(len(files.items), np.nan)
            if modality + name in self.schema.names:
                self._read_times(rows, modality + name, files, times[name])
                offsets = _lists(files.counts, pa.array(times[name]), missing=True)
                columns[modality + name] = offsets
        with np.errstate(invalid="ignore"):
            files.doubt(times[END] <= np.nan_to_num(times[START]))
        if modality + CLOCK in self.schema.names:
            clocks = self._single_texts(rows, modality + CLOCK, files.is_plain)
            codes = pc.fill_null(pc.index_in(clocks, pa.array(CLOCKS)), -1).to_numpy()
            files.is_plain &= (codes >= 0) | ~validity(clocks)
            # A row without the modality has no clock either.
            columns[modality + CLOCK] = pa.array(codes == 1, mask=files.counts == 0)

    def _read_times(self, rows: pa.RecordBatch, name: str, files: _Items, times: np.ndarray) -> None:
        """Fill in the seconds of every file."""
        column = _column(rows, name)
        counts, values, understood = _as_lists(column, "|")
        files.is_plain &= understood
        if pa.types.is_string(values.type) and not _holds_lists(column):
            has_text = validity(values) & (
                (_lengths(values) > 0) | (counts[np.repeat(np.arange(len(counts)), counts)] > 1)
            )
            items = _Items(counts, values, files.is_plain).keep(has_text)
            if self.reader.has_decimal_commas:
                items.items = pc.replace_substring_regex(items.items, r"^\s*([0-9]+),([0-9]+)\s*$", r"\1.\2")
            is_number = pc.match_substring_regex(items.items, r"^[0-9]+(\.[0-9]+)?$")
            numbers = pc.if_else(is_number, items.items, pa.scalar("0")).cast(pa.float64()).to_numpy()
            doubtful = ~is_number.to_numpy(zero_copy_only=False) | ~np.isfinite(numbers)
        elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            items = _Items(counts, values, files.is_plain)
            is_there = validity(values)
            if not _holds_lists(column):
                items, is_there = items.keep(is_there), np.ones(int(is_there.sum()), bool)
            numbers = items.items.cast(pa.float64()).to_numpy(zero_copy_only=False)
            with np.errstate(invalid="ignore"):
                doubtful = ~is_there | ~(np.isfinite(numbers) & (numbers >= 0))
        else:
            items = _Items(counts, values, files.is_plain)
            doubtful, numbers = np.ones(len(values), bool), np.zeros(len(values))
        items.doubt(doubtful)
        fits = items.counts == files.counts
        files.is_plain &= fits | (items.counts == 0) & ~_is_list(column)
        times[np.repeat(fits & (items.counts > 0), files.counts)] = numbers[np.repeat(fits, items.counts)]


def _vectors(column: Any) -> pa.ListArray:
    """A list of one vector for every list of numbers, null where there is none."""
    vectors = column.cast(VECTOR)
    is_there = list_lengths(vectors) > 0
    offsets = np.concatenate([[0], np.cumsum(is_there)]).astype(np.int32)
    values = vectors.filter(pa.array(is_there))
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(~is_there))


def _is_list(column: Any) -> np.ndarray:
    """Bool (N,): the cells that hold lists."""
    return validity(column) if _holds_lists(column) else np.zeros(len(column), bool)


def _holds_lists(column: Any) -> bool:
    return bool(pa.types.is_list(column.type) or pa.types.is_large_list(column.type))


def _column(rows: pa.RecordBatch, name: str) -> Any:
    """A column, without dictionaries and wide offsets; nulls where the table has none of this name."""
    place = rows.schema.get_field_index(name)
    if place < 0:
        return pa.nulls(rows.num_rows, pa.string())
    column = rows.column(place)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type) or pa.types.is_large_string(column.type) or column.type == pa.string_view():
        return column.cast(pa.string())
    return column


def _as_texts(values: Any) -> tuple[Any, np.ndarray]:
    """Texts and whole numbers as strings, null where there is none, and which values are such, bool (N,)."""
    if pa.types.is_null(values.type) or pa.types.is_large_string(values.type):
        values = values.cast(pa.string())
    understood = np.ones(len(values), bool)
    if pa.types.is_string(values.type):
        return values, understood
    if pa.types.is_integer(values.type):
        return values.cast(pa.string()), understood
    if pa.types.is_floating(values.type):
        numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore"):
            is_whole = (numbers == np.floor(numbers)) & (np.abs(numbers) < MAX_EXACT)
        is_missing = np.isnan(numbers)
        whole = pa.array(np.where(is_whole, numbers, 0).astype(np.int64), mask=is_missing)
        return whole.cast(pa.string()), is_whole | is_missing
    return pa.nulls(len(values), pa.string()), ~validity(values)


def _as_lists(column: Any, separator: str | None) -> tuple[np.ndarray, Any, np.ndarray]:
    """Number of values of each cell (N,), all values, and which cells are understood, bool (N,)."""
    if pa.types.is_string(column.type) and separator and (string_bytes(column)[0] == ord(separator)).any():
        column = pc.split_pattern(column, separator)
    if _holds_lists(column):
        return list_lengths(column), column.flatten(), np.ones(len(column), bool)
    return np.ones(len(column), np.int64), column, np.ones(len(column), bool)


def _lengths(texts: Any) -> np.ndarray:
    return string_bytes(texts)[2]


def _first_bytes(texts: Any) -> np.ndarray:
    """The first byte (N,) of every text, 0 of an empty one."""
    return _edge_bytes(texts)[0]


def _edge_bytes(texts: Any) -> tuple[np.ndarray, np.ndarray]:
    content, starts, lengths = string_bytes(texts)
    if not len(content):
        return np.zeros(len(lengths), np.uint8), np.zeros(len(lengths), np.uint8)
    firsts = content[np.minimum(starts, len(content) - 1)]
    lasts = content[np.maximum(starts + lengths - 1, 0)]
    return np.where(lengths > 0, firsts, 0), np.where(lengths > 0, lasts, 0)


def _strip(texts: Any, characters: str = WHITESPACE) -> Any:
    """`str.strip` of every text."""
    firsts, lasts = _edge_bytes(texts)
    is_letter = (firsts > 0x20) & (firsts < 0x7F) & (lasts > 0x20) & (lasts < 0x7F)
    return texts if is_letter.all() else pc.utf8_trim(texts, characters=characters)


def _whole_numbers(texts: Any) -> Any:
    """`1.0` as `1`, see `cells`."""
    if not (_edge_bytes(texts)[1] == ord("0")).any():
        return texts
    return pc.replace_substring_regex(texts, r"^([+-]?[0-9]+)\.0+$", r"\1")


def compose_names(texts: Any) -> Any:
    """The names of an Arrow array in Unicode's composed form."""
    return pc.utf8_normalize(texts, form="NFC") if (string_bytes(texts)[0] > 0x7F).any() else texts


def _split_codes(splits: Any) -> pa.Array:
    return pc.fill_null(pc.index_in(splits, pa.array(SPLITS)), OTHER_SPLIT).cast(pa.int8())


def _captions(values: _Items) -> _Items:
    """Captions as `read_caption` gives them; rows with one that may say nothing are left to `RowReader`."""
    values.items = _strip(values.items, WHITESPACE + INVISIBLE)
    if not len(values.items):
        return values
    is_ascii = _are_plain(values.items)
    longest = max(map(len, MISSING_WORDS))
    short = np.flatnonzero(_lengths(values.items) <= longest)
    words = pc.utf8_lower(values.items.take(pa.array(short)))
    is_nothing = pc.is_in(words, pa.array(sorted(MISSING_WORDS))).to_numpy(zero_copy_only=False)
    doubtful = np.zeros(len(is_ascii), bool)
    doubtful[short] = is_nothing
    others = np.flatnonzero(~is_ascii)
    if len(others):
        texts = values.items.take(pa.array(others))
        says = pc.match_substring_regex(texts, SAYS_SOMETHING).to_numpy(zero_copy_only=False)
        doubtful[others] |= ~says | pc.match_substring_regex(texts, DOUBTFUL).to_numpy(zero_copy_only=False)
    values.doubt(doubtful)
    return values


def _are_plain(texts: Any) -> np.ndarray:
    """Bool (N,): the texts of letters that `clean_text` leaves alone, which are not empty."""
    content, starts, lengths = string_bytes(texts)
    plain = lengths > 0
    is_other = (content < 0x20) | (content > 0x7E) | (content == ord("&"))
    if is_other.any():
        plain[plain] = ~np.logical_or.reduceat(is_other, starts[plain])
    return plain


def _lists(counts: np.ndarray, items: Any, *, missing: bool) -> pa.ListArray:
    """Lists of so many of the items each; `missing` says that an empty one is null."""
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    mask = pa.array(counts == 0) if missing else None
    return pa.ListArray.from_arrays(pa.array(offsets), items, mask=mask)
