"""Whole runs in one process: what lies in a run directory, and what is done with it afterwards."""

import csv
import logging
import math
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from support import runs
from support.finished import assert_equal, figures_of, metrics_of, weights_of

import bind
from bind.commands.cli import main
from bind.commands.embed import embed
from bind.commands.files import by_numbers
from bind.data.sources.manifest import ManifestSource
from bind.model.binder import Binder
from bind.runs.jobs import evaluate, train
from bind.types import Clip

pytestmark = pytest.mark.slow

RETRIEVAL_KEYS = {"R@1", "R@5", "R@10", "median_rank", "mrr", "map", "queries", "pool"}
RETRIEVAL_KEYS |= {"chance_R@1", "ci95_R@1", "trained"}
TOY_MODALITIES = ("image", "text", "audio", "imu")
EVERY_SECOND_STEP = {"callbacks.last.every_n_train_steps": 2}
PNG = b"\x89PNG\r\n"


def logged(run_dir):
    with (run_dir / "logs" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# What a run leaves


def test_the_run_directory_is_complete(toy_run):
    made = runs.tree(toy_run)
    for name in ("curves.png", "matrix.png", "gallery_audio_to_image.png"):
        assert made[name].startswith(PNG)
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "binder/model.safetensors", "binder/binder.json"):
        assert made[name], name
    report = made["report.html"].decode()
    assert report.count("data:image/png;base64") == 5  # curves, matrix and three tables of confusions
    assert not [name for name in made if name.endswith((".partial", ".kept"))]

    resolved = OmegaConf.load(toy_run / "config.yaml")
    assert (resolved.version, resolved.data.sources.toy.num_train) == (3, 128)
    assert "${" not in (toy_run / "config.yaml").read_text()


def test_metrics_hold_what_others_rely_on(toy_run):
    metrics = metrics_of(toy_run)
    parts = {"split", "anchor", "retrieval", "zero_shot", "summary", "space", "leakage", "seconds", "hardware"}
    assert set(metrics) == parts
    assert metrics["hardware"]["processes"] == 1
    assert metrics["split"] == "test"
    assert set(metrics["anchor"]) == {"name", "fingerprint"}
    assert metrics["anchor"]["name"] == "toy"
    assert set(metrics["retrieval"]) == {f"{a}_to_{b}" for a in TOY_MODALITIES for b in TOY_MODALITIES if a != b}
    for name, figures in metrics["retrieval"].items():
        assert set(figures) >= RETRIEVAL_KEYS | {"ceiling_R@1"}
        assert figures["trained"] == (name in ("audio_to_image", "image_to_audio", "imu_to_image", "image_to_imu"))
        assert (figures["queries"], figures["pool"]) == (115, 115)
        assert figures["chance_R@1"] == pytest.approx(1 / 115)
        low, high = figures["ci95_R@1"]
        assert 0 <= low <= figures["R@1"] <= high <= 1
        assert figures["chance_R@1"] < figures["ceiling_R@1"] <= 1
    assert metrics["retrieval"]["image_to_text"]["ceiling_R@1"] == 1
    assert metrics["retrieval"]["image_to_text"]["R@1"] > 0.3  # the anchor's own pair
    assert set(metrics["zero_shot"]) == {"image", "audio", "imu"}
    for figures in metrics["zero_shot"].values():
        assert set(figures) >= {"top1", "num_classes", "chance", "queries"}
        assert (figures["num_classes"], figures["chance"], figures["queries"]) == (4, 0.25, 230)
    assert {"fit", "evaluate", "total"} <= set(metrics["seconds"])


def test_the_names_that_are_logged(toy_run):
    rows = logged(toy_run)
    for name in ("train/loss/audio-image", "train/scale/imu-image", "val/audio_to_image/R@1", "val/mean_R@1"):
        values = [float(row[name]) for row in rows if row[name]]
        assert values, name
        assert all(math.isfinite(value) for value in values)


