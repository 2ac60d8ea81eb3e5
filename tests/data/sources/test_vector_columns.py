"""Columns of vectors in a Parquet manifest, beside texts and paths."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bind.data.identity import identify_samples
from bind.data.same_values import equal_values
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.shards.source import IndexedShardSource
from bind.data.sources.shards.writer import plan_shards, write_listing, write_shard
from bind.media.vectors import read_vector
from bind.studies.doctor.diagnose import diagnose
from bind.types import StoredVector

VECTORS = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
KINDS = {
    "list": pa.list_(pa.float32()),
    "large": pa.large_list(pa.float64()),
    "fixed": pa.list_(pa.float32(), 3),
    "half": pa.list_(pa.float16()),
}


def write(path, vectors=VECTORS, kind="list", **columns):
    rows = {
        "key": [f"k{i}" for i in range(len(vectors))],
        "split": ["train"] * (len(vectors) - 1) + ["val"],
        "smell": pa.array([None if v is None else list(v) for v in vectors], KINDS[kind]),
    }
    pq.write_table(pa.table(rows | columns), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_list_of_floats_is_a_vector(tmp_path, kind):
    vectors = VECTORS.astype(np.float16) if kind == "half" else VECTORS
    path = write(tmp_path / "m.parquet", vectors, kind, text=["a dog", "", "a cat", "rain"])
    source = ManifestSource(path, cache_dir=tmp_path / "cache")
    assert set(source.modalities()) == {"smell", "text"}
    fetched = source.fetch("train", [2, 0], ["smell", "text"], None)
    for row, values in zip([2, 0], fetched, strict=True):
        (vector,) = values["smell"]
        assert vector.values.dtype == np.float32
        np.testing.assert_array_equal(vector.values, vectors[row].astype(np.float32))
        assert f"smell of key 'k{row}'" in vector.name
    again = ManifestSource(path, cache_dir=tmp_path / "cache")  # mapped
    assert again.samples("train")[1].values == {"smell": [StoredVector(vectors[1].astype(np.float32), "")]}
    assert list(again.samples("train")) == list(source.samples("train"))


@pytest.mark.slow
def test_vectors_alone_make_a_manifest_and_rows_may_lack_them(tmp_path):
    path = write(tmp_path / "m.parquet", [VECTORS[0], None, VECTORS[2], VECTORS[3]], text=["a", "b", "c", "d"])
    source = ManifestSource(path)
    assert [("smell" in sample.values) for sample in source.samples("train")] == [True, False, True]
    assert "smell" not in source.fetch("train", [1], ["smell"], None)[0]
    ManifestSource(write(tmp_path / "alone.parquet"))
    with pytest.raises(ValueError, match=r"1 row.* have no modality at all: key 'k1'"):
        ManifestSource(write(tmp_path / "empty.parquet", [VECTORS[0], None, VECTORS[2]]))


def test_a_vector_may_stand_for_a_text(tmp_path):
    path = write(tmp_path / "m.parquet", text=pa.array([list(v) for v in VECTORS], KINDS["list"]))
    (values,) = ManifestSource(path).fetch("val", [0], ["text"], None)
    np.testing.assert_array_equal(values["text"][0].values, VECTORS[3])


@pytest.mark.slow
def test_a_changed_vector_changes_content_and_identity(tmp_path):
    before = ManifestSource(write(tmp_path / "m.parquet"))
    changed = VECTORS.copy()
    changed[1, 2] += 1e-3
    after = ManifestSource(write(tmp_path / "n.parquet", changed))
    assert before.content_hash("train", "smell") != after.content_hash("train", "smell")
    assert before.content_hash("val", "smell") == after.content_hash("val", "smell")
    assert identify_samples(before.samples("train")) != identify_samples(after.samples("train"))
    assert identify_samples(before.samples("val")) == identify_samples(after.samples("val"))


def test_the_same_vector_of_a_text_is_one_text(tmp_path):
    same = [list(VECTORS[0]), list(VECTORS[1]), list(VECTORS[0]), list(VECTORS[3])]
    source = ManifestSource(write(tmp_path / "m.parquet", text=pa.array(same, KINDS["list"])))
    (ids,) = equal_values([source], "train", ["text"]).values()
    a, b, c = ids.find(["k0", "k1", "k2"], np.zeros(3, np.int64)).tolist()
    assert a == c != b


@pytest.mark.slow
def test_packed_vectors_are_arrays_of_a_shard(tmp_path):
    source = ManifestSource(write(tmp_path / "m.parquet", text=["a", "b", "c", "d"]))
    plans = plan_shards(source.samples("val"), "val", 10**9)
    (tmp_path / "shards").mkdir()
    for plan in plans:
        write_shard(plan, tmp_path / "shards")
    write_listing(plans, tmp_path / "shards")
    (values,) = IndexedShardSource(str(tmp_path / "shards")).fetch("val", [0], ["smell"], None)
    np.testing.assert_array_equal(read_vector(values["smell"][0], 3), VECTORS[3])


@pytest.mark.slow
def test_the_doctor_reads_such_a_manifest(tmp_path):
    diagnosis = diagnose(write(tmp_path / "m.parquet", text=["a dog", "a cat", "rain", "snow"]))
    assert not [problem for problem in diagnosis.problems() if problem.is_error]
