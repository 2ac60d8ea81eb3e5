"""A shared folder loads as the run's binder did, and its card says what was measured, and what is not known."""

import json
import re
import shutil

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from support import documents, hub, runs, served
from support.finished import metrics_of

from bind.commands.share import foreign_packages, share
from bind.model.binder import Binder
from bind.model.hub import CARD_FILE
from bind.share.eval_results import EVAL_RESULTS_FILE
from bind.share.run_facts import Licences, licence_texts

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")]
# huggingface_hub's own, where it uploads large files without its other protocol.
NAMED = {"licence": "apache-2.0", "data_licence": "cc-by-4.0", "dataset": "lab/recordings", "about": "For | tests."}


def share_run(run, out, **keys):
    share(runs.config(name="share", run=None if run is None else str(run), out=str(out), **keys))
    return (out / CARD_FILE).read_text()


@pytest.fixture(scope="module")
def shared(recorded_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("share") / "sounds"
    share_run(recorded_run, folder, **NAMED)
    return folder


@pytest.fixture
def leaked_run(recorded_run, tmp_path):
    """A run whose audit has found two samples."""
    moved = shutil.copytree(recorded_run, tmp_path / "leaked")
    metrics = metrics_of(moved)
    first = [{"key": "te|st1", "with": "train3"}]
    metrics["leakage"] |= {
        "leaked": 2,
        "share": 1 / 3,
        "kinds": {"files": {"samples": 2, "share": 1 / 3, "first": first}},
    }
    (moved / "metrics.json").write_text(json.dumps(metrics))
    return moved


def rows_of(card, heading):
    """The rows of the first table under a heading, as lists of cells."""
    section = card.partition(f"# {heading}")[2].partition("\n#")[0]
    lines = re.findall(r"^\| (.*) \|$", section, flags=re.MULTILINE)
    assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines}) == 1
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]


def test_the_folder_loads_as_the_binder_of_the_run(shared, recorded_run):
    own, loaded = (Binder.load(place).own_state_dict() for place in (recorded_run, shared))
    assert own.keys() == loaded.keys()
    assert all(torch.equal(own[name], loaded[name]) for name in own)


def test_the_card_has_every_figure_with_what_it_was_measured_on(shared, recorded_run):
    card, metrics = (shared / CARD_FILE).read_text(), metrics_of(recorded_run)
    rows = {row[0]: row for row in rows_of(card, "Retrieval, test split")}
    for name, entry in metrics["retrieval"].items():
        if "_and_" in name or "_plus_" in name:
            continue
        row = rows[name.replace("_to_", " → ")]
        low, high = entry["ci95_R@1"]
        assert row[1:3] == [f"{entry['R@1']:.3f}", f"{low:.2f}–{high:.2f}"]
        assert f"{entry['chance_R@1']:.3f}" in row
        assert row[-1] == f"{entry['queries']}/{entry['pool']}"
    for name, entry in metrics["zero_shot"].items():
        row = {row[0]: row for row in rows_of(card, "Zero-shot classification, test split")}[name]
        assert row[1] == f"{entry['top1']:.3f}"
        assert row[-2:] == [str(entry["num_classes"]), str(entry["queries"])]
    assert "eakage: none found" in card


def test_the_card_counts_samples_and_owners_of_each_split(shared):
    rows = rows_of((shared / CARD_FILE).read_text(), "Data")
    assert rows[0][:4] == ["split, modality", "samples", "classes", "owners"]
    totals = {}
    for row in rows[2:]:
        if row[0].startswith("**"):
            split = row[0].strip("*")
        elif "all" in row[0] or "text" in row[0]:
            totals[split] = row[1:4]
    assert totals == {split: [str(number), "2", str(number)] for split, number in runs.NUM_ROWS.items()}


def test_what_the_hub_reads_are_the_same_figures(shared, recorded_run):
    metrics = metrics_of(recorded_run)
    data = ModelCard.load(shared / CARD_FILE).data
    assert (data.license, data.datasets, data.library_name) == ("apache-2.0", ["lab/recordings"], "bindspace")
    assert {"sentence-transformers", "audio", "imu"} <= set(data.tags)
    values = {result.metric_name.split(":")[0]: result.metric_value for result in data.eval_results}
    assert values["audio → image"] == round(metrics["retrieval"]["audio_to_image"]["R@1"], 5)
    assert values["classes of audio, zero-shot"] == round(metrics["zero_shot"]["audio"]["top1"], 5)
    assert "image → text" not in values  # the anchor's own
    entries = {e["dataset"]["task_id"]: e for e in yaml.safe_load((shared / EVAL_RESULTS_FILE).read_text())}
    assert entries["audio_to_image"]["value"] == values["audio → image"]
    assert entries["audio_to_image"]["dataset"]["id"] == "lab/recordings"
    assert "chance" in entries["audio_to_image"]["notes"]
    assert "none found" in entries["zero_shot_audio"]["notes"]


def test_nothing_in_the_folder_names_a_place_of_this_machine(shared, recorded_run, recordings):
    texts = [p.read_text() for p in shared.rglob("*") if p.is_file() and p.suffix != ".safetensors"]
    assert len(texts) >= 5
    for place in (recorded_run, recordings.parent, shared.parent):
        assert not any(str(place) in text for text in texts)


