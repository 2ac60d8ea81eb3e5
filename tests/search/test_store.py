"""The store of an index: what is added is there, what is deleted is not, whatever happens to a writer or a file."""

import errno
import os

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from bind.files.locks import lock_folder
from bind.files.writing import write_text
from bind.search import store as stores
from bind.search.listing import LISTING, read_listing
from bind.search.store import IndexStore

DIM = 8


def unit(num, seed=0, dim=DIM):
    return torch.nn.functional.normalize(torch.randn(num, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def keys(num, start=0):
    return [f"k{number:04d}" for number in range(start, start + num)]


@pytest.fixture
def store(tmp_path):
    return IndexStore.create(tmp_path / "index", DIM, "print", scan="fp16")


def fill(store, num=20, modality="audio", seed=0, start=0):
    with store.writing():
        store.add(modality, unit(num, seed), {"key": keys(num, start), "split": ["test"] * num})


def content(store, modality="audio"):
    return sorted(store.keys_of(modality).to_pylist())


def test_what_is_added_is_there_for_who_opens_the_index(store):
    fill(store)
    fill(store, 5, "image", seed=1)
    opened = IndexStore(store.folder)
    assert opened.modalities == ("audio", "image")
    assert (opened.num_vectors("audio"), opened.num_vectors("image"), opened.listing.num_vectors) == (20, 5, 25)
    assert torch.equal(opened.parts[0].vectors, unit(20).half())
    assert opened.parts[0].table.column("key").to_pylist() == keys(20)
    assert opened.parts[0].table.column("caption").null_count == 20


@pytest.mark.parametrize(("scan", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16), ("int8", torch.int8)])
def test_a_rounded_copy_is_as_near_as_its_part_says(scan, dtype, tmp_path):
    store = IndexStore.create(tmp_path / "index", 64, "print", scan=scan)
    with store.writing():
        store.add("audio", unit(50, dim=64), {"key": keys(50)})
    part = IndexStore(store.folder).parts[0]
    assert part.scanned.dtype == dtype
    scales = 1 if part.scales is None else part.scales[:, None]
    assert float((part.scanned.float() * scales - part.vectors.float()).norm(dim=1).max()) <= part.part.residual
    assert (part.part.residual == 0) == (scan == "fp16")


def test_adding_leaves_the_files_before_as_they_are(store):
    fill(store)
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (store.folder / "parts").iterdir()}
    fill(store, 10, start=20)
    after = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (store.folder / "parts").iterdir()}
    assert before.items() <= after.items()
    assert content(store) == keys(30)


def test_many_vectors_are_cut_into_parts(store, monkeypatch):
    monkeypatch.setattr(stores, "PART_VECTORS", 7)
    fill(store)
    assert [len(part) for part in store.parts] == [7, 7, 6]
    assert content(store) == keys(20)


def test_deleted_samples_are_gone_and_the_rest_stays(store):
    fill(store)
    fill(store, 5, "image")
    with store.writing():
        assert store.delete_keys(["k0003", "k0019"], ["audio"]) == 2
        assert store.delete_keys(["k0000"]) == 2
    opened = IndexStore(store.folder)
    assert content(opened) == [key for key in keys(20) if key not in ("k0000", "k0003", "k0019")]
    assert content(opened, "image") == keys(5)[1:]
    assert opened.listing.num_vectors == 21


def test_a_key_that_is_not_there_deletes_nothing(store):
    fill(store)
    with store.writing(), pytest.raises(ValueError, match="no vector of key 'nobody'"):
        store.delete_keys(["k0001", "nobody"])
    assert content(store) == keys(20)


def test_a_part_of_which_all_is_deleted_leaves_no_files(store):
    fill(store)
    fill(store, 5, "image")
    with store.writing():
        store.delete_keys(keys(20), ["audio"])
    assert IndexStore(store.folder).modalities == ("image",)
    assert len(list((store.folder / "parts").iterdir())) == 2
    assert not (store.folder / "deleted").exists()


