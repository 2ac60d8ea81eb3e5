"""Columns say of every table what reading it row by row says: the same samples, the same warnings, the same faults."""

import csv
import io
import json
import logging
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bind.data.sources.cells import RowReader
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.rows import read_rows
from bind.data.sources.splits import list_some, refuse_shared_owners, refuse_shared_spans

SPLITS = ("train", "val", "test")
TEXTS = ["", " ", "a dog", "dog", "nan", "NaN", "None", "n/a", "\ufeff", "\u200b nan", "&nbsp;", "&nbsp; &nbsp;"]
TEXTS += ["a &amp; b", "ein Hund, groß", "犬", "犬が吠える", "собака", "γάτα", "é", "\x1b[0mnan", "Â\xa0", "[music]"]
TEXTS += ["['a', 'b']", '["a"]', "[a]", "  padded\u3000", "two  blanks", "a|b", "|", "x|", " | a | ", 'said "x"']
TEXTS += ["two\nlines", "\x85nan\x1c", "null "]
OWNERS = ["", "p:1", "p:2", "1.0", "1", "Zo\u00eb", "Zoe\u0308", "p:1|p:2", " p:1 ", "+2.00", "1.50", "[x]"]
PATHS = ["", "a.wav", "b.wav", "./a.wav", "sub/c.wav", "link/c.wav", "gone.wav", "a.wav|b.wav", " b.wav", "sub//c.wav"]
TIMES = ["", "0", "1", "1.5", "2.", " 1", "1e1", "nan", "-1", "0|2", "1|3", "1,5", "soon", "|", "9" * 400, "1_0"]
CLOCKS = ["", "file", "first_row", "midnight", " file "]
KEYS = ["a", "b", "c", "d", "e", "f", " g", "1.0", "", "ü", "u\u0308", "k|l"]


def rare(usual, others):
    """Mostly `usual`, so that whole tables are often right."""
    return st.one_of(st.sampled_from(usual), st.sampled_from(usual), st.sampled_from(others))


def texts_table():
    cells = {
        "key": rare(KEYS[:6], KEYS),
        "split": rare(["train"], ["train", "val", "test", "spare", " val ", ""]),
        "owner": rare(["", "p:1"], OWNERS),
        "group": rare([""], OWNERS),
        "label": st.sampled_from(["", " x ", "y", "\u00e9", "e\u0301"]),
        "text": rare(["a dog", "x"], TEXTS),
        "audio": rare(["a.wav", ""], PATHS),
        "audio_start_seconds": rare(["", "1"], TIMES),
        "audio_end_seconds": rare([""], TIMES),
        "audio_clock": rare([""], CLOCKS),
        "image": rare([""], PATHS),
    }
    columns = st.sets(st.sampled_from(list(cells)[2:])).map(
        lambda chosen: [
            name
            for name in cells
            if name in {"key", "split", "text", *chosen}
            or (name == "audio" and any(c.startswith("audio") for c in chosen))
        ]
    )
    return columns.flatmap(
        lambda names: st.lists(st.fixed_dictionaries({n: cells[n] for n in names}), min_size=1, max_size=6)
    )


NUMBERS = st.one_of(st.integers(-2, 3), st.sampled_from([1.0, 1.5, float("nan"), 2.0**60, None, True]))
LISTS = st.lists(st.one_of(st.sampled_from(["a.wav", "b.wav", "", " "]), st.none()), max_size=3)
JSON_CELLS = {
    "key": st.one_of(rare(KEYS[:6], KEYS), NUMBERS),
    "split": rare(["train"], ["train", "val", "spare", ""]),
    "owner": st.one_of(st.sampled_from(OWNERS), NUMBERS, LISTS, st.lists(st.integers(0, 2), max_size=2)),
    "group": st.one_of(st.sampled_from(OWNERS), NUMBERS),
    "text": st.one_of(rare(["a dog"], TEXTS), LISTS, st.lists(st.sampled_from(TEXTS), max_size=2)),
    "audio": st.one_of(rare(["a.wav"], PATHS), LISTS),
    "audio_start_seconds": st.one_of(st.none(), NUMBERS, st.sampled_from(TIMES), st.lists(NUMBERS, max_size=2)),
    "audio_end_seconds": st.one_of(st.none(), st.floats(0, 9)),
}

FLOATS = st.sampled_from([1.0, 1.5, float("nan"), 2.0**60, None])
PARQUET_CELLS = {
    "key": [rare(KEYS[:6], KEYS)],
    "split": [JSON_CELLS["split"]],
    "owner": [st.sampled_from(OWNERS), st.integers(-2, 3), FLOATS, LISTS, st.lists(st.integers(0, 2), max_size=2)],
    "group": [st.sampled_from(OWNERS), st.integers(-2, 3), FLOATS],
    "text": [rare(["a dog"], TEXTS)],
    "audio": [rare(["a.wav"], PATHS)],
    "audio_start_seconds": [st.sampled_from(TIMES), st.integers(-2, 3), FLOATS, st.lists(FLOATS, max_size=2)],
}
"""Column → cells of each kind that a column of Parquet may hold."""

