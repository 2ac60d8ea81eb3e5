"""Bridges over the toy anchor: what they say, and what is refused when they are loaded."""

import json
import shutil

import pytest
import torch
from support.bridges import anchor_binder, save_language_model, tiny_language_model, token_binder, toy_values

from bind.bridge.bridge import Bridge
from bind.bridge.dialogues import Dialogue
from bind.bridge.gap import Gap, choose_memory
from bind.bridge.language_model import LanguageModel
from bind.bridge.options import BridgeTraining
from bind.bridge.training import train_bridge
from bind.data.sources.toy.world import ToySource
from bind.files.checksums import checksum_of_values

QFORMER = {"_target_": "bind.bridge.mappers.QFormerMapper", "modality": "imu", "num_tokens": 4, "width": 32}
TRANSFORMER = {"_target_": "bind.bridge.mappers.TransformerMapper", "num_tokens": 4, "num_layers": 1}


@pytest.fixture(scope="module")
def binder():
    return anchor_binder()


@pytest.fixture(scope="module")
def pairs():
    """Motions of the toy world with their captions."""
    motions, captions = toy_values("train", 16, "imu", "text")
    return motions, captions


@pytest.fixture(scope="module")
def reader(pairs):
    """A bridge that reads tokens of motion, and learned some pairs by heart."""
    torch.manual_seed(0)
    bridge = Bridge(token_binder(), LanguageModel.load("toy"), mapper=QFORMER)
    ready = bridge.ready([Dialogue((row,), (("", text),)) for row, text in enumerate(pairs[1])])
    inputs = bridge.embed("imu", pairs[0])
    inputs.keep(10**7)
    train_bridge(bridge.lm, bridge.mapper, inputs, ready, BridgeTraining(num_steps=200, batch_size=16, lr=5e-3))
    return bridge


@pytest.fixture(scope="module")
def texts():
    toy = ToySource(num_train=200, modalities=["image", "text"])
    return [values["text"][0] for values in toy.fetch("train", range(200), ["text"], None)]


@pytest.fixture(scope="module")
def bridge(binder, texts):
    """A few steps on captions of the toy world."""
    torch.manual_seed(0)
    z = binder.embed("text", texts)
    bridge = Bridge(binder, LanguageModel.load("toy"), gap=Gap("noise", {"text": z.mean(0)}, choose_memory(z)))
    ready = bridge.ready([Dialogue((row,), (("", text),)) for row, text in enumerate(texts)])
    train_bridge(bridge.lm, bridge.mapper, z, ready, BridgeTraining(num_steps=120, batch_size=32, lr=5e-3, noise=0.2))
    return bridge


@pytest.mark.slow
def test_captions_say_what_texts_say(bridge, texts):
    captions = bridge.caption("text", texts[:40])
    shapes = ("circle", "square", "triangle", "star")
    named = [next(s for s in shapes if s in text) in caption for text, caption in zip(texts, captions, strict=False)]
    assert sum(named) > 18  # of 40, and by chance 10
    assert captions == bridge.caption("text", texts[:40])
    assert bridge.caption("text", texts[:1]) == captions[:1]
    assert bridge.caption_vectors("text", bridge.binder.embed("text", texts[:2])) == captions[:2]


@pytest.mark.slow
def test_a_loaded_bridge_says_the_same(bridge, texts, tmp_path):
    toy = ToySource(num_train=8, modalities=["image", "text"])
    pictures = [values["image"][0] for values in toy.fetch("test", range(4), ["image"], None)]
    loaded = Bridge.load(bridge.save(tmp_path / "bridge"), bridge.binder)
    assert {path.name for path in (tmp_path / "bridge").iterdir()} == {"bridge.json", "bridge.safetensors"}
    for remedy in ("noise", "memory"):
        assert loaded.caption("image", pictures, gap=remedy) == bridge.caption("image", pictures, gap=remedy)
    question = "What shape is it?"
    assert loaded.ask(question, image=pictures[0]) == bridge.ask(question, image=pictures[0])
    assert loaded.ask(question, text=texts[0], image=[pictures[1], pictures[2]]) is not None
    with pytest.raises(ValueError, match="knows no mean of image"):
        loaded.caption("image", pictures, gap="mean")


