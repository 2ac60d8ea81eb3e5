import json
import os
import shutil

import pytest
import torch
from PIL import Image
from support import runs

from bind.commands.cli import main
from bind.evaluation.embed import embed_split
from bind.runs.figures import robustness_figures
from bind.runs.parts import Parts
from bind.runs.run_config import open_run
from bind.studies.robustness.cells import find_half_level
from bind.studies.robustness.command import robustness
from bind.studies.robustness.embed import Disturber
from bind.studies.robustness.kinds import KINDS

FAINT = {
    "audio_snr_db": 400.0,
    "audio_pink_snr_db": 400.0,
    "imu_bias": 0.0,
    "imu_rotation_degrees": 0.0,
    "imu_gaps": 0.0,
    "imu_dead_channels": 0,
    "image_blur": 0.0,
    "depth_holes": 0.0,
}
"""Levels at which nothing is disturbed."""
MILD_AND_BAD = {
    "audio_snr_db": (20, -20),
    "audio_pink_snr_db": (20, -20),
    "imu_bias": (0.01, 1.0),
    "imu_rotation_degrees": (1, 90),
    "imu_gaps": (0.1, 0.8),
    "imu_dead_channels": (1, 4),
    "image_blur": (0.01, 0.2),
    "depth_holes": (0.05, 0.9),
}
FIGURES = [f"{name}R@{k}" for name in ("", "ci95_", "chance_") for k in (1, 5, 10)] + ["queries", "pool", "clusters"]
LEVELS = {
    "levels.audio_snr_db": [10],
    "levels.imu_gaps": [0.5],
    "levels.image_blur": [0.1],
    "kinds": ["audio_snr_db", "imu_gaps", "image_blur"],
    "missing_shares": [0.5, 1.0],
}


def disturber(run_dir, modalities=None):
    run_dir, config = open_run(str(run_dir))
    parts = Parts.load(run_dir, config, trust=())
    binder, datamodule = parts.binder, parts.datamodule
    if modalities is not None:
        datamodule.evaluation_modalities = modalities
    return Disturber(datamodule, binder, embed_split(datamodule, binder, "test"), "test", seed=0)


def vectors(of, modality, kind, level):
    return of.vectors(modality, kind, level, lambda: None)[modality]


@pytest.fixture(scope="module")
def of_files(recorded_run):
    return disturber(recorded_run)


@pytest.fixture(scope="module")
def of_toys(toy_run):
    return disturber(toy_run)


@pytest.fixture(scope="module")
def studied(recorded_run, tmp_path_factory):
    """The run on files with attention fusion, and what the command wrote there."""
    folder = tmp_path_factory.mktemp("studied") / "recorded"
    shutil.copytree(recorded_run, folder)
    robustness(runs.config(name="robustness", run=str(folder), **LEVELS))
    return folder


@pytest.fixture(scope="module")
def studied_toys(toy_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("studied") / "toy"
    shutil.copytree(toy_run, folder)
    robustness(runs.config(name="robustness", run=str(folder), **LEVELS))
    return folder


def found_in(folder, name="robustness"):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "depth_holes"])
def test_decoding_ahead_of_the_transform_changes_nothing(kind, of_files):
    modality = kind.split("_")[0]
    assert torch.equal(vectors(of_files, modality, kind, FAINT[kind]), of_files.clean.z[modality])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "depth_holes"])
def test_the_worse_the_level_the_further_from_the_clean_vector(kind, of_toys):
    modality = kind.split("_")[0]
    clean, (mild, bad) = of_toys.clean.z[modality], MILD_AND_BAD[kind]
    near, far = (float((vectors(of_toys, modality, kind, level) * clean).sum(1).mean()) for level in (mild, bad))
    assert far < near < 1 - 1e-6


def test_noise_depends_on_seed_and_sample_alone(of_files):
    again = vectors(of_files, "audio", "audio_snr_db", 5)
    assert torch.equal(again, vectors(of_files, "audio", "audio_snr_db", 5))
    of_files.datamodule.evaluation_batch_size, batch_size = 2, of_files.datamodule.evaluation_batch_size
    in_other_batches = vectors(of_files, "audio", "audio_snr_db", 5)
    of_files.datamodule.evaluation_batch_size = batch_size
    torch.testing.assert_close(again, in_other_batches)
    other_seed = Disturber(of_files.datamodule, of_files.binder, of_files.clean, "test", seed=1)
    assert not torch.allclose(again, vectors(other_seed, "audio", "audio_snr_db", 5))


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["studied", "studied_toys"])
def test_the_undisturbed_points_are_the_figures_of_the_run(folder, request):
    run_dir = request.getfixturevalue(folder)
    found, metrics = found_in(run_dir), found_in(run_dir, "metrics")
    num_compared = 0
    for modality, curves in found["noise"].items():
        for curve in curves.values():
            assert curve["levels"][0] is None
            for name, task in curve["tasks"].items():
                clean = task["points"][0]
                if "label_set" in task:
                    entry = metrics["zero_shot"][modality]
                    assert (clean["R@1"], clean["ci95_R@1"]) == (entry["top1"], entry["ci95_top1"])
                else:
                    entry = metrics["retrieval"][f"{modality}_to_{name}"]
                    assert {f: clean[f] for f in FIGURES} == {f: entry[f] for f in FIGURES}
                    for fact in ("trained", "kind", "resampled", "ceiling_R@1"):
                        assert task.get(fact) == entry.get(fact)
                assert len(task["points"]) == len(curve["levels"])
                num_compared += 1
    assert num_compared >= 9