@pytest.mark.slow
def test_compacting_joins_small_parts_and_drops_what_is_deleted(store):
    for number in range(10):
        fill(store, 3, seed=number, start=3 * number)
    with store.writing():
        store.delete_keys(["k0004"])
        assert store.compact() == 10
    opened = IndexStore(store.folder)
    assert [len(part) for part in opened.parts] == [29]
    assert content(opened) == [key for key in keys(30) if key != "k0004"]
    row = opened.parts[0].table.column("key").to_pylist().index("k0017")
    assert torch.equal(opened.parts[0].vectors[row], unit(3, seed=5).half()[2])
    with store.writing():
        assert store.compact() == store.compact(is_all=True) == 0


def test_columns_of_ones_own_may_differ_between_parts(store):
    with store.writing():
        store.add("audio", unit(2), {"key": keys(2), "place": ["yard", None], "loud": [True, False]})
        store.add("audio", unit(2), {"key": keys(2, 2), "year": [2024, 2025], "level": [1.5, None]})
        store.compact(is_all=True)
    table = IndexStore(store.folder).parts[0].table
    assert table.column("place").to_pylist() == ["yard", None, None, None]
    assert table.column("year").to_pylist() == [None, None, 2024, 2025]
    assert pc.sum(table.column("level")).as_py() == 1.5


@pytest.mark.parametrize(
    ("vectors", "columns", "message"),
    [
        (unit(2, dim=9), {"key": keys(2)}, "another binder"),
        (unit(2)[0], {"key": keys(2)}, "another binder"),
        (2 * unit(2), {"key": keys(2)}, r"key 'k0000' has norm 2\S*: give unit vectors"),
        (unit(2) * torch.tensor([[1.0], [torch.nan]]), {"key": keys(2)}, "key 'k0001' has norm nan"),
        (unit(2), {"key": keys(3)}, "3 rows for 2 vectors"),
        (unit(2), {"split": ["test"] * 2}, "key is missing"),
        (unit(2), {"key": ["a", None]}, "key is empty in a row"),
        (unit(2), {"key": keys(2), "place": ["yard"]}, "place has 1 values, key has 2"),
        (unit(2), {"key": keys(2), "place": [["yard"], ["street"]]}, "'place' of list"),
        (unit(2), {"key": keys(2), "A place": ["yard", "street"]}, "'A place' can't be a column"),
        (unit(2), {"key": keys(2), "score": [1.0, 2.0]}, "'score' can't be a column"),
        (unit(2), {"key": keys(2), "start_seconds": ["soon", "late"]}, "start_seconds holds values that are no double"),
    ],
)
def test_what_an_index_can_not_hold_is_refused_and_leaves_it_as_it_was(vectors, columns, message, store):
    fill(store)
    with store.writing(), pytest.raises(ValueError, match=message):
        store.add("audio", vectors, columns)
    assert content(IndexStore(store.folder)) == keys(20)


def test_a_second_writer_is_refused_while_the_first_writes(store):
    with (
        lock_folder(store.folder, "wait"),
        pytest.raises(ValueError, match="is in use by this process"),
        store.writing(),
    ):
        pass


def test_a_writer_sees_what_another_has_written(store):
    other = IndexStore(store.folder)
    fill(store)
    fill(other, 5, start=20)
    assert content(other) == keys(25)
    assert store.refresh()
    assert content(store) == keys(25)
    assert not store.refresh()


class KilledError(BaseException):
    """The end of a writer, which no code of its own outlives."""