@pytest.mark.slow
def test_a_bridge_that_compares_says_the_same_when_loaded_and_others_open_as_before(bridge, binder, texts, tmp_path):
    torch.manual_seed(0)
    compares = Bridge(binder, bridge.lm, mapper={**bridge.mapper_config, "num_comparison_tokens": 2})
    compares.mapper.load_state_dict(bridge.mapper.state_dict(), strict=False)
    loaded = Bridge.load(compares.save(tmp_path / "bridge"), binder)
    question, two = "Are these the same thing?", texts[:2]
    assert loaded.ask(question, text=two) == compares.ask(question, text=two)
    vectors = binder.embed("text", two)
    assert loaded.ask_vectors(question, ["text", "text"], vectors) == loaded.ask(question, text=two)
    assert loaded.caption("text", texts[:8]) == bridge.caption("text", texts[:8])
    ready = [one.ready([Dialogue((0, 1), ((question, None),))])[0] for one in (loaded, bridge)]
    assert len(ready[0].ids) == len(ready[1].ids) + 2
    before = Bridge.load(bridge.save(tmp_path / "before"), binder)  # its file has no word of comparisons
    assert "num_comparison_tokens" not in json.loads((tmp_path / "before" / "bridge.json").read_text())["mapper"]
    assert before.ask(question, text=two) == bridge.ask(question, text=two)
    change(tmp_path / "bridge", mapper=bridge.mapper_config)
    with pytest.raises(ValueError, match="don't belong together"):
        Bridge.load(tmp_path / "bridge", binder)


@pytest.mark.slow
def test_a_language_model_of_a_folder_goes_with_the_bridge(binder, tmp_path):
    folder = save_language_model(tmp_path / "lm")
    bridge = Bridge(binder, LanguageModel.load(str(folder)), mapper=TRANSFORMER)
    bridge.save(tmp_path / "bridge")
    shutil.rmtree(folder)
    moved = (tmp_path / "bridge").rename(tmp_path / "moved")
    loaded = Bridge.load(moved, binder)
    assert loaded.caption("text", ["a dog"], max_tokens=4) == bridge.caption("text", ["a dog"], max_tokens=4)
    assert json.loads((moved / "bridge.json").read_text())["lm"] == "./language_model"


@pytest.mark.slow
def test_an_adapter_is_saved_and_loaded(binder, texts, tmp_path):
    pytest.importorskip("peft")
    bridge = Bridge(binder, LanguageModel.load("toy"), lora=2)
    z = binder.embed("text", texts[:8])
    ready = bridge.ready([Dialogue((row,), (("", text),)) for row, text in enumerate(texts[:8])])
    train_bridge(bridge.lm, bridge.mapper, z, ready, BridgeTraining(num_steps=4, batch_size=8, lr=1e-2))
    loaded = Bridge.load(bridge.save(tmp_path / "bridge"), binder)
    embeds, mask = loaded.lm.embed(torch.tensor([[5, 6, 7]])), torch.ones(1, 3, dtype=torch.long)
    with torch.no_grad():
        assert torch.equal(loaded.lm(embeds, mask), bridge.lm(embeds, mask))
        assert not torch.allclose(loaded.lm(embeds, mask), LanguageModel.load("toy")(embeds, mask))


@pytest.mark.slow
def test_a_bridge_of_another_space_or_language_model_is_refused(bridge, binder, tmp_path):
    folder = bridge.save(tmp_path / "bridge")
    other = anchor_binder()
    with torch.no_grad():
        next(other.anchor.parameters()).add_(0.1)
    with pytest.raises(ValueError, match=r"was made for the space of toy .* this binder's is that of toy"):
        Bridge.load(folder, other)
    Bridge(binder, tiny_language_model("llama")).save(tmp_path / "tiny")
    change(tmp_path / "tiny", lm="toy")
    with pytest.raises(ValueError, match=r"was trained with another toy: width 32 .* here 128"):
        Bridge.load(tmp_path / "tiny", binder)


def change(folder, **values):
    about = json.loads((folder / "bridge.json").read_text()) | values
    checksums = about.pop("checksums")
    about["checksums"] = checksums | {"bridge.json": checksum_of_values(about)}
    (folder / "bridge.json").write_text(json.dumps(about))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lm": "/etc"}, "its language model is '/etc', which is neither toy, a hub id nor ./language_model"),
        ({"version": 9}, "version 9, this bind reads 1"),
        ({"mapper": {"_target_": "os.system", "command": "ls"}}, "give mapper a public class of bind.bridge.mappers"),
        ({"mapper": {"_target_": "bind.bridge.mappers.MLPMapper", "num_tokens": 5}}, "don't belong together"),
        ({"mapper": {"_target_": "bind.bridge.mappers.MLPMapper", "width": 10**9}}, "width is 1000000000"),
        ({"dim": "64"}, "dim is a str, not int"),
    ],
)
def test_a_description_that_is_wrong_is_refused_by_name(bridge, tmp_path, values, message):
    folder = bridge.save(tmp_path / "bridge")
    change(folder, **values)
    with pytest.raises(ValueError, match=message) as error:
        Bridge.load(folder, bridge.binder)
    assert str(folder) in str(error.value) or "os.system" in str(error.value)


@pytest.mark.slow
def test_a_changed_file_is_refused(bridge, tmp_path):
    folder = bridge.save(tmp_path / "bridge")
    path = folder / "bridge.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bridge.safetensors is not as it was saved"):
        Bridge.load(folder, bridge.binder)
    with pytest.raises(ValueError, match=r"no bridge.json there; name a folder that bindspace bridge wrote"):
        Bridge.load(tmp_path, bridge.binder)


