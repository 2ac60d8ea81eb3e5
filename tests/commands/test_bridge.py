"""`bindspace bridge` on a binder alone and on a finished run, and what is refused before anything is trained."""

import inspect
import json

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from support import runs
from support.bridges import anchor_binder, token_binder

from bind.bridge.bridge import Bridge
from bind.bridge.places import STATE_NAME
from bind.build import locate_class
from bind.commands.bridge import bridge, embed_texts, measure_gap
from bind.commands.checkout import CONFIG_DIR
from bind.data.sources.toy.world import ToySource
from bind.model.binder import Binder
from bind.runs.parts import Parts, binder_config
from bind.runs.run_config import CONFIG_VERSION, open_run

QUICK = {"num_steps": 3, "batch_size": 4, "num_samples": 20, "save_every_steps": 1, "num_compared": 0}
TEXTS = [
    f"a {size} {colour} {shape}"
    for size in ("small", "large")
    for colour in ("red", "blue", "green")
    for shape in ("star", "circle", "square", "cross", "ring")
]


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
    phases = ["open ", "load lm=toy", "embed 30 distinct texts", "train for 3 steps on 27 texts", "step 3/3, loss "]
    assert sorted(phases, key=shown.index) == phases
    assert "3 of 30 distinct texts were held out, too few to tell much:" in shown
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
    capsys.readouterr()
    bridge(config(binder=saved_binder, texts=texts, out=str(whole), overwrite=True, num_held_out=0))
    assert "held out" not in capsys.readouterr().out


