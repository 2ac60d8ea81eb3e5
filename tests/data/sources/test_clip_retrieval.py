import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bind.data.sources.clip_retrieval import ClipRetrievalSource

RNG = np.random.default_rng(0)


def write(folder, sizes=(3, 2), width=4, **columns):
    """The layout of clip-retrieval's inference, in as many parts as sizes."""
    vectors = RNG.standard_normal((2, sum(sizes), width)).astype(np.float16)
    for part in ("img_emb", "text_emb", "metadata"):
        (folder / part).mkdir(parents=True)
    start = 0
    for number, size in enumerate(sizes):
        rows = slice(start, start + size)
        np.save(folder / "img_emb" / f"img_emb_{number}.npy", vectors[0, rows])
        np.save(folder / "text_emb" / f"text_emb_{number}.npy", vectors[1, rows])
        table = {name: values[rows] for name, values in columns.items()}
        table["image_path"] = [f"pictures/{row}.jpg" for row in range(start, start + size)]
        pq.write_table(pa.table(table), folder / "metadata" / f"metadata_{number}.parquet")
        start += size
    return vectors


@pytest.mark.slow
def test_rows_of_matrices_and_tables_belong_together(tmp_path):
    splits = ["train"] * 9 + ["val", "test", "other"]
    vectors = write(tmp_path, sizes=(1,) * 12, split=splits, label=[f"class {i % 2}" for i in range(12)])
    source = ClipRetrievalSource(tmp_path)
    assert source.modalities() == ("image", "text")
    assert [len(source.samples(split)) for split in ("train", "val", "test")] == [9, 1, 1]
    (row,) = source.fetch("test", [0], ["image", "text", "audio"], None)
    assert set(row) == {"image", "text"}
    np.testing.assert_array_equal(row["image"][0].values, vectors[0, 10])
    np.testing.assert_array_equal(row["text"][0].values, vectors[1, 10])
    sample = source.samples("test")[0]
    assert (sample.key, sample.label) == ("pictures/10.jpg", "class 0")


def test_rows_without_a_split_are_drawn_the_same_each_time(tmp_path):
    write(tmp_path, sizes=(150, 150), group=[f"group {i // 3}" for i in range(300)])
    source = ClipRetrievalSource(tmp_path, val_share=0.2, test_share=0.2)
    groups = {split: {s.group for s in source.samples(split)} for split in ("train", "val", "test")}
    assert sum(map(len, groups.values())) == 100, "no group is in two splits"
    assert 10 < len(groups["val"]) < 32
    again = ClipRetrievalSource(tmp_path, val_share=0.2, test_share=0.2)
    assert [s.key for s in again.samples("test")] == [s.key for s in source.samples("test")]
    assert again.content_hash("test", "image") == source.content_hash("test", "image")
    assert source.content_hash("test", "image") != source.content_hash("test", "text")


def test_a_changed_vector_changes_the_content(tmp_path):
    vectors = write(tmp_path, split=["train"] * 5)
    before = ClipRetrievalSource(tmp_path).content_hash("train", "image")
    vectors[0, 4, 0] += 1
    np.save(tmp_path / "img_emb" / "img_emb_1.npy", vectors[0, 3:])
    assert ClipRetrievalSource(tmp_path).content_hash("train", "image") != before


def test_what_is_wrong_with_a_folder_is_one_message(tmp_path):
    with pytest.raises(ValueError, match="none of the folders img_emb, text_emb"):
        ClipRetrievalSource(tmp_path)
    write(tmp_path)
    np.save(tmp_path / "img_emb" / "img_emb_1.npy", np.zeros((4, 4), np.float16))
    with pytest.raises(ValueError, match=r"7 vectors, and .*metadata has 5 rows"):
        ClipRetrievalSource(tmp_path)
    np.save(tmp_path / "img_emb" / "img_emb_1.npy", np.zeros((2, 5), np.float16))
    with pytest.raises(ValueError, match=r"img_emb_1\.npy: float16 of shape \(2, 5\)"):
        ClipRetrievalSource(tmp_path)
    (tmp_path / "img_emb" / "img_emb_1.npy").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"img_emb_1\.npy: not readable"):
        ClipRetrievalSource(tmp_path)


def test_repeated_keys_are_named(tmp_path):
    write(tmp_path, key=["a", "b", "a", "c", "d"], split=["train"] * 5)
    with pytest.raises(ValueError, match=r"keys must be unique, these are not: .*a"):
        ClipRetrievalSource(tmp_path)
