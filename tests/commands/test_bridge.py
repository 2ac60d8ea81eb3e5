"""`bindspace bridge` on a binder alone and on a finished run, and what is refused before anything is trained."""

import inspect
import json

import pytest
import torch
import yaml
from support import runs
from support.bridges import anchor_binder

from bind.bridge.bridge import Bridge
from bind.bridge.training import STATE_NAME
from bind.build import locate_class
from bind.commands.bridge import bridge
from bind.commands.cli import CONFIG_DIR
from bind.model.binder import Binder

QUICK = {"num_steps": 3, "batch_size": 4, "num_samples": 20, "save_every_steps": 1}
TEXTS = ["a red star", "a metal thing bouncing", "a small circle"] * 10


def config(*choices, **values):
    return runs.config(*choices, name="bridge", **QUICK | values)


@pytest.fixture(scope="module")
def saved_binder(tmp_path_factory):
    return str(anchor_binder().save(tmp_path_factory.mktemp("binder")))


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join([*TEXTS, "", "  "]))
    return str(path)


@pytest.mark.slow
def test_texts_alone_make_a_bridge_and_a_stopped_training_goes_on(saved_binder, texts, tmp_path, capsys, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    bridge(config(binder=saved_binder, texts=texts, out=str(whole)))
    shown = capsys.readouterr().out
    assert "3 texts that were held out:" in shown
    assert shown.endswith(f"bridge: {whole}\n")
    assert {path.name for path in whole.iterdir()} == {"bridge.json", "bridge.safetensors"}
    facts = json.loads((whole / "bridge.json").read_text())["facts"]
    assert (facts["num_texts"], facts["num_held_out"], facts["num_steps"]) == (27, 3, 3)

    def stop(*arguments, **options):
        raise RuntimeError("stopped")

    with monkeypatch.context() as patched:
        patched.setattr("bind.commands.bridge.held_out_losses", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            bridge(config(binder=saved_binder, texts=texts, out=str(stopped)))
    assert {path.name for path in stopped.iterdir()} == {STATE_NAME}
    bridge(config(binder=saved_binder, texts=texts, out=str(stopped)))
    binder = Binder.load(saved_binder)
    weights = [Bridge.load(folder, binder).mapper.state_dict() for folder in (whole, stopped)]
    assert all(torch.equal(x, weights[1][name]) for name, x in weights[0].items())

    with pytest.raises(ValueError, match="holds a finished bridge; name another folder, or add overwrite=true"):
        bridge(config(binder=saved_binder, texts=texts, out=str(whole)))
    bridge(config(binder=saved_binder, texts=texts, out=str(whole), overwrite=True, num_held_out=0))
    assert "held out" not in capsys.readouterr().out.rpartition("stopped")[2]


@pytest.mark.slow
def test_conversations_about_texts_are_learned_too(saved_binder, texts, tmp_path):
    turns = [{"from": "human", "value": "What shape is it?"}, {"from": "gpt", "value": "star"}]
    talk = tmp_path / "talk.json"
    talk.write_text(json.dumps([{"id": str(n), "text": "a red star", "conversations": turns} for n in range(4)]))
    bridge(config("mapper=transformer", binder=saved_binder, instructions=str(talk), out=str(tmp_path / "out")))
    made = Bridge.load(tmp_path / "out", Binder.load(saved_binder))
    assert made.facts["num_instructions"] == 4
    assert made.mapper_config["_target_"].endswith("TransformerMapper")
    assert isinstance(made.ask("What shape is it?", text="a red star"), str)


@pytest.mark.slow
def test_a_run_has_captions_and_means_of_its_own(toy_run, tmp_path):
    bridge(config(run=str(toy_run), gap="mean", out=str(tmp_path / "out")))
    made = Bridge.load(tmp_path / "out", Binder.load(toy_run))
    assert made.gap.remedy == "mean"
    assert set(made.gap.means) >= {"image", "text", "audio", "imu"}
    assert made.facts["num_texts"] > 100
    toy = made.binder.embed("text", ["a red star"])
    assert len(made.caption_vectors("audio", toy)) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_steps": 0}, "num_steps=0: give a whole number"),
        ({"gap": "men"}, "gap=men: choose noise"),
        ({"max_text_tokens": 1}, "max_text_tokens=1: give a whole number of at least 2"),
        ({"texts": "nowhere.txt"}, r"nowhere\.txt: no such file"),
        ({"run": "nowhere", "binder": "x"}, "pass either run=PATH"),
        ({"texts": None}, "binder= has no data of its own: add texts=FILE"),
        ({"gap": "mean"}, "gap=mean needs training samples"),
    ],
)
def test_what_can_not_be_trained_is_refused_first(values, message, texts, tmp_path):
    with pytest.raises(ValueError, match=message):
        bridge(config(**{"binder": "x", "texts": texts, "out": str(tmp_path / "out"), **values}))
    assert not (tmp_path / "out").exists()


def test_an_empty_file_of_texts_and_a_full_folder_are_refused(tmp_path):
    (tmp_path / "texts.txt").write_text(" \n\n")
    with pytest.raises(ValueError, match=r"texts\.txt: no text in it; write captions, one a line"):
        bridge(config(binder="x", texts=str(tmp_path / "texts.txt"), out=str(tmp_path / "out")))
    with pytest.raises(ValueError, match="holds something else; name a new folder"):
        bridge(config(binder="x", texts=str(tmp_path / "texts.txt"), out=str(tmp_path)))


@pytest.mark.parametrize("choice", sorted((CONFIG_DIR / "mapper").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_mapper_takes_the_keys_of_its_config(choice):
    options = yaml.safe_load(choice.read_text())
    arguments = {key: value for key, value in options.items() if key != "_target_"}
    inspect.signature(locate_class(options["_target_"], "mapper")).bind(dim=8, hidden_size=16, scale=1.0, **arguments)
