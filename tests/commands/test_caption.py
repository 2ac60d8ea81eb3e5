"""`bindspace caption` and `bindspace ask` on files, texts and splits."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from support import runs
from support.bridges import anchor_binder, token_binder, toy_values, write_motion

from bind.bridge.bridge import Bridge
from bind.bridge.gap import Gap
from bind.bridge.language_model import LanguageModel
from bind.commands.ask import main as ask
from bind.commands.caption import main as caption
from bind.commands.files import match_files
from bind.model.binder import Binder

QFORMER = {"_target_": "bind.bridge.mappers.QFormerMapper", "modality": "imu", "num_tokens": 4, "width": 32}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A saved binder and an untrained bridge over it."""
    folder = tmp_path_factory.mktemp("places")
    binder = anchor_binder()
    binder.save(folder / "binder")
    Bridge(binder, LanguageModel.load("toy")).save(folder / "bridge")
    return [f"binder={folder / 'binder'}", f"bridge={folder / 'bridge'}"]


@pytest.fixture
def pictures(tmp_path):
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.mark.slow
def test_files_and_texts_are_captioned_in_their_order(places, pictures, capsys):
    out = pictures / "captions.jsonl"
    caption([*places, f"image={pictures}/*.png", "text=a red star", f"out={out}", "max_tokens=6", "json=true"])
    shown = capsys.readouterr().out
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert json.loads(shown.rpartition("]")[0] + "]") == rows
    assert [(row["modality"], row["key"][-5:]) for row in rows] == [
        ("image", "a.png"), ("image", "b.png"), ("text", " star"),
    ]  # fmt: skip
    caption([*places, "text=a red star", "max_tokens=6"])
    assert "by lm=toy" in capsys.readouterr().out


@pytest.mark.slow
def test_samples_of_a_table_and_of_a_run_are_captioned(places, pictures, toy_run, tmp_path, capsys):
    rows = [{"key": f"k{n}", "split": "test", "image": f"{n}.png", "text": f"thing {n}"} for n in "ab"]
    table = runs.write_manifest(pictures / "table.jsonl", rows)
    caption([*places, f"manifest={table}", "split=test", "json=true", "max_tokens=4"])
    assert [(row["key"], row["modality"]) for row in json.loads(capsys.readouterr().out)] == [
        ("ka", "image"), ("kb", "image"),
    ]  # fmt: skip
    Bridge(Binder.load(toy_run), LanguageModel.load("toy")).save(tmp_path / "bridge")
    out = tmp_path / "out.jsonl"
    of_run = [f"run={toy_run}", f"bridge={tmp_path / 'bridge'}", "split=val", f"out={out}", "max_tokens=2"]
    caption([*of_run, "modalities=[audio,imu]"])
    shown = capsys.readouterr().out
    modalities = [json.loads(line)["modality"] for line in out.read_text().splitlines()]
    assert set(modalities) == {"audio", "imu"}
    assert "out=FILE" not in shown
    assert f"{len(modalities) - 40:,} more: in out.jsonl" in " ".join(shown.split())
    with pytest.raises(ValueError, match="modalities=smell: not in these samples"):
        caption([*of_run, "modalities=smell"])


