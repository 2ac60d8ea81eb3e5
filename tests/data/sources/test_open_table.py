import os
import pickle
import subprocess
import sys
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bind.data.sources import open_table as opening
from bind.data.sources import table_facts
from bind.data.sources.manifest import ManifestSource
from bind.types import Clip


@pytest.fixture
def table(tmp_path):
    (tmp_path / "a.wav").touch()
    write(tmp_path / "m.csv", ["a,train,a dog,a.wav", "b,val,a cat,", "c,train,a bird,a.wav"])
    return tmp_path / "m.csv"


def write(path, rows):
    path.write_text("\n".join(["key,split,text,audio", *rows, ""]))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
    """The tables that were decoded, one after the other."""
    paths, decode = [], opening._decode
    monkeypatch.setattr(opening, "_decode", lambda path, file: (paths.append(path), decode(path, file)))
    return paths


def keys(source, split="train"):
    return [sample.key for sample in source.samples(split)]


def files_of(cache):
    return sorted((cache / "tables").glob("*.arrow"))


@pytest.mark.slow
def test_a_table_is_decoded_once(table, cache, decoded):
    first, again = (ManifestSource(table, cache_dir=cache) for _ in range(2))
    assert decoded == [table]
    assert len(files_of(cache)) == 1
    assert list(first.samples("train")) == list(again.samples("train"))
    assert again.samples("train")[0].values == {"text": ["a dog"], "audio": [Clip(table.parent / "a.wav")]}
    assert ManifestSource(table).samples("train") == first.samples("train")


@pytest.mark.slow
@pytest.mark.parametrize("keeps_time", [False, True])
def test_a_table_that_was_changed_is_decoded_again(table, cache, decoded, keeps_time):
    earlier = ManifestSource(table, cache_dir=cache)
    before = table.stat()
    write(table, ["a,train,a dog,a.wav", "b,val,a cat,", "d,train,a bird,a.wav"])
    if keeps_time:
        os.utime(table, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert keys(ManifestSource(table, cache_dir=cache)) == ["a", "d"]
    assert decoded == [table, table]
    assert len(files_of(cache)) == 1, "what was decoded of an earlier state is deleted"
    assert keys(earlier) == ["a", "c"], "who has it mapped keeps it"


@pytest.mark.slow
@pytest.mark.parametrize("place", [0.0, 0.5, 0.9, "cut", "empty"])
def test_a_file_that_is_damaged_is_made_again_or_refused(table, cache, decoded, caplog, place):
    ManifestSource(table, cache_dir=cache)
    (file,) = files_of(cache)
    content = bytearray(file.read_bytes())
    if place == "cut":
        content = content[:-7]
    elif place == "empty":
        content = bytearray()
    else:
        content[int(place * len(content))] ^= 1
    file.write_bytes(content)
    try:
        found = keys(ManifestSource(table, cache_dir=cache))
    except ValueError as error:  # of a batch that nothing was read of before
        found = str(error)
    if found == ["a", "c"]:
        assert decoded == [table, table]
        assert "is damaged" in caplog.text
    else:
        assert found == f"{file} is damaged (its checksum is another one): delete it, it is made again"


@pytest.mark.slow
def test_bits_that_flip_in_the_samples_are_found_when_they_are_read(table, cache):
    ManifestSource(table, cache_dir=cache)
    (file,) = files_of(cache)
    content = file.read_bytes()
    file.write_bytes(content.replace(b"a bird", b"a bard"))
    with pytest.raises(ValueError, match=r"\.arrow is damaged \(its checksum is another one\): delete it"):
        ManifestSource(table, cache_dir=cache).samples("train")[1]


@pytest.mark.slow
@pytest.mark.parametrize("large", [False, True])
def test_a_cache_that_can_not_be_written_is_done_without(table, cache, caplog, monkeypatch, large):
    if large:
        monkeypatch.setattr(opening, "MAX_BYTES_IN_MEMORY", 0)
    cache.write_text("a file where a folder should be")
    source = ManifestSource(table, cache_dir=cache)
    assert keys(source) == ["a", "c"]
    assert "it is decoded for this process" in caplog.text


def test_a_table_without_a_cache_leaves_no_file(table, monkeypatch, tmp_path):
    monkeypatch.setattr(opening, "MAX_BYTES_IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    source = ManifestSource(table)
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    assert keys(source) == ["a", "c"]
    del source
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.slow
def test_another_process_gets_the_path_and_not_the_rows(table, cache):
    write(table, [f"k{i},train,a text of some letters,a.wav" for i in range(3000)])
    samples = ManifestSource(table, cache_dir=cache).samples("train")
    sent = pickle.dumps(samples)
    assert len(sent) < 2000
    assert pickle.loads(sent) == samples
    assert pickle.loads(pickle.dumps(ManifestSource(table).samples("train"))) == samples
    write(table, ["a,train,a dog,a.wav"])
    ManifestSource(table, cache_dir=cache)
    with pytest.raises((ValueError, OSError)):
        pickle.loads(sent)


OPEN = """
import sys
import tempfile
from bind.data.sources.manifest import ManifestSource
print(len(ManifestSource(sys.argv[1], cache_dir=sys.argv[2]).samples("train")))
"""


@pytest.mark.slow
def test_two_processes_may_open_a_table_at_once(table, cache):
    write(table, [f"k{i},train,a dog,a.wav" for i in range(2000)])
    command = [sys.executable, "-c", OPEN, str(table), str(cache)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=300)[0] for process in processes] == ["2000\n"] * 2
    assert len(files_of(cache)) == 1


@pytest.mark.slow
def test_of_very_many_files_some_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(table_facts, "MAX_FILES", 20)
    monkeypatch.setattr(table_facts, "SAMPLED_ROWS_PER_BATCH", 32)
    rows = [{"key": f"k{i}", "split": "train", "image": f"p{i}.png"} for i in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    with pytest.raises(ValueError, match=r"32 of 32 files that were looked at do not exist: .*p0\.png"):
        ManifestSource(tmp_path / "m.parquet")
    for i in range(100):
        (tmp_path / f"p{i}.png").touch()
    assert len(ManifestSource(tmp_path / "m.parquet").samples("train")) == 100


@pytest.mark.slow
def test_rows_in_several_batches_and_splits_keep_their_order(tmp_path):
    splits = ["train", "val", "test", "spare"]
    rows = [{"key": f"k{i}", "split": splits[i % 4], "text": f"text {i}"} for i in range(1000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet", row_group_size=99)
    source = ManifestSource(tmp_path / "m.parquet")
    for number, split in enumerate(splits[:3]):
        samples = source.samples(split)
        expected = [f"k{i}" for i in range(number, 1000, 4)]
        assert [sample.key for sample in samples] == [samples[i].key for i in range(len(samples))] == expected
        assert samples[-1].values == {"text": [f"text {996 + number}"]}
        assert [sample.key for sample in samples[3:6]] == expected[3:6]
        assert [sample.key for sample in samples[::-50]] == expected[::-50]


@pytest.mark.slow
def test_hashes_do_not_depend_on_batches(tmp_path):
    rows = [{"key": f"k{i}", "split": ["train", "val"][i % 2], "text": [f"text {i}"] * (1 + i % 3)} for i in range(500)]
    rows = [row | {"image": "p.png" if row["split"] == "train" else None} for row in rows]
    (tmp_path / "p.png").touch()
    hashes = []
    for size in (7, 500):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet", row_group_size=size)
        hashes.append([ManifestSource(tmp_path / "m.parquet").samples(split).hashes for split in ("train", "val")])
    assert hashes[0] == hashes[1]