def test_evaluating_again_gives_the_same_figures_anywhere(toy_run, tmp_path, monkeypatch, no_pictures):
    moved = shutil.copytree(toy_run, tmp_path / "moved")
    (moved / "metrics.json").unlink()
    monkeypatch.chdir(tmp_path)
    evaluate(runs.config(name="evaluate", run="moved"))
    assert figures_of(moved) == figures_of(toy_run)
    shutil.copy(toy_run / "metrics.json", moved)
    evaluate(runs.config(name="evaluate", run="moved"))
    seconds = metrics_of(toy_run)["seconds"]
    kept = seconds.keys() - {"evaluate", "total"}
    again = metrics_of(moved)["seconds"]
    assert {name: again[name] for name in kept} == {name: seconds[name] for name in kept}
    assert again["total"] >= again["fit"] + again["evaluate"] - 0.1
    assert metrics_of(moved)["hardware"] == metrics_of(toy_run)["hardware"]


def test_another_split_stands_beside_the_held_out_one(recorded_run, tmp_path, capsys, no_pictures):
    moved = shutil.copytree(recorded_run, tmp_path / "moved")
    of_test = {name: (moved / name).read_bytes() for name in ("metrics.json", "report.html")}
    evaluate(runs.config(name="evaluate", run=str(moved), split="val"))
    assert {name: (moved / name).read_bytes() for name in of_test} == of_test
    assert "val split" in (moved / "report_val.html").read_text()
    assert metrics_of(moved, "metrics_val.json")["split"] == "val"
    assert capsys.readouterr().out.strip().endswith(f"run directory: {moved}")


# A manifest with holes, several captions, and a fused modality


def test_missing_modalities_and_several_captions_are_counted(recorded_run):
    retrieval = metrics_of(recorded_run)["retrieval"]
    # Of six test rows one lacks sound, one motion, one its picture; each has two captions.
    assert (retrieval["audio_to_text"]["queries"], retrieval["audio_to_text"]["pool"]) == (5, 12)
    assert (retrieval["text_to_audio"]["queries"], retrieval["text_to_audio"]["pool"]) == (10, 5)
    assert (retrieval["audio_to_imu"]["queries"], retrieval["audio_to_imu"]["pool"]) == (4, 5)
    assert "ceiling_R@1" not in retrieval["audio_to_imu"]


def test_a_learned_fusion_stands_beside_its_inputs_and_their_sum(recorded_run):
    retrieval = metrics_of(recorded_run)["retrieval"]
    for name in ("audio", "imu", "audio_and_imu", "audio_plus_imu"):
        assert f"{name}_to_text" in retrieval
        assert f"text_to_{name}" in retrieval
    assert "audio_and_imu_to_audio" not in retrieval
    assert retrieval["audio_and_imu_to_image"]["trained"]
    assert not retrieval["audio_plus_imu_to_image"]["trained"]
    # Every row has sound or motion, so every row has a fused vector.
    assert retrieval["text_to_audio_and_imu"]["pool"] == 6
    assert any(row["train/loss/audio_and_imu-image"] for row in logged(recorded_run))


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_a_fusion_without_weights_is_evaluated_too(fusion, recordings, recorded_run, tmp_path, no_pictures):
    train(runs.fused_config(recordings, tmp_path, fusion, **{"trainer.max_steps": 0}))
    retrieval = metrics_of(tmp_path)["retrieval"]
    assert retrieval["text_to_audio_and_imu"]["pool"] == 6
    assert not retrieval["audio_and_imu_to_image"]["trained"]
    assert ("audio_plus_imu_to_image" in retrieval) == (fusion == "late")


# Vectors of a manifest


