import functools
import json
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import cache_cases, processes, tiny
from support.cache_cases import ENGINE, Watched, World, options

from bind.anchors.dual_encoder import PretrainedAnchor
from bind.cache.build import CacheOptions, build_cache, cacheable_modalities
from bind.cache.fill import EmbeddingJob, Engine
from bind.cache.lookup import hash_keys
from bind.cache.origin import Origin
from bind.cache.store import CacheFolder
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.toy.world import ToySource
from bind.types import Sample

NUM_PICTURES = 14  # of World's 18 samples


@pytest.fixture(scope="module")
def anchor(tmp_path_factory):
    return str(tiny.write_anchor(tmp_path_factory.mktemp("anchor")))


def fill(anchor, folder, world=None, modality="image", engine=ENGINE, **more):
    """Number of values that had to be embedded, and the cache."""
    watched = anchor if isinstance(anchor, Watched) else Watched(anchor)
    before = sum(watched.sizes)
    cache = build_cache(watched, [world or World()], [(0, "train", modality)], options(folder, **more), engine)
    return sum(watched.sizes) - before, cache


def look_up(cache, world=None, rngs=None, modality="image"):
    keys = [sample.key for sample in (world or World()).samples("train")]
    return torch.cat(cache.lookup(modality, keys, source=0, split="train", rngs=rngs))


def folders(root):
    return sorted(about.parent for about in root.glob("*/*/about.json"))


@pytest.mark.slow
def test_one_model_by_two_names_is_embedded_once(anchor, tmp_path):
    fill(anchor, tmp_path)
    copied = Watched(anchor)
    copied.name = "the folder of a binder that it was copied into"
    assert fill(copied, tmp_path)[0] == 0
    assert len(folders(tmp_path)) == 1


@pytest.mark.slow
def test_what_is_there_is_not_embedded_again(anchor, tmp_path):
    embedded, first = fill(anchor, tmp_path)
    again, second = fill(anchor, tmp_path)
    assert (embedded, again) == (NUM_PICTURES, 0)
    assert torch.equal(look_up(first), look_up(second))
    [folder] = folders(tmp_path)
    assert not list(folder.glob(".*.partial"))
    assert json.loads((folder / "about.json").read_text())["source"] == "world"


@pytest.mark.slow
def test_memory_and_disk_give_the_same(anchor, tmp_path):
    assert torch.equal(look_up(fill(anchor, tmp_path)[1]), look_up(fill(anchor, None)[1]))
    assert fill(anchor, None)[0] == NUM_PICTURES


@pytest.mark.slow
def test_loader_processes_give_the_same(anchor, tmp_path):
    _, cache = fill(anchor, tmp_path / "two", engine=Engine(batch_size=2, num_workers=2))
    assert torch.equal(look_up(cache), look_up(fill(anchor, tmp_path / "none")[1]))


