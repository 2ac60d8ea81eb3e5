"""`bindspace pack`, and a training on what it packed."""

import json

import pytest
from support import runs, shard_cases

from bind.commands.cli import main
from bind.commands.pack import pack
from bind.runs.jobs import evaluate, train


def packing(recordings, folder, **values):
    return runs.config(name="pack", manifest=str(recordings), out=str(folder), **values)


@pytest.mark.slow
def test_the_command_packs_and_goes_on(as_command, capsys, recordings, tmp_path):
    arguments = ("pack", f"manifest={recordings}", f"out={tmp_path / 'out'}", "shard_megabytes=0.1")
    assert as_command(main, *arguments) == 0
    assert "24 samples in" in capsys.readouterr().out
    before = runs.tree(tmp_path / "out")
    (tmp_path / "out" / "train-000001.tar").unlink()
    (tmp_path / "out" / "shards.json").unlink()
    assert as_command(main, *arguments) == 0
    assert "were there" in capsys.readouterr().out
    assert runs.tree(tmp_path / "out") == before


@pytest.mark.slow
def test_one_split_alone(recordings, tmp_path):
    pack(packing(recordings, tmp_path, split="val"))
    assert {path.name for path in tmp_path.iterdir()} == {"val-000000.tar", "val-000000.index.parquet", "shards.json"}


@pytest.mark.slow
def test_a_size_that_is_none_is_refused(recordings, tmp_path):
    with pytest.raises(ValueError, match="shard_megabytes=0"):
        pack(packing(recordings, tmp_path, shard_megabytes=0))


@pytest.mark.slow
def test_a_training_on_shards(recordings, tmp_path, no_pictures):
    """With the order of the manifest and free shuffling, shards train the very same weights."""
    pack(packing(recordings, tmp_path / "shards", shuffle_seed=None, shard_megabytes=0.1))
    figures = {}
    for name, choice, data in (
        ("manifest", "data=manifest", {"data.manifest": str(recordings)}),
        ("shards", "data=shards", {"data.shards": str(tmp_path / "shards"), "data.block_samples": 1}),
    ):
        run_dir = tmp_path / name
        score = train(runs.config(choice, **runs.RECORDED | data | {"run_dir": str(run_dir)}))
        metrics = json.loads((run_dir / "metrics.json").read_text())
        figures[name] = score, metrics["retrieval"], (run_dir / "binder" / "model.safetensors").read_bytes()
    assert figures["manifest"] == figures["shards"]
    evaluate(runs.config(name="evaluate", run=str(tmp_path / "shards"), split="val"))


@pytest.mark.slow
def test_a_training_with_loader_processes_on_an_object_store(recordings, tmp_path, no_pictures, monkeypatch):
    """The weights of shards on disk; the loaders of training and cache are fresh processes, not forks."""
    pack(packing(recordings, tmp_path / "shards"))
    with shard_cases.Server(tmp_path) as server:
        for name, value in server.store_options.items():
            monkeypatch.setenv(name, value)
        weights = []
        for shards in (str(tmp_path / "shards"), "s3://shards"):
            run_dir = tmp_path / f"run{len(weights)}"
            values = {"data.shards": shards, "data.num_workers": 1, "run_dir": str(run_dir), "trainer.max_epochs": 1}
            train(runs.config("data=shards", **runs.RECORDED | values))
            weights.append((run_dir / "binder" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.parametrize(("way", "pulled_after"), [("server", 7), ("stream", 5)])
def test_a_resumed_run_on_shards_equals_an_uninterrupted_one(way, pulled_after, recordings, tmp_path, no_pictures):
    pack(packing(recordings, tmp_path / "shards"))
    with shard_cases.Server(tmp_path / "shards") as server:
        choice, data = "data=shards", {"data.shards": server.url, "data.num_workers": 2, "data.block_samples": 3}
        if way == "stream":
            pytest.importorskip("webdataset")
            shards = {split: str(tmp_path / "shards" / f"{split}-000000.tar") for split in ("train", "val", "test")}
            choice, data = "data=shard_stream", {"data.shards": shards, "data.samples_per_shard": 6}
        values = runs.RECORDED | data | {"data.batch_size": 2, "modalities": ["imu"]}

        train(runs.config(choice, **values | {"run_dir": str(tmp_path / "whole")}))
        parts = values | {"run_dir": str(tmp_path / "parts")}
        with pytest.raises(runs.PulledPlugError):
            train(
                runs.config(
                    choice, **parts | {"callbacks.plug": {"_target_": "support.runs.PullPlug", "step": pulled_after}}
                )
            )
        train(runs.config(choice, **parts | {"ckpt": "last"}))
    weights = [(tmp_path / name / "binder" / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]