def test_embed_writes_the_vectors_that_the_binder_gives(recordings, recorded_run, tmp_path, capsys):
    out = tmp_path / "new" / "vectors.parquet"
    embed(runs.config(name="embed", run=str(recorded_run), manifest=str(recordings), out=str(out)))
    table = pq.read_table(out)
    binder = Binder.load(recorded_run)
    facts = table.schema.metadata
    assert facts[b"anchor_fingerprint"].decode() == binder.anchor.fingerprint
    assert metrics_of(recorded_run)["anchor"]["fingerprint"] == binder.anchor.fingerprint
    assert facts[b"anchor"] == b"toy"

    rows = table.to_pylist()
    assert f"{len(rows)} vectors of 64 dimensions" in capsys.readouterr().out
    source = ManifestSource(recordings)
    expected = {}
    for split in source.splits:
        for sample in source.samples(split):
            for modality, values in sample.values.items():
                files = [value.path if isinstance(value, Clip) else value for value in values]
                expected[sample.key, modality] = binder.embed(modality, files).numpy()
    assert len(rows) == sum(map(len, expected.values())) + sum(runs.NUM_ROWS.values())
    found = {}
    for row in rows:
        assert row["key"].startswith(row["split"])
        assert (row["group"], row["label"]) == (None, f"label {int(row['key'].removeprefix(row['split'])) % 2}")
        found.setdefault((row["key"], row["modality"]), []).append(row["embedding"])
    for place, z in expected.items():
        np.testing.assert_allclose(found.pop(place), z, atol=1e-5, err_msg=str(place))
    assert {modality for _, modality in found} == {"audio_and_imu"}
    vectors = np.array([row["embedding"] for row in rows])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_commands_work_from_any_folder_and_leave_nothing_there(
    recordings, recorded_run, tmp_path, as_command, capfd, no_pictures
):
    run_dir = shutil.copytree(recorded_run, tmp_path / "run")
    assert as_command(main, "evaluate", "run=run", "split=val") == 0
    assert f"run directory: {run_dir}" in capfd.readouterr().out
    assert as_command(main, "embed", "run=run", f"manifest={recordings}", "out=out.parquet", "modalities=[text]") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "run"]


def test_embed_takes_the_modalities_that_are_asked_for(recordings, recorded_run, tmp_path):
    out = tmp_path / "vectors.parquet"
    asked = {"run": str(recorded_run), "manifest": str(recordings), "out": str(out)}
    embed(runs.config(name="embed", **asked, modalities=["audio_and_imu"]))
    assert pq.read_table(out)["modality"].unique().to_pylist() == ["audio_and_imu"]
    with pytest.raises(ValueError, match=r"audoi unknown to .*it embeds image, text, video, audio, imu, audio_and_imu"):
        embed(runs.config(name="embed", **asked, modalities=["audoi"]))