@pytest.mark.slow
def test_motion_is_captioned_by_a_bridge_that_reads_its_tokens(tmp_path, capsys):
    binder = token_binder()
    places = [f"binder={binder.save(tmp_path / 'binder')}", f"bridge={tmp_path / 'bridge'}"]
    bridge = Bridge(binder, LanguageModel.load("toy"), mapper=QFORMER)
    bridge.save(tmp_path / "bridge")
    (motions,) = toy_values("test", 2, "imu")
    names = [write_motion(tmp_path / f"{n}.npy", motion) for n, motion in enumerate(motions)]
    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    rows = [{"key": f"k{n}", "split": "test", "imu": name.name, "image": "a.png"} for n, name in enumerate(names)]
    table = runs.write_manifest(tmp_path / "table.jsonl", rows)
    expected = bridge.caption("imu", names, max_tokens=5)
    caption([*places, f"manifest={table}", "split=test", "json=true", "max_tokens=5"])
    shown = json.loads(capsys.readouterr().out)
    assert [(row["key"], row["modality"], row["caption"]) for row in shown] == [
        ("k0", "imu", expected[0]), ("k1", "imu", expected[1]),
    ]  # fmt: skip
    caption([*places, f"imu={names[1]}", "json=true", "max_tokens=5", "gap=noise"])
    assert json.loads(capsys.readouterr().out)[0]["caption"] == expected[1]
    ask([*places, f"imu={names[0]}", "How does it move?", "max_tokens=3"])
    answer = bridge.ask("How does it move?", imu=names[0], max_tokens=3)
    assert capsys.readouterr().out.strip() == (answer or "(nothing)")
    not_read = "reads the tokens of imu alone, and image was given"
    with pytest.raises(ValueError, match=not_read):
        caption([*places, f"manifest={table}", "split=test", "modalities=image"])
    with pytest.raises(ValueError, match=not_read):
        ask([*places, f"imu={names[0]}", f"image={tmp_path / 'a.png'}", "The same?"])


@pytest.mark.slow
def test_each_modality_may_have_a_remedy_of_its_own(pictures, tmp_path, capsys):
    binder = anchor_binder()
    z = binder.embed("text", ["a red star", "a dog"])
    gap = Gap("noise", {"text": z[0], "image": z[1]})
    torch.manual_seed(0)  # of a mapper with random weights, which may say nothing
    bridge = Bridge(binder, LanguageModel.load("toy"), gap=gap)
    places = [f"binder={binder.save(tmp_path / 'binder')}", f"bridge={bridge.save(tmp_path / 'bridge')}"]
    expected = {gap: bridge.caption("image", [pictures / "a.png"], gap=gap)[0] for gap in ("noise", "mean")}
    assert len(set(expected.values())) == 2
    for argument, remedy in (("gap.image=mean", "mean"), ("gap=mean", "mean"), ("gap.text=mean", "noise")):
        caption([*places, f"image={pictures / 'a.png'}", argument, "json=true"])
        assert json.loads(capsys.readouterr().out)[0]["caption"] == expected[remedy]
    ask([*places, f"image={pictures / 'a.png'}", "gap.image=mean", "What shape is it?"])
    assert capsys.readouterr().out.strip() == bridge.ask("What shape is it?", image=pictures / "a.png", gap="mean")
    with pytest.raises(ValueError, match=r"gap\.audio=mean: this run embeds image, text"):
        caption([*places, "text=a", "gap.audio=mean"])


@pytest.mark.slow
def test_where_nothing_is_said_stands_what_to_try(pictures, tmp_path, capsys, monkeypatch):
    binder = anchor_binder()
    z = binder.embed("text", ["a red star", "a dog"])
    bridge = Bridge(binder, LanguageModel.load("toy"), gap=Gap("noise", {"text": z[0].clone()}, z))
    places = [f"binder={binder.save(tmp_path / 'binder')}", f"bridge={bridge.save(tmp_path / 'bridge')}"]
    monkeypatch.setattr(LanguageModel, "write", lambda self, embeds, mask, **options: [""] * len(embeds))
    caption([*places, f"image={pictures}/*.png", "text=a dog"])
    shown = capsys.readouterr()
    assert shown.out.count("(nothing)") == 3
    assert shown.err.splitlines() == [
        "(nothing) of image with gap=noise: its vectors lie far from those of texts; try gap=memory"
    ]
    ask([*places, f"image={pictures / 'a.png'}", "gap=memory", "What shape is it?"])
    shown = capsys.readouterr()
    assert shown.out == "(nothing)\n"
    assert "(nothing) of image with gap=memory: " in shown.err
    assert "learn of more texts" in shown.err


