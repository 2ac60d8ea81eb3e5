import contextlib
import decimal
import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.source_code import MODULES

from bind.data.sources.manifest import ManifestSource
from bind.data.sources.rows import read_rows
from bind.data.sources.shards.tar_index import TarIndex
from bind.files.parquet import _decoded_bytes, open_parquet
from bind.files.parquet_footer import count_values, text_bytes
from bind.media.sensor import open_sensor
from bind.report.queries import read_queries
from bind.types import Clip, PackedFile

NUM_VALUES = 6_000_000


@pytest.fixture
def claim(tmp_path, monkeypatch):
    """A file of some kilobytes with 2 million rows, all alike."""
    path = tmp_path / "a.parquet"
    column = pa.DictionaryArray.from_arrays(np.zeros(NUM_VALUES // 3, np.int8), ["train"])
    pq.write_table(pa.table(dict.fromkeys(("key", "split", "text"), column)), path, compression="zstd")
    monkeypatch.setattr("bind.files.parquet.MAX_VALUES_PER_BYTE", 100)  # of other writers fewer bytes may be as many
    return path


@pytest.mark.slow
def test_a_file_that_claims_more_rows_than_it_holds_is_refused_before_it_is_read(claim):
    packed = Clip(PackedFile("a.tar: a.imu.parquet", claim.read_bytes()))
    for read in (
        lambda: ManifestSource(claim),
        lambda: open_sensor(Clip(claim)),
        lambda: open_sensor(packed),
        lambda: TarIndex.from_bytes(claim.read_bytes(), "a.parquet"),
        lambda: read_queries(claim),
    ):
        before = pa.total_allocated_bytes()
        with pytest.raises(ValueError, match=rf"a(\.imu)?\.parquet: .*it claims {NUM_VALUES} values in \d+ bytes"):
            read()
        assert pa.total_allocated_bytes() - before < 1 << 20


@pytest.mark.slow
@pytest.mark.parametrize("column", ["text", "image"])
@pytest.mark.parametrize("num_rows", [1, 5000])
def test_lists_that_claim_more_values_than_the_file_holds_are_refused_before_they_are_read(tmp_path, column, num_rows):
    """A caption 6 million times, or as many numbers of vectors, all alike."""
    offsets = pa.array(np.linspace(0, NUM_VALUES, num_rows + 1).astype(np.int32))
    zeros = np.zeros(NUM_VALUES, np.int8)
    items = pa.DictionaryArray.from_arrays(zeros, ["a dog"]) if column == "text" else pa.array(zeros.astype(np.float32))
    rows = {"key": [str(row) for row in range(num_rows)], "split": ["train"] * num_rows}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({**rows, column: pa.ListArray.from_arrays(offsets, items)}), path, compression="zstd")
    before = pa.total_allocated_bytes()
    for read in (lambda: ManifestSource(path), lambda: list(read_rows(path)[1])):
        with pytest.raises(ValueError, match=r"a\.parquet: .*it claims 60\d+ values in \d+ bytes"):
            read()
    assert pa.total_allocated_bytes() - before < 1 << 22


def test_vectors_that_differ_are_read_however_many(tmp_path, monkeypatch):
    monkeypatch.setattr("bind.files.parquet.ALWAYS_READ_VALUES", 1000)
    vectors = np.random.default_rng(0).standard_normal((100, 64)).astype(np.float16).astype(np.float32)
    rows = {"key": [str(n) for n in range(100)], "split": ["train"] * 100, "image": list(vectors)}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet", compression="zstd")
    assert len(ManifestSource(tmp_path / "a.parquet").samples("train")) == 100


NESTED = {
    "k": [str(n) for n in range(1000)],
    "v": [[1.0, 2.0, None]] * 1000,
    "s": [{"a": 1, "b": ["x", "y"]}] * 1000,
    "m": pa.array([[("a", 1)]] * 1000, pa.map_(pa.string(), pa.int32())),
    "b": [True, None] * 500,
    "e": [[]] * 1000,
}


@pytest.mark.parametrize(
    "options", [{}, {"row_group_size": 70}, {"version": "1.0"}, {"write_page_index": True}, {"store_schema": False}]
)
def test_values_are_counted_as_arrow_counts_them(options):
    file = io.BytesIO()
    pq.write_table(pa.table(NESTED), file, **options)
    metadata = pq.ParquetFile(file).metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    expected = sum(group.column(place).num_values for group in groups for place in range(group.num_columns))
    assert count_values(file) == expected
    damaged = io.BytesIO(file.getvalue()[:-20] + bytes(12) + file.getvalue()[-8:])
    with contextlib.suppress(ValueError, LookupError, TypeError):
        count_values(damaged)


@pytest.mark.slow
@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_a_damaged_footer_is_refused_or_counted(content):
    with contextlib.suppress(ValueError, LookupError, TypeError):
        count_values(io.BytesIO(b"PAR1" + content + len(content).to_bytes(4, "little") + b"PAR1"))


LONG = "x" * 20_000
NUM_ROWS = 1000


def repeat(values, kind=None):
    return pa.DictionaryArray.from_arrays(np.arange(NUM_ROWS, dtype=np.int16) % len(values), pa.array(values, kind))


def in_lists(items):
    return pa.ListArray.from_arrays(pa.array(np.arange(0, NUM_ROWS + 1, 2, dtype=np.int32)), items)


KEYS = [f"{number:09d}" for number in range(NUM_ROWS)]
DELTA = {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}}
REPEATED = {
    "a dictionary": ({"text": repeat([LONG])}, {}),
    "of another writer": ({"text": repeat([LONG])}, {"store_schema": False, "data_page_version": "2.0"}),
    "in row groups": ({"key": KEYS, "text": repeat(["a dog", LONG])}, {"row_group_size": 70}),
    "in lists": ({"key": KEYS[::2], "text": in_lists(repeat([LONG, "a"]))}, {}),
    "behind nulls": ({"text": pa.array([None, *[LONG] * (NUM_ROWS - 1)])}, {}),
    "behind an empty list": ({"text": pa.array([[], *[[LONG, "a"]] * (NUM_ROWS // 2)])}, {"row_group_size": 70}),
    "in structs": ({"text": pa.StructArray.from_arrays([repeat([LONG])], ["a"])}, {}),
    "bytes": ({"text": repeat([LONG.encode()])}, {"compression": "snappy"}),
    "of one length": ({"text": repeat([LONG.encode()], pa.binary(len(LONG)))}, {}),
    "deltas": ({"text": [LONG + key for key in KEYS]}, DELTA),
    "plain": ({"text": [LONG + key for key in KEYS]}, {"use_dictionary": False}),
}


@pytest.fixture
def low_limits(monkeypatch):
    monkeypatch.setattr("bind.files.parquet.ALWAYS_READ_TEXT_BYTES", 1 << 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", REPEATED)
def test_a_long_text_that_a_small_file_repeats_is_refused_before_it_is_read(tmp_path, low_limits, name):
    columns, options = REPEATED[name]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path, **{"compression": "zstd"} | options)
    for source in (path, io.BytesIO(path.read_bytes())):
        with pytest.raises(ValueError, match=r"more than \d+ bytes when .*'text.*Leave that column out"):
            open_parquet(source)


DISTINCT = {
    "texts": pa.array([f"caption {number} " * 4 for number in range(20_000)]),
    "lists": pa.array([[f"caption {number + place} " * 4 for place in (0, 20_000)] for number in range(10_000)]),
    "lists of few": pa.array([["a dog", f"cat {number % 50}"] for number in range(20_000)]),
    "decimals": pa.array([decimal.Decimal(number) for number in range(20_000)], pa.decimal128(30, 0)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DISTINCT)
@pytest.mark.parametrize("options", [{}, {"row_group_size": 900}, {"store_decimal_as_integer": True}])
def test_columns_of_many_values_are_read_in_any_row_groups(tmp_path, low_limits, name, options):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": DISTINCT[name]}), path, compression="zstd", **options)
    assert open_parquet(path).read().column("text").to_pylist() == DISTINCT[name].to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, DELTA, {"use_dictionary": False}, {"data_page_version": "2.0"}])
def test_texts_that_fit_are_read_however_their_column_is_stored(tmp_path, low_limits, options):
    """One long caption among many short ones, each of which many rows have."""
    captions = [LONG[:9000], *(f"caption {number}" for number in range(100))]
    texts = [captions[number % len(captions)] for number in range(NUM_ROWS)]
    rows = {"key": KEYS, "split": ["train"] * NUM_ROWS, "text": texts}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet", compression="zstd", **options)
    samples = ManifestSource(tmp_path / "a.parquet").samples("train")
    assert [sample.values["text"] for sample in samples] == [[text] for text in texts]


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=1, max_size=300),
    st.sampled_from(["1.0", "2.0"]),
    st.sampled_from([True, False, "delta"]),
    st.integers(1, 300),
)
def test_texts_take_between_what_is_stored_and_what_is_claimed(values, page_version, how, row_group_size):
    texts = [None if value is None else "xy" * value**3 for value in values]
    options = DELTA if how == "delta" else {"use_dictionary": how}
    file = io.BytesIO()
    pq.write_table(
        pa.table({"text": texts}, pa.schema({"text": pa.string()})),
        file, row_group_size=row_group_size, data_page_version=page_version, **options,
    )  # fmt: skip
    [found] = text_bytes(file.getvalue(), [0])
    num_bytes = sum(len(text or "") for text in texts)
    assert found.num_values == len(texts)
    assert found.most >= num_bytes
    assert found.has_deltas == (how == "delta")
    counted = sum(_decoded_bytes(file, "text", found))
    assert num_bytes <= counted <= num_bytes + 9 * len(texts) + 100


@pytest.mark.slow
def test_dull_recordings_are_read(tmp_path):
    time = np.arange(400_000) / 50
    table = pa.table({"time_seconds": time, **{f"acc_{c} [g]": np.zeros(len(time)) for c in "xyz"}})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", use_dictionary=True)
    assert open_sensor(Clip(tmp_path / "a.parquet")).num_frames == len(time)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"channels": "xyz", "units": ["g"] * 3, "sample_rate_hz": 50}, "channels is a str, not list"),
        ({"channels": 10**9, "units": 10**9, "sample_rate_hz": 50}, "channels is a int, not list"),
        ({"channels": [["x"], 1, None], "units": ["g"] * 3, "sample_rate_hz": 50}, r"\"?\['x'\].* is not a name"),
        ({"channels": ["x", "y", "z"], "units": ["g"] * 3, "sample_rate_hz": True}, "sample_rate_hz is a bool"),
        ({"channels": ["x", "y", "z"], "units": ["g"] * 3, "sample_rate_hz": 50, "more": "x" * 2**21}, "more than"),
    ],
)
def test_what_a_recording_has_beside_it_is_of_the_right_kinds_and_size(tmp_path, about, message):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32))
    (tmp_path / "a.json").write_text(json.dumps(about))
    packed = PackedFile("a.tar: a.imu.npy", (tmp_path / "a.npy").read_bytes(), (tmp_path / "a.json").read_bytes())
    for clip in (Clip(tmp_path / "a.npy"), Clip(packed)):
        with pytest.raises(ValueError, match=message):
            open_sensor(clip)


@pytest.mark.slow
def test_one_door_opens_all_parquet():
    opening = re.compile(r"ParquetFile\(|(?<!_)\bread_(table|parquet)\(")
    assert [name for name, source in MODULES.items() if opening.search(source)] == ["files.parquet"]
