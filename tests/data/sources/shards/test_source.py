"""Shards read like a list: only what is asked for, in few reads, and the same batches whoever reads them."""

import itertools
import pickle

import numpy as np
import pytest
import torch
from support import shard_cases
from support.runs import read_manifest, write_manifest

from bind.data.datamodule import BindDataModule
from bind.data.sources.shards import members
from bind.data.sources.shards.source import IndexedShardSource
from bind.data.sources.shards.tar_index import TarIndex
from bind.data.transforms.audio import AudioTransform

RATE_HZ = 8000


@pytest.fixture
def reads(monkeypatch):
    """Every read of a shard: (path, first byte, last byte + 1)."""
    done = []
    read_range = members.read_range

    def noting_read(path, start, stop, num_bytes=None):
        done.append((path, start, stop))
        return read_range(path, start, stop, num_bytes)

    monkeypatch.setattr(members, "read_range", noting_read)
    return done


class Words:
    """Texts as they are."""

    def __call__(self, value, rng):
        return value

    def collate(self, items):
        return torch.tensor([hash(item) for item in items])


def datamodule(source, batch_size=4):
    transforms = {"audio": AudioTransform(sample_rate_hz=RATE_HZ, window_seconds=0.05), "text": Words()}
    return BindDataModule({"shards": source}, transforms, ["audio", "text"], ["audio", "text"], batch_size=batch_size)


def batches(data, split="train", start_step=0, rank=0, world_size=1, num=None):
    dataset = data.dataset(split, ("audio", "text"))
    plan = data.train_plan(start_step, rank, world_size)
    return [dataset[request] for request in itertools.islice(plan, num)]


@pytest.mark.slow
def test_only_the_requested_modalities_are_read(packed, reads, monkeypatch):
    monkeypatch.setattr(members, "LOCAL_GAP_BYTES", 0)
    source = IndexedShardSource(str(packed))
    index = next(i for i, s in enumerate(source.samples("train")) if {"imu", "image", "text"} <= set(s.values))
    (found,) = source.fetch("train", [index], ["text"], None)
    assert list(found) == ["text"]
    assert sum(stop - start for _, start, stop in reads) == sum(len(text.encode()) for text in found["text"])
    reads.clear()
    assert source.fetch("train", [index], [], None) == [{}]
    assert reads == []


@pytest.mark.slow
def test_neighbours_are_read_at_once(packed, reads, monkeypatch):
    monkeypatch.setattr(members, "LOCAL_GAP_BYTES", 2**20)
    source = IndexedShardSource(str(packed))
    source.fetch("val", range(8), source.modalities(), None)
    shards = {path for path, _, _ in reads}
    assert len(reads) == len(shards)


@pytest.mark.slow
def test_a_sample_requested_twice_is_returned_twice(packed):
    source = IndexedShardSource(str(packed))
    a, b, c = source.fetch("val", [3, 0, 3], ["text"], None)
    assert a == c != b