def test_fused_figures_of_the_toy_world_are_those_of_its_complete_samples(studied_toys):
    fusion = found_in(studied_toys)["fusion"]
    assert fusion["inputs"] == ["audio", "imu"]
    assert set(fusion["tasks"]) == {"image", "text", "zero-shot"}
    single = found_in(studied_toys)["noise"]["audio"]["audio_snr_db"]["tasks"]["image"]["points"]
    heads = fusion["noise"]["audio"]["audio_snr_db"]["tasks"]["image"]
    assert [p["R@1"] for p in heads["audio"]] == [p["R@1"] for p in single]
    assert fusion["missing"]["audio"]["levels"] == [0.0, 0.5, 1.0]
    last = fusion["missing"]["audio"]["tasks"]["image"]
    assert {head: points[2]["R@1"] for head, points in last.items() if head != "audio"} == dict.fromkeys(
        [head for head in last if head != "audio"], last["imu"][0]["R@1"]
    )


def test_a_run_with_a_learned_fusion_has_it_beside_the_plain_sum(studied):
    found = found_in(studied)
    assert found["fusion"]["heads"][-1] == "attention, trained"
    assert set(found["fusion"]["noise"]) == {"audio", "imu"}
    for name in ("audio", "imu", "image", "missing", "fusion_audio", "fusion_imu"):
        assert Image.open(studied / f"robustness_{name}.png").size[0] > 500
    assert set(found["figures"].values()) == {path.name for path in studied.glob("robustness_*.png")}


def test_the_command_prints_tables_and_paths(toy_run, tmp_path, as_command, capsys):
    folder = tmp_path / "run"
    shutil.copytree(toy_run, folder)
    arguments = ["kinds=[imu_rotation_degrees]", "levels.imu_rotation_degrees=[90,20]", "split=val", "inputs=[]"]
    assert as_command(main, "robustness", f"run={folder}", *arguments) == 0
    shown = capsys.readouterr().out
    assert "Noise, val split" in shown
    assert shown.splitlines()[-2:] == [str(folder / "robustness_val.json"), str(folder / "robustness_val_imu.png")]
    found = found_in(folder, "robustness_val")
    assert found["noise"]["imu"]["imu_rotation_degrees"]["levels"] == [None, 20, 90]
    assert found["fusion"] is None


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("kinds=[audio_snr]", "kinds: there is no 'audio_snr'; choose from audio_snr_db"),
        ("kinds=[depth_holes]", "kinds: depth_holes disturbs nothing that this run embeds (image, text, audio, imu)"),
        ("levels.imu_gaps=[0.5,1.0]", "levels.imu_gaps: 1.0 is none; give numbers above 0 and below 1"),
        ("levels.imu_dead_channels=[1.5]", "levels.imu_dead_channels: 1.5 is none; give counts above 0"),
        ("levels.audio_snr_db=[none]", "levels.audio_snr_db: none is none; give numbers above -100 and below 100"),
        ("levels.imu_dead_channels=6", "levels.imu_dead_channels: the sensor has 6 channels; give counts below that"),
        ("missing_shares=[0]", "missing_shares: 0 is none; give shares above 0 and up to 1"),
        ("inputs=[audio,depth]", "inputs: depth not embedded here; choose from image, text, audio, imu"),
        ("kinds=[] inputs=[]", "nothing to study: choose kinds= or inputs="),
        ("inputs=[audio]", "name at least two different modalities, or [] for no fusion"),
    ],
)
def test_what_does_not_fit_is_told_with_the_way_out(argument, message, recorded_run, as_command, capsys):
    assert as_command(main, "robustness", f"run={recorded_run}", *argument.split()) == 1
    assert message in capsys.readouterr().err


def test_the_figures_come_into_the_report_until_the_weights_change(studied):
    drawn = robustness_figures(studied)
    assert {path.name for path in drawn.values()} == set(found_in(studied)["figures"].values())
    assert all(path.is_file() for path in drawn.values())
    assert not robustness_figures(studied, "_val")
    weights = studied / "binder" / "model.safetensors"
    written = weights.stat().st_mtime
    later = (studied / "robustness.json").stat().st_mtime + 1
    os.utime(weights, (later, later))
    assert not robustness_figures(studied)
    os.utime(weights, (written, written))


def test_a_level_that_leaves_nothing_is_told_by_name(of_files):
    with pytest.raises(
        ValueError, match=r"imu with levels\.imu_dead_channels=6: 6 dead channels of 6 leave none\. Leave"
    ):
        vectors(of_files, "imu", "imu_dead_channels", 6)


def test_half_is_found_between_levels():
    def points(*scores):
        return [{"R@1": score, "chance_R@1": 0.1} for score in scores]

    rising, falling = {"levels": [None, 0.5, 1.0], "falling": False}, {"levels": [None, 20, 0], "falling": True}
    assert find_half_level(rising, points(0.5, 0.4, 0.2)) == "0.75"
    assert find_half_level(rising, points(0.5, 0.2, 0.1)) == "0.333"
    assert find_half_level(rising, points(0.5, 0.5, 0.4)) == "–"
    assert find_half_level(falling, points(0.5, 0.4, 0.2)) == "10"
    assert find_half_level(falling, points(0.5, 0.2, 0.1)) == "above 20"