@pytest.mark.slow
def test_filling_draws_no_numbers(anchor, tmp_path):
    watched = Watched(anchor)
    before = torch.get_rng_state()
    fill(watched, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_a_killed_process_loses_the_part_it_was_at(anchor, tmp_path):
    fatal = 5  # of three pictures and one in two batches each part: in the middle of the third
    command = [sys.executable, "-m", cache_cases.__name__, anchor, str(tmp_path), str(fatal)]
    assert subprocess.run(command, check=False).returncode == -9
    [folder] = folders(tmp_path)
    done = [f"part-{n:05d}.npy" for n in range(2)]
    assert sorted(p.name for p in folder.glob("part-?????.npy")) == done
    (folder / ".part-00002.npy.0123abcd.partial").write_bytes(b"half a part")
    written = {name: (folder / name).stat().st_mtime_ns for name in done}
    embedded, cache = fill(anchor, tmp_path)
    assert embedded == NUM_PICTURES - 6
    assert {name: (folder / name).stat().st_mtime_ns for name in done} == written
    assert not list(folder.glob(".*.partial"))
    assert torch.equal(look_up(cache), look_up(fill(anchor, None)[1]))


@pytest.mark.slow
@pytest.mark.ranks
def test_processes_share_the_work_and_repeat_none(anchor, tmp_path):
    shares = processes.run(functools.partial(cache_cases.share, anchor, tmp_path / "cache"), 2, tmp_path)
    assert sum(each["embedded"] for each in shares) == NUM_PICTURES
    assert all(each["embedded"] > 0 for each in shares)
    exact = look_up(fill(anchor, None)[1])
    assert all(torch.equal(each["vectors"], exact) for each in shares)


@dataclass(frozen=True, slots=True)
class StoppedEngine(Engine):
    """Claims the first part; then its process is stopped, or goes on very slowly and ends."""

    act: str = "stop"
    seconds: float = 0.0

    def embed_parts(self, job, anchor, parts, sizes, advance):
        next(iter(parts))
        if self.act == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        for _ in range(10):
            time.sleep(self.seconds)
            advance(0)
        os._exit(0)


@pytest.fixture
def start_filling(anchor, tmp_path):
    """Fill `tmp_path` in another process, until that has claimed a part."""
    started = []

    def start(**how):
        watched = Watched(anchor)
        process = multiprocessing.get_context("fork").Process(
            target=fill, args=(watched, tmp_path), kwargs={"engine": StoppedEngine(**how)}
        )
        process.start()
        started.append(process)
        while not [path for path in tmp_path.glob("*/*/claims") if path.stat().st_size]:
            time.sleep(0.02)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


@pytest.mark.slow
def test_who_waits_for_a_process_that_is_stopped_says_which_one_in_the_end(anchor, tmp_path, start_filling):
    process = start_filling()
    told = rf"into it, and has not gone on within timeout_seconds=1: process {process.pid} \({process.pid}\) is stopped"
    with pytest.raises(ValueError, match=told):
        fill(anchor, tmp_path, engine=Engine(batch_size=2, timeout_seconds=1.0))
    process.kill()
    process.join()
    embedded, _ = fill(anchor, tmp_path)
    assert 0 < embedded < NUM_PICTURES, "the other parts were finished before"


@pytest.mark.slow
def test_who_waits_for_a_slow_process_is_patient(anchor, tmp_path, start_filling):
    start_filling(act="go on slowly", seconds=0.4)
    began = time.monotonic()
    fill(anchor, tmp_path, engine=Engine(batch_size=2, timeout_seconds=1.5))
    assert time.monotonic() - began > 2


@pytest.mark.slow
def test_without_locks_the_work_is_done_all_the_same(anchor, tmp_path, monkeypatch):
    def no_locks(*args):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.lockf", no_locks)
    embedded, cache = fill(anchor, tmp_path)
    assert embedded == NUM_PICTURES
    assert torch.equal(look_up(cache), look_up(fill(anchor, None)[1]))


@pytest.mark.slow
@pytest.mark.parametrize(("modality", "reader"), [("image", "pictures"), ("image", "video"), ("text", "text")])
def test_another_reader_never_gets_old_vectors(anchor, tmp_path, monkeypatch, caplog, modality, reader):
    embedded, _ = fill(anchor, tmp_path, modality=modality)
    monkeypatch.setattr(f"bind.media.{reader}.READER_VERSION", 999)
    with caplog.at_level(logging.INFO, "bind"):
        assert fill(anchor, tmp_path, modality=modality)[0] == embedded > 0
    assert "was made from files as another version of this package reads them (readers " in caplog.text
    assert fill(anchor, tmp_path, modality=modality)[0] == 0
    assert len(folders(tmp_path)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["sensor", "audio"])
def test_a_reader_of_other_files_changes_nothing(anchor, tmp_path, monkeypatch, reader):
    fill(anchor, tmp_path)
    monkeypatch.setattr(f"bind.media.{reader}.READER_VERSION", 999)
    assert fill(anchor, tmp_path)[0] == 0


@pytest.mark.slow
def test_other_data_and_another_anchor_never_get_old_vectors(anchor, tmp_path):
    fill(anchor, tmp_path / "cache")
    other = str(tiny.write_anchor(tmp_path / "other", seed=1))
    for changed_anchor, changed in ((anchor, World(seed=1)), (anchor, World(19)), (other, World())):
        embedded, cache = fill(changed_anchor, tmp_path / "cache", changed)
        assert embedded >= NUM_PICTURES
        assert torch.equal(look_up(cache, changed), look_up(fill(changed_anchor, None, changed)[1], changed))
    assert len(folders(tmp_path / "cache")) == 4


@pytest.mark.slow
def test_a_run_that_must_not_build_fails_with_what_differs(anchor, tmp_path):
    with pytest.raises(ValueError, match=r"cache\.build=false, but .* no finished vectors of image of train\. Run"):
        fill(anchor, tmp_path, build=False)
    fill(anchor, tmp_path)
    assert fill(anchor, tmp_path, build=False)[0] == 0
    with pytest.raises(ValueError, match=r"was made from another state of the data \(content \w+, here \w+\)\. Run"):
        fill(anchor, tmp_path, World(seed=1), build=False)
    other = str(tiny.write_anchor(tmp_path / "other", seed=1))
    with pytest.raises(ValueError, match=r"was made from another anchor, or other preprocessing"):
        fill(other, tmp_path, build=False)


@pytest.mark.slow
def test_a_new_anchor_is_not_greeted_by_what_another_one_has_cached(anchor, tmp_path, caplog):
    caplog.set_level(logging.INFO, "bind")
    fill(anchor, tmp_path / "cache")
    other = str(tiny.write_anchor(tmp_path / "other", seed=1))
    fill(other, tmp_path / "cache")
    assert "was made from" not in caplog.text
    fill(anchor, tmp_path / "cache", World(seed=1))  # other data under the same name are worth a line
    assert caplog.text.count("was made from another state of the data") == 1


@pytest.mark.slow
@pytest.mark.parametrize("key", ["anchor_fingerprint", "content", "num_samples", "dim", "format"])
def test_a_foreign_folder_in_the_place_of_ones_own_is_refused(anchor, tmp_path, key):
    fill(anchor, tmp_path)
    [folder] = folders(tmp_path)
    about = json.loads((folder / "about.json").read_text())
    (folder / "about.json").write_text(json.dumps({**about, key: "other"}))
    with pytest.raises(ValueError, match=rf"was made from .*{key} other, here .*Delete the folder"):
        fill(anchor, tmp_path)


@pytest.mark.slow
def test_damage_is_an_error_and_mended_by_deleting_the_file(anchor, tmp_path):
    _, cache = fill(anchor, tmp_path)
    exact = look_up(cache)
    [folder] = folders(tmp_path)
    part = folder / "part-00001.npy"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"part-00001\.npy has another size than it should: delete it"):
        fill(anchor, tmp_path)
    for name in ("part-00001.npy", "part-00001.counts.npy"):
        (folder / name).unlink()
        embedded, cache = fill(anchor, tmp_path)
        assert embedded == 3
        assert torch.equal(look_up(cache), exact)
    for name in ("spans.npy", "hashes.npy", "first_rows.npy"):
        (folder / name).write_bytes(b"")
        with pytest.raises(ValueError, match=rf"{name} is damaged .*delete it"):
            fill(anchor, tmp_path)
        (folder / name).unlink()
        assert torch.equal(look_up(fill(anchor, tmp_path)[1]), exact)
    (folder / "about.json").write_text("{")
    with pytest.raises(ValueError, match=r"about\.json is damaged"):
        fill(anchor, tmp_path)


