"""What is packed: the same values, the same bytes each time, sizes in bounds, nothing done twice."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from support import shard_cases
from support.runs import read_manifest, tree, write_manifest

from bind.data.sources.manifest import ManifestSource
from bind.data.sources.shards.source import IndexedShardSource
from bind.data.sources.shards.tar_index import TarIndex
from bind.data.sources.shards.writer import is_written, plan_shards, write_listing, write_shard
from bind.data.transforms.audio import AudioTransform
from bind.data.transforms.depth import DepthTransform
from bind.data.transforms.imu import ImuTransform
from bind.media.pictures import open_image

MODALITIES = ("text", "audio", "imu", "image", "depth")
TRANSFORMS = {
    "text": lambda value, rng: value,
    "image": lambda value, rng: np.asarray(open_image(value)),
    "audio": AudioTransform(sample_rate_hz=16_000, window_seconds=0.08),
    "imu": ImuTransform(sample_rate_hz=50.0, window_seconds=0.08),
    "depth": DepthTransform(size_px=16),
}


def same(a, b):
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(np.all(np.asarray(a == b)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, 3], ids=["evaluation", "training"])
def test_a_sample_gives_the_same_tensors_from_a_manifest_and_from_shards(world, packed, seed):
    loose, shards = ManifestSource(world), IndexedShardSource(str(packed))
    assert set(shards.modalities()) == set(MODALITIES)
    compared = dict.fromkeys(MODALITIES, 0)
    for split in loose.splits:
        place = {sample.key: index for index, sample in enumerate(shards.samples(split))}
        indices = [place[sample.key] for sample in loose.samples(split)]
        there = shards.fetch(split, indices, MODALITIES, None)
        here = loose.fetch(split, range(len(indices)), MODALITIES, None)
        for index, (one, other) in enumerate(zip(here, there, strict=True)):
            assert {m: len(v) for m, v in one.items()} == {m: len(v) for m, v in other.items()}
            for modality, values in one.items():
                for a, b in zip(values, other[modality], strict=True):
                    rngs = [None if seed is None else np.random.default_rng([seed, index]) for _ in range(2)]
                    transform = TRANSFORMS[modality]
                    assert same(transform(a, rngs[0]), transform(b, rngs[1])), (modality, a)
                    compared[modality] += 1
    assert min(compared.values()) >= 4, compared


@pytest.mark.slow
def test_metadata_is_read_as_it_was_written(world, packed):
    loose, shards = ManifestSource(world), IndexedShardSource(str(packed))
    for split in loose.splits:
        here = {s.key: (s.split, s.group, s.label, s.owners, set(s.values)) for s in loose.samples(split)}
        assert here == {s.key: (s.split, s.group, s.label, s.owners, set(s.values)) for s in shards.samples(split)}
    assert [s.key for s in loose.samples("val")] == [s.key for s in shards.samples("val")]
    assert [s.key for s in loose.samples("train")] != [s.key for s in shards.samples("train")]


@pytest.mark.slow
def test_packing_twice_gives_equal_bytes(world, packed, tmp_path):
    shard_cases.pack(world, tmp_path / "again")
    assert tree(tmp_path / "again") == tree(packed)


def test_no_shard_is_larger_than_the_limit(world, packed):
    sizes = [path.stat().st_size for path in packed.glob("*.tar")]
    assert len(sizes) > 3
    assert max(sizes) <= 40_000


@pytest.mark.slow
def test_a_sample_larger_than_a_shard_has_one_of_its_own(world):
    samples = ManifestSource(world).samples("val")
    assert [len(plan.samples) for plan in plan_shards(samples, "val", 1)] == [1] * len(samples)


@pytest.mark.slow
def test_what_is_written_is_not_written_again_and_what_is_missing_is(world, packed, tmp_path):
    plans = shard_cases.pack(world, tmp_path)
    assert all(is_written(plan, tmp_path) for plan in plans)
    Path(tmp_path / plans[1].name).unlink()
    (tmp_path / plans[2].name.replace(".tar", ".index.parquet")).unlink()
    (tmp_path / plans[3].name).write_bytes(b"cut off")
    assert [is_written(plan, tmp_path) for plan in plans[:5]] == [True, False, False, False, True]
    for plan in plans[1:4]:
        write_shard(plan, tmp_path)
    assert tree(tmp_path) == tree(packed)


@pytest.mark.slow
def test_a_shard_that_fails_leaves_nothing(world, tmp_path):
    source = ManifestSource(world)
    folder = tmp_path / "out"
    folder.mkdir()
    (plan,) = plan_shards(source.samples("val"), "val", 10**9)
    picture = next(v[0].path for s in plan.samples for m, v in s.values.items() if m == "image")
    moved = picture.rename(tmp_path / picture.name)
    try:
        with pytest.raises(ValueError, match=rf"{picture.name}: not readable"):
            write_shard(plan, folder)
    finally:
        moved.rename(picture)
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_another_pack_in_the_folder_is_refused(world, tmp_path):
    plans = shard_cases.pack(world, tmp_path)
    rows = read_manifest(world)
    rows[-1]["text"] = ["another caption"]
    try:
        changed = ManifestSource(write_manifest(world.with_name("changed.jsonl"), rows))
    finally:
        world.with_name("changed.jsonl").unlink()
    others = plan_shards(changed.samples("val"), "val", 40_000)
    with pytest.raises(ValueError, match=r"packed from other samples, files or options"):
        [is_written(plan, tmp_path) for plan in others]
    with pytest.raises(ValueError, match=r"train-000001\.tar.* not of this manifest"):
        write_listing(plans[:1], tmp_path)


@pytest.mark.slow
def test_splits_may_be_packed_one_by_one(world, packed, tmp_path):
    plans = shard_cases.pack(world, tmp_path)
    (tmp_path / "shards.json").unlink()
    for split in ("train", "val"):
        write_listing([plan for plan in plans if plan.name.startswith(split)], tmp_path)
    assert tree(tmp_path) == tree(packed)


@pytest.mark.slow
def test_webdataset_and_tarfile_read_it(world, packed):
    webdataset = pytest.importorskip("webdataset")
    tars = sorted(map(str, packed.glob("*.tar")))
    samples = [s for tar in tars for s in webdataset.WebDataset(tar, shardshuffle=False)]
    keys = {s.key for split in ("train", "val") for s in ManifestSource(world).samples(split)}
    assert len(samples) == len(keys) == 24
    assert {s["__key__"] for s in samples} >= {"k00", "toy/01%2E%C3%A9"}
    names = []
    for path in tars:
        with tarfile.open(path) as tar:
            names += tar.getnames()
    assert {"k00.meta.json", "k00.text.txt", "k02.text.0.txt", "k02.imu.npy", "k02.imu.json"} <= set(names)
    index = TarIndex.from_bytes((packed / "train-000000.index.parquet").read_bytes(), "index")
    assert index.key[0] in keys