def test_files_of_a_pattern_are_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 1, 11, 0):
        (tmp_path / f"{number}_theo.wav").touch()
    files = match_files([str(tmp_path / "*.wav")])
    assert [int(file.rpartition("/")[2].partition("_")[0]) for file in files] == [0, 1, 9, 10, 11]


@pytest.mark.slow
def test_a_question_is_answered(places, pictures, capsys):
    ask([*places, f"image={pictures / 'a.png'}", "text=a red star", "Do these belong together?", "max_tokens=3"])
    shown = capsys.readouterr()
    assert shown.out.strip()
    assert "did not learn" not in shown.err
    ask([*places, "text=a red star", "Which star is it?", "max_tokens=3"])
    assert "lm=toy did not learn the question 'Which star is it?'" in capsys.readouterr().err
    turns = [{"from": "human", "value": "What shape is it?"}, {"from": "gpt", "value": "star"}]
    (pictures / "talk.json").write_text(json.dumps([{"id": "q1", "image": "b.png", "conversations": turns}]))
    ask([*places, f"questions={pictures / 'talk.json'}", "max_tokens=3"])
    ((row),) = json.loads(capsys.readouterr().out)
    assert (row["id"], row["question"]) == ("q1", "What shape is it?")
    ask([*places, f"questions={pictures / 'talk.json'}", "max_tokens=3", f"out={pictures / 'answers.jsonl'}"])
    assert json.loads((pictures / "answers.jsonl").read_text()) == row


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run=x", "text=a", "bridge=b", "a dog"], "a dog: write KEY=VALUE; a text is text='a dog'"),
        (["run=x", "bridge=b"], "name what to caption"),
        (["run=x", "text=a", "split=val"], "not both"),
        (["text=a", "bridge=b"], "pass either run=PATH"),
        (["run=x", "binder=y", "text=a"], "pass either run=PATH"),
        (["run=x", "text=a", "out=a.csv"], r"out=a\.csv: choose a name that ends in \.jsonl"),
        (["run=x", "text=a", "beams=0"], "beams=0: give a whole number above 0"),
        (["run=x", "text=a", "gap=men"], "gap=men: choose noise, mean, captions, memory"),
        (["run=x", "text=a", "gap.text=men"], r"gap\.text=men: choose noise, mean, captions, memory"),
        (
            ["run=x", "text=a", "gap=mean", "gap.text=noise"],
            "gap=mean is for all modalities: leave it out",
        ),
        (["run=x", "text=a", "gap.text=noise", "gap.text=mean"], r"there is a gap\.text already"),
        (["run=nowhere", "text=a"], r"run=nowhere: no config\.yaml there"),
        (["binder=nowhere", "split=val"], "binder= has no data of its own: add manifest=FILE"),
    ],
)
def test_what_can_not_be_captioned_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        caption(arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run=x", "bridge=b", "text=a"], "ask one question, in quotes"),
        (["run=x", "bridge=b", "text=a", "What?", "Why?"], "ask one question, in quotes"),
        (["run=x", "bridge=b", "questions=q.json", "What?"], "ask one question, in quotes"),
        (["binder=x", "bridge=b", "image=nowhere.png", "What?"], r"image=nowhere\.png: no such file"),
    ],
)
def test_what_can_not_be_answered_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ask(arguments)


@pytest.mark.slow
def test_a_question_about_nothing_or_of_an_unknown_modality_is_refused(places, tmp_path):
    with pytest.raises(ValueError, match="'What is it\\?': a question needs something that it is about"):
        ask([*places, "What is it?"])
    runs.write_sound(tmp_path / "a.wav", 440, np.random.default_rng(0))
    with pytest.raises(ValueError, match="this run embeds no audio but image, text"):
        ask([*places, f"audio={tmp_path / 'a.wav'}", "What is it?"])
    with pytest.raises(ValueError, match="not set: bridge; pass bridge=FOLDER"):
        caption([places[0], "text=a"])