def test_files_are_embedded_without_a_table(recordings, recorded_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(recordings.parent)
    out = tmp_path / "vectors.parquet"
    asked = {"run": str(recorded_run), "out": str(out)}
    embed(runs.config(name="embed", **asked, files=["**/train*.wav", "test0.png", str(recordings.parent / "val1.npy")]))
    rows = pq.read_table(out).to_pylist()
    sounds = sorted((path.name for path in recordings.parent.glob("train*.wav")), key=by_numbers)
    npy = str(recordings.parent / "val1.npy")
    assert [(row["key"], row["modality"]) for row in rows] == [
        *((name, "audio") for name in sounds),
        ("test0.png", "image"),
        (npy, "imu"),
    ]
    assert {row["split"] for row in rows} == {None}
    z = Binder.load(recorded_run).embed("audio", sounds)
    np.testing.assert_array_equal(np.array([row["embedding"] for row in rows[: len(sounds)]], np.float32), z.numpy())
    embed(runs.config(name="embed", **asked, files="train0.wav", modalities=["audio"]))
    assert pq.read_table(out).num_rows == 1
    for wrong, message in [
        ({"files": "*.mp3"}, r"files=\*\.mp3: no such file"),
        ({"files": "."}, r"for all files below it, files='\./\*\*/\*'"),
        ({"files": "manifest.jsonl"}, r"manifest\.jsonl: a sensor file ends in"),
        ({"files": "test0.png", "modalities": ["audio", "image"]}, "name one modality"),
        ({"files": "test0.png", "modalities": ["smell"]}, "smell unknown to the run"),
        ({"files": "test0.png", "manifest": str(recordings)}, "pass either manifest=FILE or files="),
        ({}, "pass either manifest=FILE or files="),
    ]:
        with pytest.raises(ValueError, match=message):
            embed(runs.config(name="embed", **asked, **wrong))


def write_other_table(recordings, folder, **changes):
    """The training samples of `recordings` as the test samples of another table in another folder."""
    rows = [row for row in runs.read_manifest(recordings) if row["split"] == "train"]
    for row in rows:
        row |= {"split": "test"} | {name: change(row) for name, change in changes.items()}
        for modality in {"audio", "image"} & row.keys():
            row[modality] = str(recordings.parent / row[modality])
        row.pop("imu", None)
    folder.mkdir()
    return runs.write_manifest(folder / "manifest.jsonl", rows)


def test_a_finished_run_is_evaluated_on_another_table(recordings, recorded_run, tmp_path, capsys, no_pictures):
    run_dir = shutil.copytree(recorded_run, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in run_dir.iterdir() if path.is_file()}
    table = write_other_table(recordings, tmp_path / "kitchen", owner=lambda row: f"cook:{row['key']}")
    evaluate(runs.config(name="evaluate", run=str(run_dir), manifest=str(table)))
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.endswith(f"page: {run_dir}/report_kitchen_test.html run directory: {run_dir}")
    assert "Retrieval, test split of kitchen/manifest.jsonl" in printed
    with pytest.raises(ValueError, match=r"^/gone\.csv: no such manifest"):
        evaluate(runs.config(name="evaluate", run=str(run_dir), manifest="/gone.csv"))
    now = {path.name: path.read_bytes() for path in run_dir.iterdir() if path.is_file()}
    assert {name: now[name] for name in before} == before
    names = {"metrics_kitchen_test.json", "queries_kitchen_test.parquet", "report_kitchen_test.html"}
    assert names <= now.keys() - before.keys()
    figures = figures_of(run_dir, "metrics_kitchen_test.json")
    assert (figures["split"], figures["manifest"]) == ("test", str(table))
    assert figures["retrieval"]["text_to_audio"]["pool"] == 10
    assert "audio_to_imu" not in figures["retrieval"]
    assert figures["zero_shot"]["audio"]["num_classes"] == 2
    assert figures["leakage"]["kinds"]["files"]["samples"] == 12, "these are the files that it was trained on"
    assert any(str(run_dir) in name for name in figures["leakage"]["trained_on"])
    assert bind.Run(run_dir).evaluate(manifest=table) == metrics_of(run_dir, "metrics_kitchen_test.json")
    with pytest.raises(ValueError, match=r"no samples of the split 'val': .* has test 12. Name another"):
        bind.Run(run_dir).evaluate("val", manifest=table)


def test_classes_and_groups_of_a_run_stay_where_another_table_has_them(recordings, tmp_path, caplog, no_pictures):
    classes = {"mine": {"modalities": ["audio"], "templates": ["a {}"], "classes": ["label 0", "label 1"]}}
    values = {"data.zero_shot": classes, "data.one_per_group": True, "trainer.max_epochs": 1}
    rows = runs.read_manifest(recordings)
    grouped = [row | {"group": f"{row['split']}{i // 2}"} for i, row in enumerate(rows)]
    for row in grouped:
        row |= {m: str(recordings.parent / row[m]) for m in ("audio", "imu", "image") if m in row}
    own = runs.write_manifest(tmp_path / "own.jsonl", grouped)
    values |= {"data.manifest": str(own), "run_dir": str(tmp_path / "run")}
    train(runs.config("data=manifest", **runs.RECORDED | values))
    run = bind.Run(tmp_path / "run")
    same = write_other_table(recordings, tmp_path / "same")
    assert set(run.evaluate(manifest=same)["zero_shot"]) == {"audio"}
    other = write_other_table(recordings, tmp_path / "other", label=lambda row: row["label"].replace("label", "kind"))
    figures = run.evaluate(manifest=other)
    assert "no sample of a class of mine" in caplog.text
    assert set(figures["zero_shot"]) == {"image", "audio"}
    assert figures["retrieval"]["audio_to_image"]["queries"] == 8, "without groups every sample with both is a query"
    lonely = runs.write_manifest(tmp_path / "lonely.jsonl", [{"key": "a", "split": "test", "smell": "own.jsonl"}])
    with pytest.raises(ValueError, match=r"it has smell, and .* embeds image, text"):
        run.evaluate(manifest=lonely)


def test_a_saved_binder_is_evaluated_without_its_run(recordings, recorded_run, tmp_path, capsys, no_pictures):
    alone = shutil.copytree(recorded_run / "binder", tmp_path / "alone")
    table = write_other_table(recordings, tmp_path / "kitchen")
    before = {path.name: path.read_bytes() for path in alone.iterdir()}
    evaluate(runs.config(name="evaluate", binder=str(alone), manifest=str(table), out=str(tmp_path / "out")))
    assert f"run directory: {tmp_path / 'out'}" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in alone.iterdir()} == before
    figures = figures_of(tmp_path / "out")
    assert (figures["split"], figures["manifest"]) == ("test", str(table))
    assert figures["retrieval"]["audio_to_image"]["trained"]
    assert not figures["retrieval"]["audio_to_text"]["trained"]
    assert any("there is no config.yaml of a run" in reason for reason in figures["leakage"]["not_checked"])
    run_dir = shutil.copytree(recorded_run, tmp_path / "run")
    evaluate(runs.config(name="evaluate", run=str(run_dir), manifest=str(table)))
    of_run = figures_of(run_dir, "metrics_kitchen_test.json")
    assert figures["retrieval"] == of_run["retrieval"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"pass either run=PATH, a run directory, or binder=PATH"),
        ({"run": "a", "binder": "b"}, "pass either run=PATH"),
        ({"binder": "b"}, r"add manifest=FILE"),
        ({"run": "a", "out": "b"}, r"out= is for binder="),
        ({"binder": "gone/x/y", "manifest": "a.csv"}, "no such folder"),
    ],
)
def test_what_is_evaluated_has_to_be_said(values, message):
    with pytest.raises(ValueError, match=message):
        evaluate(runs.config(name="evaluate", **values))