@pytest.mark.slow
def test_a_place_that_can_not_be_written_is_an_error_with_the_remedy(anchor, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ValueError, match=r"can't be written \(.*\); set cache\.dir to .*cache\.dir=null"):
        fill(anchor, tmp_path / "file")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100}))
    with pytest.raises(ValueError, match=r"GB are needed, 0\.0 GB are free"):
        fill(anchor, tmp_path)


@pytest.mark.slow
def test_views_are_cached_beside_the_plain_picture(anchor, tmp_path):
    _, plain = fill(anchor, tmp_path)
    embedded, cache = fill(anchor, tmp_path, views=3)
    assert embedded == 3 * NUM_PICTURES
    assert torch.equal(look_up(cache), look_up(plain)), "evaluation sees the plain picture"
    num_samples = len(World().samples("train"))
    seen = [look_up(cache, rngs=[np.random.default_rng([seed, i]) for i in range(num_samples)]) for seed in range(30)]
    for value in range(NUM_PICTURES):
        assert len({tuple(z[value].tolist()) for z in seen}) == 3
    assert fill(anchor, tmp_path, views=3)[0] == 0
    assert torch.equal(look_up(fill(anchor, None, views=3)[1], rngs=_rngs(7)), look_up(cache, rngs=_rngs(7)))
    assert fill(anchor, tmp_path, modality="text", views=3)[0] == fill(anchor, None, modality="text")[0]


def _rngs(seed):
    return [np.random.default_rng([seed, i]) for i in range(len(World().samples("train")))]


@pytest.mark.slow
def test_a_job_needs_nothing_but_its_arguments(anchor, tmp_path):
    own = PretrainedAnchor(anchor)
    job = EmbeddingJob(World(), "train", "image", own.transforms["image"], num_views=2)
    counts, clips, inputs = job.load([2, 3, 4])
    assert clips.tolist() == [1, 1]
    z_RKD = job.embed(own, inputs)
    assert counts.tolist() == [1, 0, 1]
    assert (z_RKD.shape, z_RKD.dtype) == ((2, 2, tiny.DIM), np.float16)
    _, cache = fill(anchor, tmp_path, views=2)
    keys = [World().samples("train")[i].key for i in (2, 4)]
    plain = torch.cat(cache.lookup("image", keys, source=0, split="train"))
    torch.testing.assert_close(plain, torch.from_numpy(z_RKD[:, 0]).float(), atol=1e-3, rtol=0)