@pytest.mark.slow
@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("change", ["add", "delete", "compact"])
def test_a_writer_that_is_killed_at_any_file_leaves_the_index_as_it_was_or_as_it_would_be(
    number, change, store, monkeypatch
):
    fill(store, 6)
    fill(store, 6, start=6)
    replace, calls = os.replace, []

    def kill_at(self, target):
        calls.append(target)
        if len(calls) > number:
            raise KilledError
        return replace(self, target)

    changes = {
        "add": lambda: store.add("audio", unit(4), {"key": keys(4, 12)}),
        "delete": lambda: store.delete_keys(["k0001", "k0007"]),
        "compact": lambda: store.compact(is_all=True),
    }
    monkeypatch.setattr(type(store.folder), "replace", kill_at)
    monkeypatch.setattr(IndexStore, "_delete_unnamed", lambda self: None)  # as a killed process cleans nothing up
    was_killed = False
    try:
        with store.writing():
            changes[change]()
    except KilledError:
        was_killed = True
    monkeypatch.undo()
    before, after = keys(12), {"add": keys(16), "delete": [k for k in keys(12) if k not in ("k0001", "k0007")]}
    opened = IndexStore(store.folder)
    assert content(opened) == (before if was_killed else after.get(change, before))
    for part in opened.parts:
        part.require_as_written()
    with opened.writing():  # the next writer deletes what was left, and goes on
        opened.add("audio", unit(1), {"key": ["new"]})
    assert "new" in content(opened)
    assert len(list((store.folder / "parts").iterdir())) == 2 * len(opened.parts)


def test_a_full_disk_is_named_and_nothing_is_lost(store, monkeypatch):
    fill(store)

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"00000002\.vectors"), store.writing():
        store.add("audio", unit(4), {"key": keys(4, 20)})
    monkeypatch.undo()
    assert content(IndexStore(store.folder)) == keys(20)
    assert len(list((store.folder / "parts").iterdir())) == 2


@pytest.mark.parametrize("kind", ["vectors", "table"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_part_is_named_and_can_be_put_aside(kind, damage, store):
    fill(store)
    fill(store, 5, start=20)
    path = store.folder / "parts" / f"00000001.{kind}"
    whole = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        middle = len(whole) // 2
        path.write_bytes(
            whole[:middle] if damage == "cut" else whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        )
    opened = IndexStore(store.folder)
    with pytest.raises(ValueError, match=rf"00000001\.{kind}"):
        getattr(opened.parts[0], "vectors" if kind == "vectors" else "table")
    with opened.writing():
        (message,) = opened.put_damaged_aside()
        assert f"00000001.{kind}" in message
    assert content(opened) == keys(5, 20)
    assert len(list((store.folder / "damaged").iterdir())) == (1 if damage == "remove" else 2)


def test_a_folder_that_holds_something_else_is_not_taken_for_an_index(tmp_path, store):
    with pytest.raises(ValueError, match="holds an index already"):
        IndexStore.create(store.folder, DIM, "print")
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds something else \(a\.txt\)"):
        IndexStore.create(tmp_path, DIM, "print")
    with pytest.raises(ValueError, match=r"no index\.json there"):
        IndexStore(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version": 1', '"version": 2', "version 2, this bind reads 1"),
        ('"dim": 8', '"dim": 0', "dim is 0"),
        ('"dim": 8', '"dim": "8"', "dim is a str"),
        ('"name": "1"', '"name": "../1"', "its name is no number"),
        ('"num_vectors": 20', '"num_vectors": 99999999999', "has 99999999999 vectors"),
        ('"num_vectors": 20', '"num_vectors": true', "num_vectors is a bool"),
        ('"modality": "audio"', '"modality": "../audio"', "is no modality"),
        ('"residual": 0.0', '"residual": NaN', "residual is nan"),
        ('"table"', '"tables"', "checksums of other files"),
        ('"scan": "fp16"', '"scan": "fp8"', "scan is 'fp8'"),
        ('"next_name": 2', '"next_name": 0', "next_name"),
        ("{", "", "no readable JSON"),
    ],
)
def test_a_listing_that_is_none_is_refused_by_name(old, new, message, store):
    fill(store)
    path = store.folder / LISTING
    write_text(path, path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as error:
        IndexStore(store.folder)
    assert str(error.value).startswith(str(path))


def test_deletions_that_are_damaged_are_refused_by_name(store):
    fill(store)
    with store.writing():
        store.delete_keys(["k0001", "k0002"])
    path = store.folder / "deleted" / read_listing(store.folder).deleted.name
    pairs = np.frombuffer(path.read_bytes()[:32], "<i8").copy()
    assert pairs.tolist() == [1, 1, 1, 2]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"bytes, not those of 2 deletions"):
        IndexStore(store.folder)