@pytest.mark.slow
def test_more_than_the_language_model_reads_is_refused(bridge):
    with pytest.raises(ValueError, match="lm=toy reads"):
        bridge.ask("What " * 300, text="a dog")
    with pytest.raises(ValueError, match="with 250 to write"):
        bridge.ask("What is it?", text="a dog", max_tokens=250)


@pytest.mark.slow
def test_captions_of_tokens_are_those_that_were_learned(reader, pairs):
    motions, texts = pairs
    captions = reader.caption("imu", motions)
    assert sum(a == b for a, b in zip(captions, texts, strict=True)) >= 8
    assert reader.caption("imu", motions[:1]) == captions[:1]
    items = [reader.binder.transforms["imu"](motion, None) for motion in motions[:3]]
    assert reader.caption_inputs(reader.embed_items("imu", items)) == captions[:3]
    assert reader.modalities == ("imu",)


@pytest.mark.slow
def test_a_loaded_bridge_reads_the_tokens_of_the_very_encoder(reader, pairs, tmp_path):
    folder = reader.save(tmp_path / "bridge")
    loaded = Bridge.load(folder, reader.binder)
    assert loaded.caption("imu", pairs[0][:6]) == reader.caption("imu", pairs[0][:6])
    question = "How does it move?"
    assert loaded.ask(question, imu=pairs[0][:2]) == reader.ask(question, imu=pairs[0][:2])
    with pytest.raises(ValueError, match=r"bridge=.* reads the tokens of another imu encoder than this binder's"):
        Bridge.load(folder, token_binder(seed=1))
    with pytest.raises(ValueError, match=r"imu has no encoder of its own; this binder's encoders give no tokens"):
        Bridge.load(folder, anchor_binder())
    change(folder, mapper={**QFORMER, "modality": ["imu"]})
    with pytest.raises(ValueError, match=r"has no encoder of its own; this binder's encoders give tokens of imu"):
        Bridge.load(folder, reader.binder)


@pytest.mark.slow
def test_what_a_bridge_of_tokens_does_not_read_is_said(reader, pairs):
    with pytest.raises(ValueError, match="reads the tokens of imu alone, and text was given"):
        reader.caption("text", ["a red star"])
    with pytest.raises(ValueError, match="reads the tokens of imu alone, and text was given"):
        reader.ask("The same?", imu=pairs[0][0], text="a red star")
    with pytest.raises(ValueError, match="reads the tokens of imu, not vectors: give it the values"):
        reader.caption_vectors("imu", torch.eye(64)[:1])
    for gap in ("mean", {"imu": "memory"}):
        with pytest.raises(ValueError, match=r"gap=.*: the remedies move vectors, and this mapper reads tokens"):
            reader.caption("imu", pairs[0][:1], gap=gap)
    assert reader.caption("imu", pairs[0][:1], gap="noise") == reader.caption(
        "imu", pairs[0][:1], gap={"image": "mean"}
    )
    with pytest.raises(ValueError, match=r"gap=mean: the remedies move vectors"):
        Bridge(reader.binder, reader.lm, mapper=QFORMER, gap=Gap("noise", of_modality={"imu": "mean"}))
    with pytest.raises(ValueError, match=r"mapper.modality=image: .*this binder's encoders give tokens of imu"):
        Bridge(reader.binder, reader.lm, mapper={**QFORMER, "modality": "image"})


@pytest.mark.slow
def test_the_remedies_of_modalities_are_saved_and_older_files_have_none(bridge, tmp_path):
    z = bridge.binder.embed("text", ["a red star", "a dog"])
    means = {"text": z[0], "image": z[1]}
    gap = Gap("noise", means, of_modality={"image": "mean"}, shifts={"image": z[0] - 2 * z[1]})
    of_image = Bridge(bridge.binder, bridge.lm, gap=gap)
    folder = of_image.save(tmp_path / "bridge")
    loaded = Bridge.load(folder, bridge.binder)
    assert (loaded.gap.remedy, loaded.gap.of_modality) == ("noise", {"image": "mean"})
    for remedy in ("mean", "captions"):
        assert torch.equal(loaded.near_texts("image", z, remedy), of_image.gap.bring_near("image", z, remedy))
    assert torch.equal(loaded.near_texts("image", z), loaded.near_texts("image", z, "mean"))
    assert not torch.equal(loaded.near_texts("image", z), loaded.near_texts("image", z, "captions"))
    about = json.loads((folder / "bridge.json").read_text())
    del about["gap_of_modality"], about["encoder_fingerprint"]
    (folder / "bridge.json").write_text(json.dumps(about))
    change(folder)
    assert Bridge.load(folder, bridge.binder).gap.of_modality == {}