def test_the_lines_of_use_run(shared, recordings, tmp_path, monkeypatch, capsys):
    block, *_ = documents.blocks((shared / CARD_FILE).read_text(), "python")
    for name in ("a.wav", "b.wav"):
        shutil.copy(recordings.parent / "test0.wav", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    exec(block.replace("PATH/TO/THIS/FOLDER", str(shared)), {})
    assert "tensor" in capsys.readouterr().out


def test_what_nobody_has_said_is_unknown(recorded_run, tmp_path, capsys):
    card = share_run(recorded_run, tmp_path / "out", count_data=False)
    assert "Samples and owners of each split: unknown" in card
    assert "- these weights: unknown" in card
    assert "- the data that they were trained on: unknown" in card
    assert "- the anchor `toy`: apache-2.0" in card  # it comes with bind
    assert ModelCard(card).data.license is None
    assert not (tmp_path / "out" / EVAL_RESULTS_FILE).exists()
    assert "licence= data_licence=" in capsys.readouterr().out


def test_a_licence_that_came_with_weights_travels_along(tmp_path):
    (tmp_path / "clip" / "anchor").mkdir(parents=True)
    (tmp_path / "clip" / "LICENSE.txt").write_text("CC BY-NC 4.0\n")
    places = {"the anchor": str(tmp_path / "clip" / "anchor"), "init_from": str(tmp_path / "none" / "best.ckpt")}
    assert licence_texts(places) == {"the anchor": "CC BY-NC 4.0"}


def test_leakage_is_not_published_unless_that_is_said(leaked_run, tmp_path):
    with pytest.raises(ValueError, match=r"LEAKAGE: 2 of 6 samples .*allow_leakage=true"):
        share_run(leaked_run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    card = share_run(leaked_run, tmp_path / "out", allow_leakage=True)
    warning, use = card.index("> **LEAKAGE: 2 of 6"), card.index("## Use")
    assert warning < use
    assert ["files", "2", "33%", "te\\|st1"] in rows_of(card, "LEAKAGE")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"push": True}, "push=true needs repo="),
        ({"repo": "sounds"}, "is called ORG/NAME"),
        ({"dataset": "my data"}, "dataset=my data: give the data's name"),
        ({"licence": "Apache 2.0"}, "licence=Apache 2.0: give the identifier"),
        ({"data_licence": "free\nfor: all"}, "data_licence="),
    ],
)
def test_keys_that_can_not_be_are_refused_before_anything_is_written(recorded_run, tmp_path, keys, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        share_run(recorded_run, tmp_path / "out", **keys)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_as_it_is(recorded_run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty: choose a new folder"):
        share_run(recorded_run, tmp_path, count_data=False)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_run_that_is_not_finished_or_has_lost_its_data_says_what_to_do(recorded_run, tmp_path):
    moved = shutil.copytree(recorded_run, tmp_path / "run")
    text = (moved / "config.yaml").read_text()
    (moved / "config.yaml").write_text(re.sub(r"manifest: .*", "manifest: /gone/manifest.jsonl", text))
    with pytest.raises(ValueError, match=r"/gone/manifest.jsonl.*count_data=false"):
        share_run(moved, tmp_path / "out")
    (moved / "metrics.json").unlink()
    with pytest.raises(ValueError, match=r"metrics.json: not there, the training has not finished"):
        share_run(moved, tmp_path / "out")


def test_a_pushed_folder_is_loaded_from_the_hub(recorded_run, tmp_path, monkeypatch, capsys):
    with hub.serve_hub(monkeypatch, tmp_path / "cache") as served:
        monkeypatch.setenv("HF_TOKEN", hub.TOKEN)
        out = tmp_path / "out"
        card = share_run(recorded_run, out, repo="lab/sounds", push=True, private=True, **NAMED)
        assert f"repository: {served.url}/lab/sounds" in capsys.readouterr().out
        assert served.visibility == {"lab/sounds": "private"}
        files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
        assert files == set(served.repositories["lab/sounds"])
        assert EVAL_RESULTS_FILE in files
        assert 'Binder.load("lab/sounds")' in card
        Binder.load("lab/sounds")


def test_packages_of_others_are_found_wherever_a_config_names_them():
    config = {"encoder": {"a": {"_target_": "mylab.nets.Net"}}, "parts": [{"_target_": "other.X"}, 3], "head": None}
    assert foreign_packages({**config, "anchor": {"_target_": "bind.anchors.scratch.X"}}) == ["mylab", "other"]


def test_licences_are_identifiers():
    assert Licences("cc-by-nc-4.0").unknown == ["anchor_licence=", "data_licence="]


def test_a_binder_without_its_run_is_shared_without_figures(tmp_path, capsys):
    served.binder().save(tmp_path / "saved")
    card = share_run(None, tmp_path / "shared", binder=str(tmp_path / "saved"), licence="mit", about="For tests.")
    assert ModelCard(card).data.license == "mit"
    assert "For tests.\n\nEncoders of audio, imu, depth in the space of" in card
    assert "without figures, which only a run has" in capsys.readouterr().out
    words = ["a red circle"]
    loaded = Binder.load(tmp_path / "shared")
    assert torch.equal(loaded.embed("text", words), served.binder().embed("text", words))
    assert (tmp_path / "shared" / "modules.json").is_file()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "pass either run=PATH"),
        ({"binder": "saved", "dataset": "lab/recordings"}, "dataset= stands in the card of a run"),
        ({"run": "saved"}, "run=saved: a saved binder without its run; binder=saved shares it"),
        ({"binder": "nothing"}, "nothing: no such folder"),
    ],
)
def test_what_can_not_be_shared_without_a_run_says_what_is_needed(keys, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    served.binder().save(tmp_path / "saved")
    with pytest.raises(ValueError, match=message):
        share(runs.config(name="share", out="shared", **keys))
    assert not (tmp_path / "shared").exists()
