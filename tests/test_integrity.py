"""A flipped bit in any file that is kept is refused by the file's name, with what to do, or changes no value."""

import io
import json
import os
import random
import shutil

import numpy as np
import pyarrow.parquet
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import cache_cases, tiny

from bind.cache.build import build_cache
from bind.cache.lookup import hash_keys
from bind.cache.origin import Origin
from bind.cache.store import CacheFolder
from bind.data.sources.shards.tar_index import MEMBER_TYPES, TarIndex
from bind.files.checksums import TRAILER_BYTES
from bind.model.binder import Binder
from bind.model.description import WEIGHTS_NAME, read_description
from bind.model.places import CONFIG_NAME
from bind.training.checkpoints import read_checkpoint
from bind.types import Sample

places = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
FLIPS = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


def message_of(read, *arguments):
    """What `read` gives and None, or None and the message of its ValueError."""
    try:
        return read(*arguments), None
    except ValueError as error:
        return None, str(error)


def flip(content, place):
    share, bit = place
    changed = bytearray(content)
    changed[int(share * len(changed))] ^= 1 << bit
    return bytes(changed)


# The anchor cache

KEYS = [f"k{i}" for i in range(10)]
ORIGIN = Origin("toy", "world", "f" * 32, "c" * 32, "train", "image", len(KEYS), 1, "plain", 6, part_size=4)


def write_cache(root):
    folder = CacheFolder(root, ORIGIN)
    rng = np.random.default_rng(0)
    with folder.open_for_writing(1):
        for number, size in enumerate(folder.sizes):
            folder.write_part(number, np.ones(size, np.int32), rng.normal(size=(size, 1, 6)).astype(np.float16))
        folder.finish(hash_keys([Sample(key, "train", {}) for key in KEYS]))
    return folder


def read_cache(root):
    opened = CacheFolder(root, ORIGIN).open()
    return torch.cat(opened.lookup(KEYS))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    root = tmp_path_factory.mktemp("cache")
    return root, write_cache(root).path, read_cache(root)


@pytest.mark.slow
@FLIPS
@given(place=places, pick=st.integers(0, 1000))
def test_of_a_cache(cache, place, pick):
    root, folder, expected = cache
    files = sorted(path for path in folder.iterdir() if path.stat().st_size and ".counts" not in path.name)
    file = files[pick % len(files)]
    content = file.read_bytes()
    file.write_bytes(flip(content, place))
    vectors, message = message_of(read_cache, root)
    file.write_bytes(content)
    if message is None:
        assert torch.equal(vectors, expected)
    else:
        assert str(folder) in message
        assert "elete" in message


def test_counts_are_compared_before_they_become_the_index(cache, tmp_path):
    shutil.copytree(cache[0], tmp_path, dirs_exist_ok=True)
    folder = CacheFolder(tmp_path, ORIGIN)
    counts = folder.path / "part-00001.counts.npy"
    counts.write_bytes(flip(counts.read_bytes(), (0.8, 3)))
    with pytest.raises(ValueError, match=r"part-00001\.counts\.npy is damaged"):
        folder.finish(hash_keys([Sample(key, "train", {}) for key in KEYS]))


def test_a_cache_without_checksums_loads(cache, tmp_path):
    shutil.copytree(cache[0], tmp_path, dirs_exist_ok=True)
    for path in CacheFolder(tmp_path, ORIGIN).path.glob("*.npy"):
        path.write_bytes(path.read_bytes()[:-TRAILER_BYTES])
    assert torch.equal(read_cache(tmp_path), cache[2])


@pytest.mark.slow
def test_all_of_a_cache_is_compared_where_that_is_wanted(tmp_path):
    anchor = cache_cases.Watched(str(tiny.write_anchor(tmp_path / "anchor")))
    world, place = cache_cases.World(), [(0, "train", "image")]

    def build(**more):
        build_cache(anchor, [world], place, cache_cases.options(tmp_path / "cache", **more), cache_cases.ENGINE)

    build()
    last = sorted((tmp_path / "cache").glob("*/*/part-?????.npy"))[-1]
    last.write_bytes(flip(last.read_bytes(), (0.7, 1)))
    build()
    with pytest.raises(ValueError, match=rf"{last.name} is damaged .*: delete it"):
        build(verify=True)
    last.unlink()
    build(verify=True)


@pytest.mark.slow
def test_a_source_that_changes_meanwhile_leaves_no_cache(tmp_path):
    class Changing(cache_cases.World):
        def values(self, modality, index):
            if index == 17:
                self.seed = 1
            return super().values(modality, index)

    anchor = cache_cases.Watched(str(tiny.write_anchor(tmp_path / "anchor")))
    options = cache_cases.options(tmp_path / "cache")
    source = Changing()
    source.content_hash = lambda split, modality: f"{source.seed}" * 32
    with pytest.raises(ValueError, match="has changed while its vectors were computed"):
        build_cache(anchor, [source], [(0, "train", "text")], options, cache_cases.ENGINE)
    assert not list((tmp_path / "cache").glob("*/*/part-?????.npy"))


# Checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "last.ckpt"
    torch.manual_seed(0)
    state = {f"layer.{n}": torch.randn(5, 7) for n in range(3)}
    torch.save({"state_dict": state, "epoch": 1, "global_step": 3, "callbacks": {"A": {"x": 1.5}}}, path)
    return path


def as_plain(value):
    if isinstance(value, dict):
        return {name: as_plain(inner) for name, inner in value.items()}
    return value.tolist() if isinstance(value, torch.Tensor) else value


@pytest.mark.slow
@FLIPS
@given(place=places)
def test_of_a_checkpoint(checkpoint, tmp_path_factory, place):
    path = tmp_path_factory.mktemp("flipped") / "last.ckpt"
    path.write_bytes(flip(checkpoint.read_bytes(), place))
    read, message = message_of(read_checkpoint, path)
    if message is None:
        assert as_plain(read) == as_plain(read_checkpoint(checkpoint))
    else:
        assert str(path) in message
        assert "another one" in message or "init_from" in message
        assert "weights_only" not in message


# Binders


@pytest.fixture(scope="module")
def binder(tmp_path_factory):
    config = {
        "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
        "modalities": ["depth"],
        "encoder": {"depth": {"_target_": "bind.encoders.map_cnn.MapCNN", "width": 8}},
        "head": {"_target_": "bind.encoders.heads.ProjectionHead", "dropout": 0.1},
        "transform": {"depth": {"_target_": "bind.data.transforms.depth.DepthTransform"}},
    }
    return Binder.from_config(config).save(tmp_path_factory.mktemp("binder"))


@pytest.mark.slow
@FLIPS
@given(place=places, name=st.sampled_from([CONFIG_NAME, WEIGHTS_NAME]))
def test_of_a_binder(binder, tmp_path_factory, place, name):
    folder = tmp_path_factory.mktemp("flipped")
    for other in (CONFIG_NAME, WEIGHTS_NAME):
        shutil.copy(binder / other, folder)
    (folder / name).write_bytes(flip((binder / name).read_bytes(), place))

    def read():
        config, about = read_description(folder, ())
        about.require_as_saved(folder)
        return config, about.anchor_fingerprint

    described, message = message_of(read)
    if message is None:
        whole, whole_about = read_description(binder, ())
        assert name == CONFIG_NAME
        config, fingerprint = described  # a flip in the word "checksums" leaves one name more, which nothing reads
        assert ({part: config[part] for part in whole}, fingerprint) == (whole, whole_about.anchor_fingerprint)
    else:
        assert str(folder) in message


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_binder_with_a_flipped_bit_does_not_load(binder, tmp_path, seed):
    rng = random.Random(seed)
    folder = shutil.copytree(binder, tmp_path / "binder")
    described = json.loads((folder / CONFIG_NAME).read_text())
    described["head"]["dropout"] = rng.random()  # loads, but is another binder
    (folder / CONFIG_NAME).write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"binder\.json is not as it was saved.*download the folder again"):
        Binder.load(folder)
    del described["checksums"]
    (folder / CONFIG_NAME).write_text(json.dumps(described))
    Binder.load(folder)


# Indices of shards


@pytest.fixture(scope="module")
def index():
    members = {
        "offset": np.array([512, 2048, 4096]),
        "size": np.array([100, 200, 300]),
        "crc32": np.array([1, 2**32 - 1, 3]),
        "start_seconds": np.array([np.nan, 0.5, np.nan]),
        "end_seconds": np.array([np.nan, 1.5, np.nan]),
    }
    return TarIndex(
        num_bytes=10_240,
        plan="p",
        key=["a", "b"],
        split=["train", None],
        group=[None, "g"],
        label=["cat", "猫"],
        owners=[["alice"], []],
        first=np.array([0, 2, 3]),
        suffix=np.array(["image.png", "text.txt", "audio.wav"], object),
        members={name: members[name].astype(kind) for name, kind in MEMBER_TYPES.items()},
    )


@pytest.mark.slow
@settings(FLIPS, max_examples=400)
@given(place=places)
def test_of_an_index(index, place):
    read, message = message_of(TarIndex.from_bytes, flip(index.to_bytes(), place), "a.index.parquet")
    if message is None:
        assert read.checksum() == index.checksum()
    else:
        assert message.startswith("a.index.parquet: ")
        assert "Delete it" in message


def test_an_index_without_a_checksum_loads(index):
    table = pyarrow.parquet.read_table(io.BytesIO(index.to_bytes()))
    header = json.loads(table.schema.metadata[b"bindspace"])
    del header["checksum"]
    file = io.BytesIO()
    pyarrow.parquet.write_table(table.replace_schema_metadata({"bindspace": json.dumps(header)}), file)
    assert TarIndex.from_bytes(file.getvalue(), "a").checksum() == index.checksum()


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / CONFIG_NAME)
    with pytest.raises(ValueError, match="is a named pipe"):
        read_description(tmp_path, ())
