"""`bindspace explain` on a finished run of the toy world: sides by key, words or index, and what is refused."""

import json

import pytest
from PIL import Image
from support import runs

from bind.commands.explain import explain, nearest_in_index, pair_kind, read_side
from bind.data.sources.toy.world import ToySource
from bind.explain.explanation import ExplainedSide
from bind.model.binder import Binder
from bind.runs.parts import Parts
from bind.runs.run_config import open_run
from bind.search.index import Index

QUICK = {"num_samples": 80}


def config(run, a, b=None, **values):
    return runs.config(name="explain", run=str(run), a=a, b=b, **QUICK | values)


@pytest.mark.slow
def test_a_sound_and_words_of_a_run(toy_run, tmp_path, capsys):
    _, config_of_run = open_run(str(toy_run))
    parts = Parts.load(toy_run, config_of_run, trust=[])
    split = config_of_run["evaluation"]["split"]
    key = parts.datamodule.sources[0].samples(split)[0].key
    explain(config(toy_run, f"audio:{key}", "text:a red star", out=str(tmp_path / "out")))
    plain = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert (plain["a"]["key"], plain["b"]["title"], plain["pair"]) == (key, "a red star", "emergent")
    assert plain["meeting_modality"] == "image"
    assert "red" in plain["b"]["concepts"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a.png", "b.png", "explanation.html", "explanation.json",
    }  # fmt: skip
    assert str(tmp_path / "out" / "explanation.html") in capsys.readouterr().out
    kinds = [pair_kind(parts, *pair) for pair in (("image", "audio"), ("text", "image"), ("imu", "audio"))]
    assert kinds == ["trained", "anchor", "emergent"]

    index = Index.create(tmp_path / "index", parts.binder)
    texts = ["a red star", "a large metal circle sliding", "a red star"]
    index.add("text", parts.binder.embed("text", texts).cpu(), {"key": ["k0", "k1", "k2"], "caption": texts})
    explain(config(toy_run, f"audio:{key}", out=str(tmp_path / "out"), **{"in": str(tmp_path / "index")}))
    plain = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert plain["b"]["title"] in texts
    assert (plain["rank"], plain["num_distinct"], plain["num_pool"]) == (1, 2, 3)
    a = ExplainedSide.embed(parts.binder, "text", "a red star", "a red star")
    assert nearest_in_index(parts.binder, a, tmp_path / "index", "text")[0].title == texts[1], "not a's own words"
    with pytest.raises(ValueError, match="in=INDEX name a modality"):
        explain(config(toy_run, f"audio:{key}", "smell", **{"in": str(tmp_path / "index")}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_samples": 2}, "num_samples=2: give a number of 10 or more"),
        ({"l1": -1.0}, "l1=-1.0: give a number of 0 or more"),
        ({"l1": float("nan")}, "l1=nan: give a number"),
        ({"concepts": "nowhere.txt"}, "concepts=nowhere.txt: no such file"),
        ({"b": None}, "name the other side"),
    ],
)
def test_what_can_not_be_explained_is_refused_first(values, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        explain(config(tmp_path, "text:a", **{"b": "text:b", "out": str(tmp_path / "new"), **values}))


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "write two or more"), ("red\n\n", "1 phrase"), ("red\nblue\nred\n", "'red' is there twice")],
)
def test_concepts_that_are_none_are_refused_by_name(content, message, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        explain(config(tmp_path, "text:a", "text:b", concepts=str(words), out=str(tmp_path / "new")))
    assert str(words) in str(error.value)


def test_a_folder_that_holds_something_else_is_not_written_into(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else"):
        explain(config(tmp_path, "text:a", "text:b", out=str(tmp_path)))


@pytest.fixture(scope="module")
def binder():
    anchor = {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"}
    return Binder.from_config({"anchor": anchor, "modalities": [], "encoder": {}, "head": {}, "transform": {}})


@pytest.mark.slow
def test_sides_are_keys_words_or_files(binder, tmp_path):
    toy = ToySource(num_train=8)
    key = toy.samples("test")[0].key
    caption = read_side(binder, [toy], "test", "a", f"text:{key}")
    assert caption.key == key
    assert caption.title == toy.fetch("test", [0], ["text"], None)[0]["text"][0]
    words = read_side(binder, [toy], "test", "a", "text:at 12:30, a star")
    assert (words.title, words.key) == ("at 12:30, a star", None)
    Image.new("RGB", (20, 20), (200, 30, 30)).save(tmp_path / "red.png")
    picture = read_side(binder, [toy], "test", "a", f"image:{tmp_path / 'red.png'}")
    assert isinstance(picture, ExplainedSide)
    assert picture.z_D.norm() == pytest.approx(1)


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ("dog.jpg", "write MODALITY:VALUE, .*image, text"),
        ("smell:a.txt", "this run embeds image, text"),
        ("image:", "name a file, the key"),
        ("text:  ", "name a file, the key"),
        ("image:nowhere.png", "no such file, and no sample of test"),
    ],
)
def test_a_side_that_is_none_is_refused_by_name(side, message, binder):
    with pytest.raises(ValueError, match=message) as error:
        read_side(binder, [ToySource(num_train=8)], "test", "b", side)
    assert f"b={side}" in str(error.value)


@pytest.mark.slow
def test_without_sides_classes_and_confusions_of_a_split_are_explained(toy_run, tmp_path, capsys):
    explain(config(toy_run, None, split="test", out=str(tmp_path / "out")))
    plain = json.loads((tmp_path / "out" / "classes.json").read_text())
    of_images = {each["label"]: each for each in plain["classes"] if each["modality"] == "image"}
    assert set(of_images) == {"resting", "sliding", "spinning", "bouncing"}
    assert all(label in each["concepts"] for label, each in of_images.items()), "the anchor knows the toy world"
    assert all(each["taken_for"] != each["label"] and each["num_samples"] >= 3 for each in plain["confusions"])
    page = (tmp_path / "out" / "classes.html").read_text()
    assert "What classes are made of" in page
    assert str(tmp_path / "out" / "classes.html") in capsys.readouterr().out
    with pytest.raises(ValueError, match="name the first side too"):
        explain(config(toy_run, None, "text:a", out=str(tmp_path / "new")))
