"""`bindspace index engine=ray` on a cluster of this machine with two workers: the same index as without Ray."""

import functools
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support import ray_index, served
from support.ray_index import indexing

from bind.commands import index_on_ray
from bind.search.index import Index

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
]  # workers import torch, which takes its time on a busy machine


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    for_workers = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}}
    quiet = {"include_dashboard": False, "log_to_driver": False}
    ray.init(num_cpus=2, num_gpus=0, object_store_memory=100_000_000, runtime_env=for_workers, **quiet)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A saved binder, and a table of sixteen samples."""
    folder = tmp_path_factory.mktemp("world")
    served.binder().save(folder / "binder")
    rows = []
    for n in range(16):
        (folder / f"{n}.wav").write_bytes(served.wav(n))
        row = {"key": f"k{n}", "split": "train" if n < 10 else "test", "label": "odd" if n % 2 else None}
        rows.append(row | {"text": [f"a red circle {n}", "b"][: 1 + n % 2], "audio": f"{n}.wav"})
    (folder / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "broken.wav").write_bytes(b"no sound")
    broken = [*rows[:12], {**rows[12], "audio": "broken.wav"}]
    (folder / "broken.jsonl").write_text("\n".join(map(json.dumps, broken)))
    return folder


@pytest.fixture(scope="module")
def here(world):
    """The index that is made without Ray."""
    indexing(world / "here", manifest=str(world / "all.jsonl"), binder=str(world / "binder"))
    return world / "here"


def content(folder):
    """Every vector of an index, bit by bit, with what is known of it."""
    store, rows = Index.open(folder).store, []
    for part in store.parts:
        cells = part.table.to_pylist()
        rows += [(part.part.modality, cells[n], part.vectors[n].tolist()) for n in store.rows_of(part)]
    return sorted(rows, key=lambda row: (row[0], row[1]["key"], row[1]["number"]))


def test_the_index_is_the_one_made_here_though_a_worker_was_killed(world, here, tmp_path, monkeypatch):
    notes = tmp_path / "notes"
    notes.mkdir()
    begin = functools.partial(ray_index.begin_and_die_once, tmp_path / "dead", notes)
    monkeypatch.setattr(index_on_ray, "_begin", begin)
    monkeypatch.setattr(index_on_ray, "PIECE_BATCHES", 1)
    indexing(tmp_path / "index", manifest=str(world / "all.jsonl"), binder=str(world / "binder"), engine="ray")
    assert (tmp_path / "dead").exists()
    assert len(list(notes.glob("pid-*"))) >= 3, "two workers, and one for that which died"
    assert content(tmp_path / "index") == content(here)
    assert list((tmp_path / "index" / "pieces").iterdir()) == []
    queries = [{"text": "a red circle 3"}, {"audio": world / "5.wav"}]
    for query in queries:
        hits = [Index.open(folder).search(query, top=20) for folder in (tmp_path / "index", here)]
        assert hits[0] == hits[1]


def test_a_killed_index_goes_on_and_makes_nothing_twice(world, here, tmp_path):
    out, manifest, binder = tmp_path / "index", world / "all.jsonl", world / "binder"
    address = ray.get_runtime_context().gcs_address
    process = subprocess.Popen([sys.executable, "-m", "support.ray_index", *map(str, (out, manifest, binder, address))])
    until = time.monotonic() + 600
    while time.monotonic() < until and process.poll() is None:
        if (out / "index.json").is_file() and len(json.loads((out / "index.json").read_text())["parts"]) >= 2:
            break
        time.sleep(0.05)
    assert process.poll() is None, "it ended before it was killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    num_made = Index.open(out).store.num_vectors("audio")
    assert 4 <= num_made < 16
    before = {path: path.stat().st_mtime_ns for path in (out / "parts").glob("*.vectors")}
    (out / "pieces" / "0123456789abcdef-1.arrow").write_bytes(b"of a worker of the killed call")
    indexing(out, manifest=str(manifest), binder=str(binder), modalities=["audio"], engine="ray")
    assert content(out) == [row for row in content(here) if row[0] == "audio"]
    kept = [path for path, at in before.items() if path.exists() and path.stat().st_mtime_ns == at]
    assert len(kept) >= 2
    assert list((out / "pieces").iterdir()) == []
    indexing(out, manifest=str(manifest), binder=str(binder), modalities=["audio"], engine="ray")  # nothing is left


def test_what_a_worker_can_not_read_is_named_and_the_rest_is_kept(world, tmp_path, monkeypatch):
    monkeypatch.setattr(index_on_ray, "PIECE_BATCHES", 1)
    options = {"binder": str(world / "binder"), "modalities": ["audio"], "engine": "ray"}
    with pytest.raises(ValueError, match=r"broken\.wav"):
        indexing(tmp_path / "index", manifest=str(world / "broken.jsonl"), **options)
    assert Index.open(tmp_path / "index").store.num_vectors("audio") >= 10  # of the split before


def test_files_without_a_table(world, tmp_path):
    files = {"files": str(world / "[0-9]*.wav"), "binder": str(world / "binder")}
    for engine in ("local", "ray"):
        indexing(tmp_path / engine, engine=engine, **files)
    assert content(tmp_path / "ray") == content(tmp_path / "local")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"engine": "spark"}, "engine=spark: choose local or ray"), ({"num_workers": 5}, "a worker takes 6 CPUs")],
)
def test_what_can_not_be_run_is_refused(options, message, world, tmp_path):
    values = {"manifest": str(world / "all.jsonl"), "binder": str(world / "binder"), "engine": "ray"}
    with pytest.raises(ValueError, match=message):
        indexing(tmp_path / "index", **values | options)