def test_a_run_is_not_written_over_by_the_evaluation_of_a_binder(recordings, recorded_run):
    values = {"binder": str(recorded_run / "binder"), "manifest": str(recordings), "out": str(recorded_run)}
    with pytest.raises(ValueError, match="holds a run: choose another folder"):
        evaluate(runs.config(name="evaluate", **values))


def test_a_saved_binder_embeds_without_its_run(recordings, recorded_run, tmp_path):
    for key, place in (("run", recorded_run), ("binder", recorded_run / "binder")):
        out = str(tmp_path / f"{key}.parquet")
        embed(runs.config(name="embed", manifest=str(recordings), modalities=["imu"], out=out, **{key: str(place)}))
    assert pq.read_table(tmp_path / "run.parquet").equals(pq.read_table(tmp_path / "binder.parquet"))


# Starting from weights, and going on


@pytest.mark.parametrize("place", ["", "binder", "checkpoints/best.ckpt"])
def test_a_warm_start_takes_the_weights_of(place, recordings, recorded_run, tmp_path, caplog, no_pictures):
    start = {"init_from": str(recorded_run / place), "trainer.max_steps": 0, "seed": 5}
    with caplog.at_level(logging.WARNING, "bind"):
        train(runs.fused_config(recordings, tmp_path, **start))
    assert "evaluating the last weights" in caplog.text
    assert_equal(load_file(tmp_path / "binder/model.safetensors"), load_file(recorded_run / "binder/model.safetensors"))
    warm, first = figures_of(tmp_path), figures_of(recorded_run)
    assert len(warm.pop("leakage")["trained_on"]) > len(first.pop("leakage")["trained_on"])
    assert warm == first


