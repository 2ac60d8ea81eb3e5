"""`engine=ray` on a cluster of this machine with two workers."""

import functools
import json
import os
import sys

import numpy as np
import pytest
from support import pretrained, ray_cases, runs, tiny
from support.cache_cases import ENGINE, World, options

from bind.cache.arrays import load_array
from bind.cache.build import build_cache
from bind.commands import pack
from bind.commands.cache import RayEngine, cache
from bind.commands.on_ray import connected, spread

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # every worker imports torch and transformers anew


def vectors(folder):
    """The files of a cache, by name; the claims say which process has made which part."""
    return {name: content for name, content in runs.tree(folder).items() if not name.endswith("/claims")}


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    for_workers = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
    quiet = {"include_dashboard": False, "log_to_driver": False}
    ray.init(num_cpus=2, num_gpus=0, object_store_memory=100_000_000, runtime_env=for_workers, **quiet)
    yield
    ray.shutdown()


def test_a_cache_has_the_bytes_of_the_local_engine_though_a_worker_was_killed(tmp_path):
    anchor, notes = str(tiny.write_anchor(tmp_path / "anchor")), tmp_path / "notes"
    notes.mkdir()
    world, places = World(40), [(0, "train", "image"), (0, "train", "text")]
    more = {"views": 2}
    (tmp_path / "no_notes").mkdir()
    (tmp_path / "no_notes" / "dead").touch()  # who has died does not die again
    here = ray_cases.DiesOnce(anchor, tmp_path / "no_notes")
    build_cache(here, [world], places, options(tmp_path / "local", **more), ENGINE, show=False)
    engine = RayEngine(ENGINE.batch_size)
    build_cache(ray_cases.DiesOnce(anchor, notes), [world], places, options(tmp_path / "ray", **more), engine)
    assert (notes / "dead").exists()
    assert len(list(notes.glob("pid-*"))) >= 3, "two workers, and one for that which died"
    assert vectors(tmp_path / "ray") == vectors(tmp_path / "local")


def test_the_command_writes_what_it_writes_here(tmp_path):
    small = ["data.num_train=40", "data.num_val_queries=1", "batch_size=16"]
    for engine in ("local", "ray"):
        cache(runs.config(*small, f"cache.dir={tmp_path / engine}", f"engine={engine}", name="cache"))
    assert vectors(tmp_path / "ray") == vectors(tmp_path / "local")
    assert len(list((tmp_path / "ray").glob("*/*/about.json"))) == 4


def test_features_and_their_views_are_those_of_the_local_engine(tmp_path, recordings):
    choices = ["data=manifest", "encoder/audio=wav2vec2", "modalities=[audio]", "num_workers=0", "cache.views=2"]
    values = {
        "data.manifest": str(recordings),
        "encoder.audio.pretrained": pretrained.write_speech(tmp_path / "model"),
        "transform.audio.window_seconds": 0.6,
        "transform.audio.noise_snr_db_range": [10, 20],
    }
    for engine in ("local", "ray"):
        cache(runs.config(*choices, f"cache.dir={tmp_path / engine}", f"engine={engine}", name="cache", **values))
    assert vectors(tmp_path / "ray") == vectors(tmp_path / "local")
    [part] = (tmp_path / "ray").glob("*/train-audio-*-2views/part-00000.npy")
    vectors_RKF = load_array(part)
    assert vectors_RKF.dtype == np.float32
    assert (vectors_RKF[:, 0] != vectors_RKF[:, 1]).any(axis=1).all(), "the second view is an augmented one"


def test_shards_have_the_bytes_of_the_local_engine_though_a_worker_was_killed(
    tmp_path, recordings, monkeypatch, capsys
):
    def packing(engine):
        values = {"manifest": str(recordings), "out": str(tmp_path / engine), "shard_megabytes": 0.1}
        pack.pack(runs.config(name="pack", engine=engine, **values))

    packing("local")
    begin = functools.partial(ray_cases.begin_and_die_once, pack._begin, tmp_path / "dead")
    monkeypatch.setattr(pack, "_begin", begin)
    packing("ray")
    assert (tmp_path / "dead").exists()
    assert runs.tree(tmp_path / "ray") == runs.tree(tmp_path / "local")
    packing("ray")
    assert "were there" in capsys.readouterr().out


def test_a_broken_file_ends_the_job_with_its_name(tmp_path, recordings):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"no picture")
    rows = [{"key": "a", "split": "train", "image": "broken.png", "text": "a"}]
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    values = {"split": ["train"], "modalities": ["image"], "engine": "ray", "cache.dir": str(tmp_path / "cache")}
    config = runs.config(
        "data=manifest", f"data.manifest={folder / 'manifest.jsonl'}", "num_workers=0", name="cache", **values
    )
    with pytest.raises(ValueError, match=r"broken\.png") as raised:
        cache(config)
    assert raised.type is ValueError


@pytest.mark.parametrize(("what", "error"), [("fails", ValueError), ("is full", OSError)])
def test_what_a_worker_raises_is_raised_here(what, error):
    with pytest.raises(error, match=r"3\.wav is damaged|No space left") as raised:
        list(spread(functools.partial(ray_cases.begin_with, what), range(6), num_cpus=1))
    assert raised.type is error
    assert error is ValueError or raised.value.errno == 28


def test_a_piece_that_kills_every_worker_ends_the_job():
    with pytest.raises(ValueError, match="4 workers have died of the same piece"):
        list(spread(functools.partial(ray_cases.begin_with, "dies"), range(6), num_cpus=1))


def test_every_piece_is_done_once():
    done = list(spread(functools.partial(ray_cases.begin_with, ""), [0, 1, 2, 4, 5, 2], num_cpus=1))
    assert sorted(done) == [0, 1, 2, 2, 4, 5]
    assert list(spread(functools.partial(ray_cases.begin_with, ""), [], num_cpus=1)) == []


def test_what_can_not_be_run_is_reported():
    with pytest.raises(ValueError, match="engine=spark: choose local or ray"), connected("spark", None):
        pass
    with pytest.raises(ValueError, match="a worker takes 3 CPUs, all of Ray has 2: lower num_workers"):
        list(spread(functools.partial(ray_cases.begin_with, ""), [1], num_cpus=3))
