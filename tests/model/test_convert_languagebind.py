"""LanguageBind's checkpoints become a binder with the vectors of transformers' tower; what is none is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf
from safetensors import safe_open
from safetensors.torch import load_file
from support import languagebind, tiny, videos

from bind.commands.convert import main, published_parts
from bind.model.adapter_weights import merge_lora
from bind.model.binder import Binder
from bind.model.description import ANCHOR_FOLDER, WEIGHTS_NAME
from bind.types import Waveform

pytestmark = pytest.mark.slow  # towers and anchors are built dozens of times
ORIGINAL = Path(__file__).parent / "original" / "languagebind.safetensors"
"""Random weights, inputs and outputs of LanguageBind's own classes, by the script beside it."""
RANKS = {"audio": 4, "depth": 2, "thermal": 0}
Q = "vision_model.encoder.base_model.model.layers.1.self_attn.q_proj"


@pytest.fixture(scope="module")
def anchor(tmp_path_factory):
    return tiny.write_anchor(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def states(anchor):
    model = tf.CLIPModel.from_pretrained(anchor)
    return {m: languagebind.make_state(m, model, rank) for m, rank in RANKS.items()}


@pytest.fixture(scope="module")
def folder(states, tmp_path_factory):
    """A folder of a checkpoint per modality."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for m, rank in RANKS.items():
        languagebind.write_checkpoint(folder / m, m, states[m], rank)
    return folder


@pytest.fixture(scope="module")
def converted(folder, anchor, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted") / "languagebind"
    main(["languagebind", str(folder), str(out), f"anchor={anchor}"])
    return out


@pytest.mark.parametrize("modality", RANKS)
def test_encoders_give_the_vectors_of_transformers_own_tower(converted, states, modality):
    x = torch.randn(2, 3, *languagebind.SIDES[modality], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        z = Binder.load(converted).encode(modality, x)
    assert (z - languagebind.embed_by_transformers(states[modality], x)).abs().max() < 1e-5


@pytest.mark.parametrize("case", ["video", "video_ft", "video_v1.5", "audio", "depth", "thermal"])
def test_vectors_are_those_of_languagebinds_own_classes(states, anchor, tmp_path, case):
    out, x, z = convert_original(case, states, anchor, tmp_path)
    modality = case.partition("_")[0]
    binder = Binder.load(out)
    with torch.no_grad():
        ours = binder.encode(modality, x.transpose(1, 2) if modality == "video" else x)
        assert (ours - z).abs().max() < 1e-6
        assert (z[0] - z[1]).abs().max() > 1e-2, "the inputs have different vectors"
        if modality == "video":
            for layer in binder.encoders["video"].layers():
                layer.temporal_embedding.zero_()
            assert (binder.encode(modality, x.transpose(1, 2)) - z).abs().max() > 1e-2, "when a frame comes counts"


def test_files_of_videos_land_in_the_space_of_texts(states, anchor, tmp_path):
    out, _, _ = convert_original("video_v1.5", states, anchor, tmp_path)
    binder = Binder.load(out)
    described = json.loads((out / "binder.json").read_text())
    assert described["encoder"]["video"]["class_token_per_frame"] is True
    assert described["transform"]["video"]["num_frames"] == described["encoder"]["video"]["num_frames"] == 3
    colours = [videos.plain((20 * i, 90, 5 * i), height=24, width=32) for i in range(6)]
    z_BD = binder.embed("video", [videos.write_video(tmp_path / "a.mp4", colours)])
    assert z_BD.shape == binder.embed("text", ["a green dog"]).shape
    assert np.isclose(np.linalg.norm(z_BD), 1.0, atol=1e-5)


def convert_original(case, states, anchor, tmp_path):
    """The folder of a converted checkpoint of `ORIGINAL`, an input, and the original's unit vectors of it."""
    with safe_open(ORIGINAL, "pt") as file:
        config, of_state = json.loads(file.metadata()[case]), f"{case}/state/"
        names = [name for name in file.keys() if name.startswith(of_state)]  # noqa: SIM118
        state = {name.removeprefix(of_state): file.get_tensor(name) for name in names}
        x, z = file.get_tensor(f"{case}/x"), file.get_tensor(f"{case}/z")
    state |= {name: x for name, x in states["audio"].items() if name.startswith("text_")}
    folder, out = tmp_path / "checkpoint", tmp_path / "out"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(state, folder / "pytorch_model.bin")
    main(["languagebind", str(folder), str(out), f"anchor={anchor}"])
    return out, x, z


def test_the_folder_has_the_anchor_the_settings_and_the_licence(converted, anchor):
    described = json.loads((converted / "binder.json").read_text())
    assert described["anchor"]["pretrained"] == f"./{ANCHOR_FOLDER}"
    assert described["transform"]["audio"]["mean"] == -4.0
    assert described["transform"]["audio"]["num_frames"] == 48
    assert described["transform"]["depth"]["max_metres"] == 8
    assert "license: cc-by-nc-4.0" in (converted / "README.md").read_text()
    assert "Not for commercial use" in (converted / "LICENSE.txt").read_text()


def test_sounds_maps_pictures_and_texts_land_in_one_space(converted):
    binder = Binder.load(converted)
    sound = Waveform(0.1 * np.random.default_rng(0).standard_normal(20_000).astype(np.float32), 16_000)
    values = {
        "audio": sound,
        "depth": np.full((40, 60), 3.0, dtype=np.float32),
        "thermal": np.arange(48 * 40, dtype=np.uint16).reshape(40, 48),
        "text": "a green dog",
    }
    for modality, value in values.items():
        z_BD = binder.embed(modality, [value])
        assert z_BD.shape == (1, tiny.DIM)
        assert np.isclose(np.linalg.norm(z_BD), 1.0, atol=1e-5)


def test_the_choice_of_the_configs_takes_the_weights(converted, states):
    """As with init_from: the tower is the anchor's, its positions are resized, and the weights replace them."""
    sizes = {"num_mels": 24, "num_frames": 48}
    parts = published_parts("languagebind", ("audio",))
    config = {
        "anchor": {
            "_target_": "bind.anchors.dual_encoder.PretrainedAnchor",
            "pretrained": str(converted / ANCHOR_FOLDER),
        },
        "modalities": ["audio"],
        "encoder": {"audio": parts["encoder"]["audio"] | {"sides": list(sizes.values())}},
        "transform": {"audio": parts["transform"]["audio"] | sizes},
        "head": parts["head"],
    }
    assert parts["encoder"]["audio"]["sides"] == [126, 1036]
    binder = Binder.from_config(config)
    of_file = load_file(converted / WEIGHTS_NAME)
    binder.load_own_state_dict({name: x for name, x in of_file.items() if ".audio." in name})
    assert torch.equal(binder.heads["audio"].project.weight, states["audio"]["visual_projection.weight"])


def test_what_was_merged_and_not_used_is_said(folder, anchor, tmp_path, capsys):
    main(["languagebind", str(folder / "audio"), str(tmp_path / "out"), f"anchor={anchor}"])
    said = capsys.readouterr().out
    assert "audio: 8 adapters merged" in said
    assert "not used: logit_scale, text_model.embeddings.position_ids" in said
    assert "CC BY-NC 4.0" in said


def drop(name):
    return lambda state: state.pop(name)


def put(name, x):
    return lambda state: state.__setitem__(name, x)


BAD_STATES = {
    "half an adapter": (drop(f"{Q}.lora_B.default.weight"), "has an adapter and lacks .*lora_B"),
    "an adapter without its weight": (drop(f"{Q}.weight"), "has an adapter and lacks .*q_proj.weight"),
    "another half": (drop(f"{Q}.lora_A.default.weight"), "is no factor of an adapter"),
    "an adapter of another width": (put(f"{Q}.lora_B.default.weight", torch.ones(9, 4)), "does not fit its weight"),
    "an adapter of another rank": (put(f"{Q}.lora_A.default.weight", torch.ones(5, 16)), "lora_r is 4, and .* 4, 5"),
    "a weight twice": (put("vision_model.encoder.layers.1.self_attn.q_proj.weight", torch.ones(16, 16)), "twice"),
    "a layer less": (drop("vision_model.encoder.base_model.model.layers.1.mlp.fc1.weight"), "don't belong together"),
    "no projection": (drop("visual_projection.weight"), "lacks visual_projection.weight"),
    "a tensor more": (put("vision_modle.x", torch.ones(2)), r"1 tensors that LanguageBind does not have"),
    "another grid": (put("vision_model.embeddings.position_embedding.weight", torch.ones(20, 16)), "positions_LW"),
    "attention in time": (
        put("vision_model.encoder.base_model.model.layers.0.temporal_attn.q_proj.weight", torch.ones(16, 16)),
        "don't belong together.*temporal_attn",
    ),
    "NaN": (put("visual_projection.weight", torch.full((8, 16), torch.nan)), "holds NaN"),
    "another text tower": (put("text_projection.weight", torch.ones(8, 16)), r"not that of anchor=.*Pass anchor="),
    "no text tower": (drop("text_projection.weight"), "lacks text_projection.weight"),
}


@pytest.mark.parametrize("kind", BAD_STATES)
def test_weights_that_do_not_belong_are_refused(states, anchor, tmp_path, kind):
    change, message = BAD_STATES[kind]
    state = dict(states["audio"])
    change(state)
    languagebind.write_checkpoint(tmp_path / "bad", "audio", state, RANKS["audio"])
    with pytest.raises(ValueError, match=message) as refused:
        main(["languagebind", str(tmp_path / "bad"), str(tmp_path / "out"), f"anchor={anchor}"])
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lora_r": 0}, "lora_r is 0, and .* of rank 4"),
        ({"lora_r": "4"}, "lora_r is '4', not a whole number"),
        ({"lora_alpha": None}, "lora_alpha is None"),
        ({"add_time_attn": True}, "add_time_attn is True, and LanguageBindAudio has attention in time exactly where"),
        ({"tube_size": 2}, "tube_size is 2; patches of one frame are read"),
        ({"hidden_size": 8}, "don't belong together"),
        ({"num_attention_heads": 3}, "make no CLIP tower"),
        ({"target_length": 96}, "positions_LW"),
        ({"hidden_act": "no such"}, "no such"),
        ({"num_mel_bins": None}, "num_mel_bins is None, where LanguageBind has a number such as 126"),
        ({"target_length": [48]}, r"target_length is \[48\]"),
        ({"audio_std": 0}, "audio_std is 0"),
        ({"patch_size": "x"}, "make no CLIP tower"),
    ],
)
def test_a_config_that_the_weights_contradict_is_refused(states, anchor, tmp_path, changed, message):
    languagebind.write_checkpoint(tmp_path / "bad", "audio", states["audio"], RANKS["audio"], **changed)
    with pytest.raises(ValueError, match=message):
        main(["languagebind", str(tmp_path / "bad"), str(tmp_path / "out"), f"anchor={anchor}"])
    assert not list(tmp_path.glob("out*"))