@pytest.mark.parametrize(
    ("pulled_after", "values"),
    [
        pytest.param(5, {}, id="after the first epoch's checkpoint"),
        pytest.param(3, EVERY_SECOND_STEP, id="after a checkpoint in mid-epoch"),
        pytest.param(4, {"data.num_workers": 2}, id="with workers that run ahead"),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    pulled_after, values, recordings, recorded_run, tmp_path, no_pictures
):
    plug = {"callbacks.plug": {"_target_": "support.runs.PullPlug", "step": pulled_after}}
    with pytest.raises(runs.PulledPlugError):
        train(runs.fused_config(recordings, tmp_path, **values, **plug))
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert 0 < weights_of(last)["global_step"] < pulled_after

    train(runs.fused_config(recordings, tmp_path, ckpt="last", **values))
    assert_equal(weights_of(last), weights_of(recorded_run / "checkpoints" / "last.ckpt"))
    assert figures_of(tmp_path) == figures_of(recorded_run)
    steps = {int(row["step"]) for row in logged(tmp_path) if row["train/loss"]}
    assert steps == set(range(6)), "the log of the first part is lost"


def test_going_on_says_which_settings_are_others_now(recordings, tmp_path, caplog, no_pictures):
    train(runs.fused_config(recordings, tmp_path, **{"trainer.max_epochs": 1}))
    caplog.clear()
    train(runs.fused_config(recordings, tmp_path, ckpt="last", **{"optimizer.lr": 1e-4}))
    told = [r.getMessage() for r in caplog.records if "another setting" in r.getMessage()]
    assert [message.split("before: ")[1] for message in told] == [
        "optimizer.lr: 0.001 → 0.0001",
        "trainer.max_epochs: 1 → 2",
    ]


def test_resuming_a_finished_run_evaluates_its_best_checkpoint(recordings, tmp_path, no_pictures):
    short = {"trainer.max_epochs": 1, "trainer.limit_train_batches": 1}
    score = train(runs.fused_config(recordings, tmp_path, **short))
    first = figures_of(tmp_path)
    (tmp_path / "metrics.json").unlink()
    assert train(runs.fused_config(recordings, tmp_path, ckpt="last", **short)) == score
    assert figures_of(tmp_path) == first


@pytest.mark.parametrize("scheme", ["local://", "file://", ""])
def test_a_checkpoint_of_a_stranger_deletes_nothing(scheme, recordings, recorded_run, tmp_path, no_pictures):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    run_dir = tmp_path / "run"
    shutil.copytree(recorded_run, run_dir)
    last = run_dir / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    for state in checkpoint["callbacks"].values():
        if "best_k_models" in state:
            path = f"{scheme}{victim}"
            state |= {"best_k_models": {path: torch.tensor(-9.0)}, "kth_best_model_path": path, "dirpath": "/"}
            state |= {
                "best_model_path": f"{victim}/file",
                "last_model_path": path,
                "best_model_score": torch.tensor(-9.0),
            }
    torch.save(checkpoint, last)
    train(runs.fused_config(recordings, run_dir, ckpt="last", **{"trainer.max_epochs": 3}))
    assert (victim / "file").read_text() == "precious"


def test_a_checkpoint_of_weights_alone_is_no_state_to_go_on_from(recordings, recorded_run, tmp_path):
    checkpoint = weights_of(recorded_run / "checkpoints" / "best.ckpt")
    path = tmp_path / "weights.ckpt"
    torch.save({"state_dict": checkpoint["state_dict"]}, path)
    with pytest.raises(ValueError, match=r"holds weights without epoch.*init_from="):
        train(runs.fused_config(recordings, tmp_path / "run", ckpt=str(path)))


def test_a_fresh_start_in_an_old_folder_begins_a_new_log(recordings, tmp_path, no_pictures):
    for _ in range(2):
        train(runs.fused_config(recordings, tmp_path, **{"trainer.max_steps": 1, "overwrite": True}))
    assert [row["step"] for row in logged(tmp_path) if row["train/loss"]] == ["0"]


def test_a_run_that_is_refused_leaves_an_old_one_as_it_was(recordings, recorded_run, tmp_path):
    run_dir = shutil.copytree(recorded_run, tmp_path / "run")
    before = runs.tree(run_dir)
    with pytest.raises(ValueError, match=r"data\.batch_size=99"):
        train(runs.fused_config(recordings, run_dir, **{"data.batch_size": 99, "overwrite": True}))
    assert runs.tree(run_dir) == before


def test_a_run_without_validation_keeps_its_last_weights(recordings, tmp_path, caplog, no_pictures):
    rows = [row for row in runs.read_manifest(recordings) if row["split"] != "val"]
    for row in rows:
        row |= {name: str(recordings.parent / row[name]) for name in ("audio", "imu", "image") if name in row}
    manifest = runs.write_manifest(tmp_path / "manifest.jsonl", rows)
    with caplog.at_level(logging.WARNING, "bind"):
        score = train(runs.fused_config(manifest, tmp_path, **{"trainer.limit_val_batches": 0, "trainer.max_steps": 1}))
    assert math.isnan(score)
    assert "evaluating the last weights" in caplog.text
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    kept = load_file(tmp_path / "binder" / "model.safetensors")
    assert_equal(kept, {name.removeprefix("binder."): x for name, x in last.items() if name.startswith("binder.")})