@pytest.mark.slow
def test_only_what_stays_the_same_is_cached(anchor):
    own = PretrainedAnchor(anchor)
    toy = ToySource(num_train=8, num_val_queries=1, num_test_queries=1, fresh=("image", "audio"))
    everything = ("image", "text", "audio")
    assert cacheable_modalities(toy, "train", everything, own) == ["text"]
    assert cacheable_modalities(toy, "val", everything, own) == ["image", "text"]
    assert cacheable_modalities(toy, "val", everything, PretrainedAnchor(anchor, train=["image"])) == ["text"]
    assert cacheable_modalities(
        ToySource(num_train=8, num_val_queries=1, num_test_queries=1, modalities=("text", "audio")),
        "val",
        everything,
        own,
    ) == ["text"]


def test_options_come_from_the_config(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    parsed = CacheOptions.from_config({"dir": "~/anchors", "views": 2, "build": False})
    assert parsed == CacheOptions(tmp_path / "anchors", 2, False)
    assert CacheOptions.from_config({"dir": None, "views": 1, "build": True}).dir is None
    for views in (0, 1.5, "many"):
        with pytest.raises(ValueError, match=r"cache\.views="):
            CacheOptions.from_config({"dir": None, "views": views, "build": True})


@pytest.mark.slow
def test_of_a_large_cache_only_what_is_looked_up_comes_into_memory(tmp_path, monkeypatch):
    num_samples, dim = 60_000, 512  # 61 MB
    origin = Origin("a", "s", "0" * 32, "0" * 32, "train", "image", num_samples, 1, "plain", dim)
    folder = CacheFolder(tmp_path, origin)
    keys = [f"k{i}" for i in range(num_samples)]
    with folder.open_for_writing(0):
        for part, (first, size) in enumerate(zip(np.cumsum([0, *folder.sizes]), folder.sizes, strict=False)):
            z_RKD = np.ones((size, 1, dim), np.float16)
            z_RKD[:, 0, :2] = np.stack(divmod(np.arange(first, first + size), 1000), axis=1)
            folder.write_part(part, np.ones(size, np.int32), z_RKD)
        folder.finish(hash_keys([Sample(key, "train", {}) for key in keys]))
    monkeypatch.setattr("bind.cache.stored_rows.MAX_OPEN_PARTS", 4)
    files, before = len(os.listdir("/proc/self/fd")), resident_mb()
    cached = folder.open()
    order = np.random.default_rng(0).permutation(num_samples)[: 300 * 64].reshape(300, 64)
    highest = 0.0
    for batch in order:
        vectors = torch.cat(cached.lookup([keys[i] for i in batch]))
        ratio = (vectors[:, :2] / vectors[:, 2:3]).round().long()
        assert (ratio[:, 0] * 1000 + ratio[:, 1]).tolist() == batch.tolist()
        highest = max(highest, resident_mb())
    assert highest - before < 20
    assert len(os.listdir("/proc/self/fd")) == files + 2 + 4, "the index and the parts that were read last"
    again = pickle.loads(pickle.dumps(cached)).lookup([keys[0]])  # as a loader's process gets it
    assert torch.equal(again[0], cached.lookup([keys[0]])[0])


def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


# Manifests


def write_pictures(folder, shade=0):
    rows = ["key,split,image,text"]
    for i in range(6):
        Image.new("RGB", (8, 8), (40 * i, shade, 0)).save(folder / f"{i}.png")
        rows.append(f"k{i},train,{i}.png,number {i}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return ManifestSource(folder / "manifest.csv")


@pytest.mark.slow
def test_a_file_that_changes_is_embedded_anew(anchor, tmp_path):
    source = write_pictures(tmp_path)
    fill(anchor, tmp_path / "cache", source)
    assert fill(anchor, tmp_path / "cache", ManifestSource(source.path))[0] == 0
    Image.new("RGB", (8, 8), (0, 250, 0)).save(tmp_path / "3.png")
    embedded, cache = fill(anchor, tmp_path / "cache", source)
    assert embedded == 6
    assert torch.equal(look_up(cache, source), look_up(fill(anchor, None, source)[1], source))