@pytest.mark.slow
@pytest.mark.parametrize("block_samples", [1, 3, 16, 100])
def test_an_order_is_a_permutation_of_blocks(packed, block_samples):
    source = IndexedShardSource(str(packed), block_samples=block_samples)
    orders = [source.training_order(np.random.default_rng(seed), 50) for seed in range(200)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    runs = [1 + int((np.diff(order) != 1).sum()) for order in orders]
    assert max(runs) <= 50 // block_samples + 2
    if 1 < block_samples < 50:
        # No two neighbours always stay together.
        together = np.array([np.isin(np.arange(49), order[:-1][np.diff(order) == 1]) for order in orders])
        assert not together.all(axis=0).any()


@pytest.mark.slow
def test_batches_are_a_function_of_seed_and_step(packed):
    whole = batches(datamodule(IndexedShardSource(str(packed), block_samples=3)))
    rest = batches(datamodule(IndexedShardSource(str(packed), block_samples=3)), start_step=2)
    assert len(whole) == 4
    assert [b.keys for b in whole[2:]] == [b.keys for b in rest]
    for one, other in zip(whole[2:], rest, strict=True):
        assert torch.equal(one.inputs["audio"], other.inputs["audio"])
    assert len({key for batch in whole for key in batch.keys}) == 16


@pytest.mark.slow
def test_ranks_share_a_step(packed):
    whole = batches(datamodule(IndexedShardSource(str(packed), block_samples=3), 4))
    halves = [
        batches(datamodule(IndexedShardSource(str(packed), block_samples=3), 2), rank=r, world_size=2) for r in (0, 1)
    ]
    assert [b.keys for b in whole] == [a.keys + b.keys for a, b in zip(*halves, strict=True)]


@pytest.mark.slow
def test_evaluation_sees_every_sample_once(packed):
    source = IndexedShardSource(str(packed))
    keys = [key for batch in datamodule(source, 3).evaluation_dataloader("val") for key in batch.keys]
    assert keys == [sample.key for sample in source.samples("val")]


@pytest.mark.slow
def test_a_source_goes_to_other_processes(packed):
    source = pickle.loads(pickle.dumps(IndexedShardSource(str(packed))))
    assert source.fetch("val", [0], ["text"], None)[0]["text"]


@pytest.mark.slow
def test_the_content_hash_follows_the_content(world, packed, tmp_path):
    source = IndexedShardSource(str(packed))
    before = {m: source.content_hash("val", m) for m in source.modalities()}
    assert len(set(before.values())) == len(before)
    assert before != {m: source.content_hash("train", m) for m in source.modalities()}
    rows = read_manifest(world)
    rows[-1]["text"] = ["another caption"]
    try:
        shard_cases.pack(write_manifest(world.with_name("other.jsonl"), rows), tmp_path)
    finally:
        world.with_name("other.jsonl").unlink()
    after = IndexedShardSource(str(tmp_path))
    assert {m for m in before if after.content_hash("val", m) != before[m]} == {"text"}


@pytest.mark.slow
def test_a_shard_that_was_damaged_is_named(packed, tmp_path):
    for path in packed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    index = TarIndex.from_bytes((tmp_path / "val-000000.index.parquet").read_bytes(), "index")
    place = int(index.members["offset"][0])
    content = bytearray((tmp_path / "val-000000.tar").read_bytes())
    content[place] ^= 1
    (tmp_path / "val-000000.tar").write_bytes(content)
    source = IndexedShardSource(str(tmp_path))
    with pytest.raises(ValueError, match=r"val-000000\.tar: k16\.text\S*\.txt is not what the index says"):
        source.fetch("val", [0], ["text"], None)
    source.fetch("train", [0], ["text"], None)


@pytest.mark.slow
def test_a_shard_of_another_size_is_named(packed, tmp_path):
    for path in packed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tar = tmp_path / "val-000000.tar"
    tar.write_bytes(tar.read_bytes()[:-512])
    with pytest.raises(ValueError, match=r"val-000000\.tar: has \d+ bytes where .*index\.parquet says \d+: cut off"):
        IndexedShardSource(str(tmp_path))


@pytest.mark.slow
def test_a_shard_cut_off_while_training_is_named(packed, tmp_path):
    for path in packed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    source = IndexedShardSource(str(tmp_path))
    tar = tmp_path / "val-000000.tar"
    tar.write_bytes(tar.read_bytes()[:-512])
    with pytest.raises(ValueError, match=r"val-000000\.tar: has \d+ bytes where its index says"):
        source.fetch("val", [0], ["text"], None)


@pytest.mark.slow
def test_a_key_in_two_shards_is_refused(packed, tmp_path):
    for number in (0, 1):
        (tmp_path / f"{number}.tar").write_bytes((packed / "val-000000.tar").read_bytes())
    with pytest.raises(ValueError, match=r"the key 'k16' comes twice, in \S+0\.tar and \S+1\.tar"):
        IndexedShardSource(str(tmp_path))


@pytest.mark.slow
def test_an_owner_in_two_splits_is_refused(tmp_path):
    for split in ("train", "val"):
        meta = f'{{"key": "{split}", "split": "{split}", "owners": ["anna"]}}'.encode()
        shard_cases.write_tar(tmp_path / f"{split}.tar", [(f"{split}.meta.json", meta), (f"{split}.text.txt", b"a")])
    with pytest.raises(ValueError, match="'anna'"):
        IndexedShardSource(str(tmp_path))


def test_a_shard_listed_under_another_split_is_refused(packed):
    with pytest.raises(ValueError, match=r"val-000000\.tar: the sample 'k16' is of the split 'val'"):
        IndexedShardSource({"train": str(packed / "val-000000.tar")})


@pytest.mark.slow
def test_a_split_without_samples_is_empty(packed):
    source = IndexedShardSource(str(packed))
    assert source.splits == ("train", "val")
    assert len(source.samples("test")) == 0


def test_blocks_of_no_samples_are_refused(packed):
    with pytest.raises(ValueError, match=r"data\.block_samples=0"):
        IndexedShardSource(str(packed), block_samples=0)
