import contextlib
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
from bind.files.parquet_footer import count_values
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