def test_other_folders_are_refused(folder, anchor, tmp_path):
    (tmp_path / "empty").mkdir()
    out = str(tmp_path / "out")
    with pytest.raises(ValueError, match=r"no folder with config\.json.*hf download"):
        main(["languagebind", str(tmp_path / "empty"), out])
    with pytest.raises(ValueError, match="of the family 'clip'; bindspace converts LanguageBindAudio"):
        main(["languagebind", str(anchor), out])
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not readable as JSON"):
        main(["languagebind", str(tmp_path / "text"), out])
    (tmp_path / "text" / "config.json").write_text((folder / "audio" / "config.json").read_text())
    with pytest.raises(ValueError, match=r"has neither model\.safetensors nor pytorch_model\.bin"):
        main(["languagebind", str(tmp_path / "text"), out])
    with pytest.raises(ValueError, match="half: no such option; there are anchor"):
        main(["languagebind", str(folder), out, "half=true"])
    with pytest.raises(ValueError, match=r"^anchor=.*empty could not be loaded") as refused:
        main(["languagebind", str(folder), out, f"anchor={tmp_path / 'empty'}"])
    assert "anchor.pretrained" not in str(refused.value)
    with pytest.raises(ValueError, match="is there already"):
        main(["languagebind", str(folder), str(folder), f"anchor={anchor}"])


@pytest.mark.parametrize("style", ["of 2023", "of now"])
def test_a_merged_weight_is_what_peft_computes(tmp_path, style):
    from peft import LoraConfig, get_peft_model

    layers = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Linear(3, 2))
    adapted = get_peft_model(layers, LoraConfig(r=2, lora_alpha=7, target_modules=["0"], init_lora_weights=False))
    state = {f"encoder.{name}": x for name, x in adapted.state_dict().items()}
    if style == "of 2023":
        state = {name.replace(".base_layer.", "."): x for name, x in state.items()}
    assert merge_lora(state, 7.0, tmp_path) == 1
    expected = {f"encoder.{name}": x for name, x in adapted.merge_and_unload().state_dict().items()}
    assert state.keys() == expected.keys()
    for name, x in expected.items():
        torch.testing.assert_close(state[name], x)
