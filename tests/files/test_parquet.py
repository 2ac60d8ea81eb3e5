import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bind.data.sources.manifest import ManifestSource
from bind.data.sources.shards.tar_index import TarIndex
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