@pytest.mark.slow
def test_of_few_distinct_texts_none_is_held_out_and_no_figure_is_shown(saved_binder, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("a red star\na small circle\n" * 100)
    bridge(config(binder=saved_binder, texts=str(tmp_path / "texts.txt"), out=str(tmp_path / "out")))
    shown = capsys.readouterr().out
    assert "2 distinct texts: too few to hold some out" in shown
    assert "nats" not in shown
    facts = json.loads((tmp_path / "out" / "bridge.json").read_text())["facts"]
    assert (facts["num_texts"], facts["num_distinct_texts"], facts["num_held_out"]) == (200, 2, 0)
    assert facts["held_out_loss"] is None


@pytest.mark.slow
def test_copies_of_a_text_are_embedded_once_and_all_have_its_vector(monkeypatch, capsys):
    monkeypatch.setattr("bind.commands.bridge.TEXTS_AT_ONCE", 2)
    monkeypatch.setattr("bind.bridge.progress.SECONDS_TO_FIRST_LINE", 0.0)
    binder, seen = anchor_binder(), []
    embed = binder.embed
    monkeypatch.setattr(binder, "embed", lambda modality, values: seen.extend(values) or embed(modality, values))
    texts = [*TEXTS[:3], *TEXTS[:3], TEXTS[1]]
    z = embed_texts(binder, texts)
    torch.testing.assert_close(z, embed("text", texts).float())
    assert seen == TEXTS[:3]
    assert capsys.readouterr().out.startswith("embed 3 distinct texts\ntext 0/3, ")
    assert embed_texts(binder, []).shape == (0, binder.dim)


@pytest.mark.slow
def test_conversations_about_texts_are_learned_too(saved_binder, texts, tmp_path):
    turns = [{"from": "human", "value": "What shape is it?"}, {"from": "gpt", "value": "star"}]
    talk = tmp_path / "talk.json"
    talk.write_text(json.dumps([{"id": str(n), "text": "a red star", "conversations": turns} for n in range(4)]))
    bridge(config("mapper=transformer", binder=saved_binder, instructions=str(talk), out=str(tmp_path / "out")))
    made = Bridge.load(tmp_path / "out", Binder.load(saved_binder))
    assert made.facts["num_instructions"] == 4
    assert made.mapper_config["_target_"].endswith("TransformerMapper")
    assert made.mapper_config["num_comparison_tokens"] == 0  # nothing was asked about two
    assert isinstance(made.ask("What shape is it?", text="a red star"), str)


@pytest.mark.slow
def test_conversations_about_two_inputs_are_learned_with_their_comparison(saved_binder, texts, tmp_path):
    turns = [{"from": "human", "value": "Do they have the same shape?"}, {"from": "gpt", "value": "yes"}]
    talk, two = tmp_path / "talk.json", ["a red star", "a small star"]
    talk.write_text(json.dumps([{"text": two, "conversations": turns}]))
    bridge(config(binder=saved_binder, texts=texts, instructions=str(talk), out=str(tmp_path / "out")))
    made = Bridge.load(tmp_path / "out", Binder.load(saved_binder))
    assert made.mapper_config["num_comparison_tokens"] == made.mapper.comparison.num_tokens == 4
    assert isinstance(made.ask("Do they have the same shape?", text=two), str)
    none = {"mapper.num_comparison_tokens": 0}
    bridge(config(binder=saved_binder, texts=texts, instructions=str(talk), out=str(tmp_path / "none"), **none))
    assert Bridge.load(tmp_path / "none", Binder.load(saved_binder)).mapper.comparison is None


@pytest.mark.slow
def test_a_run_has_captions_and_means_of_its_own(toy_run, tmp_path, caplog, capsys):
    remedies = {"gap.default": "mean", "gap.audio": "noise"}
    bridge(config(run=str(toy_run), out=str(tmp_path / "out"), num_compared=4, **remedies))
    made = Bridge.load(tmp_path / "out", Binder.load(toy_run))
    assert (made.gap.remedy, made.gap.of_modality) == ("mean", {"audio": "noise"})
    assert set(made.gap.means) >= {"image", "text", "audio", "imu"}
    assert set(made.gap.shifts) == {"image", "audio", "imu"}
    shown = capsys.readouterr().out
    assert "compare remedies for the gap on up to 4 validation samples" in shown
    assert "name the label" in shown
    Bridge.load(tmp_path / "out", Parts.load(*open_run(str(toy_run)), trust=[]).binder)
    assert not [message for message in caplog.messages if "was made of" in message]
    assert made.origin.run == toy_run.name
    assert made.origin.example
    assert made.facts["num_texts"] > 100
    toy = made.binder.embed("text", ["a red star"])
    assert len(made.caption_vectors("audio", toy)) == 1


@pytest.mark.slow
def test_the_gap_is_that_of_samples_and_their_own_captions():
    binder = token_binder()
    toy = ToySource(num_train=12, modalities=["image", "imu", "text"])
    means, shifts = measure_gap(binder, [toy], 12)
    values = toy.fetch("train", range(12), ["image", "imu", "text"], None)
    z = {m: binder.embed(m, [one[m][0] for one in values]) for m in ("image", "imu", "text")}
    for modality in ("image", "imu"):
        torch.testing.assert_close(means[modality], z[modality].mean(dim=0))
        torch.testing.assert_close(shifts[modality], (z["text"] - z[modality]).mean(dim=0))
    assert set(shifts) == {"image", "imu"}
    assert measure_gap(binder, [ToySource(num_train=12, modalities=["image"])], 12)[1] == {}
    assert measure_gap(binder, [toy], 0) == ({}, {})


@pytest.mark.slow
def test_pairs_make_a_bridge_that_reads_tokens_and_a_stopped_training_goes_on(tmp_path, capsys, monkeypatch):
    run = write_run(tmp_path / "run")
    reads = {"run": run, "mapper.modality": "imu", "mapper.width": 16, "mapper.num_layers": 1, "batch_size": 8}
    whole, drawn = tmp_path / "whole", tmp_path / "drawn"
    bridge(config("mapper=qformer", out=str(whole), **reads))
    assert "from their own values" in capsys.readouterr().out
    made = Bridge.load(whole, Binder.load(run))
    assert (made.modalities, made.facts["num_texts"], made.facts["num_held_out"]) == (("imu",), 36, 4)
    assert made.gap.means == {}

    def stop(*arguments, **options):
        raise RuntimeError("stopped")

    with monkeypatch.context() as patched:
        patched.setattr(
            "bind.bridge.training.ProgressLines.print_if_due", lambda self, step, note: step == 2 and stop()
        )
        with pytest.raises(RuntimeError, match="stopped"):
            bridge(config("mapper=qformer", out=str(drawn), **reads))
    assert {path.name for path in drawn.iterdir()} == {STATE_NAME}
    bridge(config("mapper=qformer", out=str(drawn), **reads))
    weights = [Bridge.load(folder, made.binder).mapper.state_dict() for folder in (whole, drawn)]
    assert all(torch.equal(x, weights[1][name]) for name, x in weights[0].items())
    # Of tokens that are computed whenever they are drawn the training is another one, up to rounding.
    bridge(config("mapper=qformer", out=str(tmp_path / "none"), keep_gb=0, **reads))
    anew = Bridge.load(tmp_path / "none", made.binder).mapper.state_dict()
    assert all(torch.allclose(x, weights[0][name], atol=1e-3) for name, x in anew.items())


def write_run(run_dir):
    """A finished run of a binder with random weights, whose samples are the toy world's motions with captions."""
    composed = runs.config("data.sources.toy.num_train=40", "modalities=[imu]", "encoder/imu=transformer")
    plain = {"version": CONFIG_VERSION, **OmegaConf.to_container(composed, resolve=True)}
    plain["encoder"]["imu"] |= {"width": 16, "num_layers": 1, "num_heads": 2}
    run_dir.mkdir()
    OmegaConf.save(OmegaConf.create(plain), run_dir / "config.yaml")
    Binder.from_config(binder_config(plain)).save(run_dir / "binder")
    return str(run_dir)


@pytest.mark.slow
def test_tokens_that_are_not_there_are_refused_before_anything_is_trained(tmp_path, toy_run):
    for modality, message in (
        ("imu", r"mapper\.modality=imu: .* this binder's encoder of imu gives none; .* give no tokens"),
        (None, r"mapper\.modality=null: .* none is named"),
    ):
        with pytest.raises(ValueError, match=message):
            bridge(
                config("mapper=qformer", run=str(toy_run), out=str(tmp_path / "out"), **{"mapper.modality": modality})
            )
    with pytest.raises(ValueError, match=r"gap\.sound=mean: this run embeds image, text"):
        bridge(config(run=str(toy_run), out=str(tmp_path / "out"), **{"gap.sound": "mean"}))
    assert not (tmp_path / "out").exists()


def test_texts_are_not_for_tokens(texts, tmp_path):
    with pytest.raises(ValueError, match="texts=: a mapper of tokens learns of the run's training samples"):
        bridge(config("mapper=qformer", run="x", texts=texts, out=str(tmp_path / "out")))


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
        ({"gap.image": "captions"}, "gap=captions needs training samples"),
        ({"gap.image": "mean"}, "gap=mean needs training samples"),
        ({"gap.image": "men"}, r"gap\.image=men: choose noise"),
        ({"num_compared": -1}, "num_compared=-1: give a whole number of at least 0"),
        ({"keep_gb": -1}, "keep_gb=-1: give a number of 0 or more"),
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
    signature = inspect.signature(locate_class(options["_target_"], "mapper"))
    known = {"dim": 8, "hidden_size": 16, "scale": 1.0, "num_token_features": 8}
    signature.bind(**{name: value for name, value in known.items() if name in signature.parameters}, **arguments)