JSON_ROWS = st.fixed_dictionaries(
    {"key": JSON_CELLS["key"]}, optional={name: cells for name, cells in JSON_CELLS.items() if name != "key"}
)


def naive(path, known=()):
    """What reading row by row makes of a table: the samples of each split, and the first missing caption."""
    columns, rows = read_rows(path)
    reader = RowReader(path, columns)
    samples = [reader.sample(place, cells) for place, cells in rows]
    if repeated := [f"{k!r} ({n} times)" for k, n in Counter(s.key for s in samples).items() if n > 1]:
        raise ValueError(f"{path}: keys must be unique, these are not: {list_some(repeated)}")
    loaded = [sample for sample in samples if sample.split in SPLITS]
    if empty := [repr(sample.key) for sample in loaded if not sample.values]:
        raise ValueError(f"{path}: {len(empty)} row(s) have no modality at all: key {list_some(empty)}. Fill a cell")
    uses = {}
    for sample in loaded:
        for modality, values in sample.values.items():
            for value in values if modality != "text" else ():
                uses.setdefault(value.path, f"{modality} of key {sample.key!r}")
    if missing := [f"{path} ({use})" for path, use in uses.items() if not path.is_file()]:
        raise ValueError(f"{path}: {len(missing)} of {len(uses)} files do not exist: {list_some(missing)}. ")
    refuse_shared_owners(loaded, str(path))
    refuse_shared_spans(loaded, str(path), known)
    carried = {m for sample in loaded for m in sample.values}
    return (
        {split: [sample for sample in loaded if sample.split == split] for split in SPLITS},
        tuple(m for m in reader.modalities if m in carried),
        Counter(sample.split for sample in samples if sample.split not in SPLITS),
        (reader.num_missing_captions, reader.first_missing_caption),
    )


def by_columns(path, known=()):
    source = ManifestSource(path, known=known)
    samples = {split: list(source._samples[split]) for split in SPLITS}
    silent = source._facts["num_missing_captions"], source._facts["first_missing_caption"]
    return samples, source.modalities(), source._other_splits, silent


def outcome(read, path, known):
    """What reading a table gives, or the message of what is wrong with it."""
    try:
        return read(path, known)
    except ValueError as error:
        return str(error)


def assert_same(path, known=()):
    expected, columns = outcome(naive, path, known), outcome(by_columns, path, known)
    if isinstance(expected, str):
        assert isinstance(columns, str)
        assert columns.startswith(expected)
    else:
        assert columns == expected
        assert list(columns[2]) == list(expected[2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    (folder / "sub").mkdir()
    (folder / "link").symlink_to(folder / "sub")
    for name in ("a.wav", "b.wav", "sub/c.wav"):
        (folder / name).touch()
    logging.getLogger("bind.data").setLevel(logging.ERROR)
    yield folder
    logging.getLogger("bind.data").setLevel(logging.NOTSET)


MANY = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
@MANY
@given(texts_table(), st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_csv(folder, rows, delimiter, newline, quote_all, known):
    buffer = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=delimiter, lineterminator=newline, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    (folder / "m.csv").write_bytes(buffer.getvalue().encode())
    assert_same(folder / "m.csv", ["image"] if known else ())


@pytest.mark.slow
@MANY
@given(st.lists(st.sampled_from(['"', ",", "\n", "\r", "a", "train", '""', "é", "\0", " "]), max_size=24))
def test_csv_with_quotes_in_any_place(folder, pieces):
    content = "key,split,text\n" + "".join(pieces) + "\nz,train,a dog\n"
    (folder / "q.csv").write_bytes(content.encode())
    assert_same(folder / "q.csv")


@pytest.mark.slow
@MANY
@given(st.lists(JSON_ROWS, min_size=1, max_size=5))
def test_jsonl(folder, rows):
    (folder / "m.jsonl").write_text("".join(json.dumps({"split": "train"} | row) + "\n" for row in rows))
    assert_same(folder / "m.jsonl")


@pytest.mark.slow
@MANY
@given(st.data())
def test_parquet(folder, data):
    names = ["key", "split", "text", *data.draw(st.sets(st.sampled_from(["owner", "group", "audio"])))]
    if "audio" in names:
        names += data.draw(st.sets(st.sampled_from(["audio_start_seconds"])))
    columns = {
        name: pa.array(data.draw(st.lists(data.draw(st.sampled_from(PARQUET_CELLS[name])), min_size=4, max_size=4)))
        for name in names
    }
    if data.draw(st.integers(0, 3)):
        columns["key"] = pa.array(["a", "b", "c", "d"])
    if data.draw(st.booleans()):
        columns["split"] = columns["split"].dictionary_encode()
    pq.write_table(pa.table(columns), folder / "m.parquet")
    assert_same(folder / "m.parquet")
