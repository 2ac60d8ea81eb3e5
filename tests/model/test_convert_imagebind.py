"""ImageBind's weights become a binder with the vectors of the original; one message for what can't be converted."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support import imagebind

from bind.anchors.dual_encoder import PretrainedAnchor
from bind.commands.arguments.convert import read_options
from bind.commands.convert import main
from bind.model.binder import Binder
from bind.types import Clip

INPUTS = {"audio": (1, 128, 204), "imu": (6, 2000), "depth": (1, 224, 224), "thermal": (1, 224, 224)}
pytestmark = pytest.mark.slow  # CLIP's vocabulary alone takes seconds to read


@pytest.fixture(scope="module")
def state():
    return imagebind.make_state()


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("imagebind") / "imagebind_tiny.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def converted(file, tmp_path_factory):
    """A folder that the command has written; do not change it."""
    out = tmp_path_factory.mktemp("converted") / "imagebind"
    with (out.parent / "said.txt").open("w") as said, contextlib.redirect_stdout(said):
        main(["imagebind", str(file), str(out), *imagebind.OPTIONS])
    return out


@pytest.fixture(scope="module")
def binder(converted):
    return Binder.load(converted)


@pytest.mark.parametrize("modality", INPUTS)
def test_encoders_give_the_vectors_of_torchs_own_attention(binder, state, modality):
    x = torch.randn(2, *INPUTS[modality], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        z = binder.encode(modality, x)
    assert (z - imagebind.embed_naively(state, modality, x)).abs().max() < 1e-5


def test_the_towers_are_those_of_the_file(binder, state):
    model = binder.anchor.model
    stem = state["modality_preprocessors.vision.rgbt_stem.proj.1.weight"]
    assert torch.equal(model.vision_model.embeddings.patch_embedding.weight, stem[:, :, 0] + stem[:, :, 1])
    packed = state["modality_trunks.text.blocks.0.attn.in_proj_weight"]
    attention = model.text_model.encoder.layers[0].self_attn
    assert torch.equal(torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]), packed)
    assert binder.anchor.text_transform.collate(["a dog barks"])["input_ids"][0, :6].tolist() == [
        49406, 320, 1929, 1040, 662, 49407,
    ]  # fmt: skip
    assert binder.embed("text", ["a dog barks"]).shape == (1, imagebind.DIM)


def test_the_anchor_alone_is_an_anchor(binder, converted):
    anchor = PretrainedAnchor(str(converted / "anchor"))
    assert anchor.fingerprint == binder.anchor.fingerprint
    assert binder.anchor.name == "imagebind_tiny"
    described = json.loads((converted / "binder.json").read_text())
    assert described["anchor"]["pretrained"] == "./anchor"


def test_in_half_precision_it_is_another_anchor(file, binder, converted, tmp_path):
    options = [*imagebind.OPTIONS, "half=true", f"tokenizer={converted / 'anchor'}"]
    main(["imagebind", str(file), str(tmp_path / "half"), *options])
    half = Binder.load(tmp_path / "half")
    assert half.anchor.fingerprint != binder.anchor.fingerprint
    assert load_file(tmp_path / "half/anchor/model.safetensors")["logit_scale"].dtype == torch.float16
    z, z_half = (b.embed("text", ["a dog barks"]) for b in (binder, half))
    assert 0 < (z - z_half).abs().max() < 1e-2


def test_the_licence_is_printed_and_lies_in_both_folders(converted):
    said = (converted.parent / "said.txt").read_text()
    assert "CC BY-NC-SA 4.0" in said
    assert "not used: the causal mask" in said
    assert "license: cc-by-nc-sa-4.0" in (converted / "README.md").read_text()
    for folder in (converted, converted / "anchor"):
        assert "Not for commercial use" in (folder / "LICENSE.txt").read_text()


def test_a_binder_that_is_saved_again_keeps_the_licence_of_its_anchor(binder, tmp_path):
    binder.save(tmp_path)
    assert "CC BY-NC-SA" in (tmp_path / "anchor" / "LICENSE.txt").read_text()


def changed(state, change):
    state = dict(state)
    change(state)
    return state


def put(name, value):
    return lambda state: state.__setitem__(name, value)


HEAD = "modality_heads.audio.2.weight"
BAD_STATES = {
    "a missing tensor": (lambda s: s.pop(HEAD), rf"lacks {HEAD}, which every ImageBind has.*Get the file again"),
    "a missing layer": (
        lambda s: [s.pop(name) for name in list(s) if name.startswith("modality_trunks.audio.blocks.0.")],
        r"its layers modality_trunks\.audio\.blocks\.N are 1, not 0, 1",
    ),
    "a tensor more": (put("modality_heads.smell.0.weight", torch.ones(2)), "1 tensors that ImageBind does not have"),
    "NaN": (put(HEAD, torch.full((imagebind.DIM, 8), torch.nan)), f"{HEAD} holds NaN"),
    "other axes": (put(HEAD, torch.ones(8)), rf"{HEAD} has the shape \(8,\) and 2 axes"),
    "another width": (
        put(HEAD, torch.ones(imagebind.DIM, 9)),
        r"sizes of its audio trunk do not belong together: heads\.audio",
    ),
    "another space": (put(HEAD, torch.ones(7, 8)), r"heads\.audio\.project\.weight would have \(7, 8\), not \(6, 8\)"),
    "another vocabulary": (
        put("modality_preprocessors.text.token_embedding.weight", torch.ones(9, 8)),
        "knows 9 tokens, ImageBind's 49408",
    ),
    "a text tower that looks ahead": (put("modality_preprocessors.text.mask", torch.zeros(77, 77)), "not causal"),
    "positions of no square": (
        put("modality_preprocessors.depth.pos_embedding_helper.pos_embed", torch.ones(1, 200, 4)),
        "199 positions are no square",
    ),
    "positions of no rows": (
        put("modality_preprocessors.audio.pos_embedding_helper.pos_embed", torch.ones(1, 231, 8)),
        "230 positions of sound are no 12 rows",
    ),
    "another model": (lambda s: [s.clear(), s.update(weight=torch.ones(2))], "no weights of ImageBind"),
    "a training checkpoint": (
        lambda s: [s.clear(), s.update(epoch=3, state_dict={})],
        "holds epoch, state_dict, not tensors",
    ),
}


@pytest.mark.parametrize("kind", BAD_STATES)
def test_weights_that_are_not_imagebinds_are_refused(state, tmp_path, kind):
    change, message = BAD_STATES[kind]
    torch.save(changed(state, change), tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=message) as refused:
        main(["imagebind", str(tmp_path / "bad.pth"), str(tmp_path / "out"), *imagebind.OPTIONS])
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.glob("out/*"))


class Command:
    def __reduce__(self):
        return (print, ("run",))


def test_a_pickle_with_more_than_tensors_runs_nothing(tmp_path, capsys):
    torch.save({"a": Command()}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=r"bad\.pth: damaged, or it holds more than tensors"):
        main(["imagebind", str(tmp_path / "bad.pth"), str(tmp_path / "out")])
    assert "run" not in capsys.readouterr().out.split()


@pytest.mark.parametrize("share", [0.0, 0.999])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_truncated_file_is_refused(state, file, tmp_path, suffix, share):
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    shutil.copy(file, whole) if suffix == "pth" else save_file(state, whole)
    cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    with pytest.raises(ValueError, match=rf"cut\.{suffix}: ") as refused:
        main(["imagebind", str(cut), str(tmp_path / "out")])
    assert "Get the" in str(refused.value)


def test_a_file_in_torchs_old_format_is_told_how_to_become_a_new_one(state, tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"old\.pth: in torch's format before 1\.6.*torch\.save"):
        main(["imagebind", str(tmp_path / "old.pth"), str(tmp_path / "out")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["num_heads.audio=3"], r"num_heads\.audio=3 does not divide the width 8.*pass num_heads\.audio=N"),
        (["num_heads.text=5"], r"num_heads\.text=5 does not divide the width 8"),
        (["num_heads.audio=two"], "give a whole number"),
        (["num_heads.smell=2"], r"num_heads\.smell: no such option"),
        (["half=maybe"], "give true or false"),
        (["tokenizer=/gone"], r"tokenizer=/gone can't be loaded"),
        (["fast"], "give options as KEY=VALUE"),
    ],
)
def test_options_that_can_not_be_are_refused(file, tmp_path, options, message):
    given = [word for word in imagebind.OPTIONS if word.split("=")[0] not in read_keys(options)]
    with pytest.raises(ValueError, match=message):
        main(["imagebind", str(file), str(tmp_path / "out"), *given, *options])


def read_keys(options):
    return [word.split("=")[0] for word in options]


def test_options_are_pairs():
    assert read_options(["a=b=c"]) == {"a": "b=c"}


def test_a_folder_that_holds_something_is_left_alone(file, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is there already"):
        main(["imagebind", str(file), str(tmp_path)])


def test_without_open_clip_the_message_names_the_remedies(file, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"bindspace\[open_clip\].*tokenizer=FOLDER"):
        main(["imagebind", str(file), str(tmp_path / "out"), *imagebind.OPTIONS])


def test_help_names_the_options(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "num_heads.audio" in capsys.readouterr().out


# The outputs of the authors' own code


@pytest.fixture(scope="module")
def published(golden, tmp_path_factory):
    out = tmp_path_factory.mktemp("golden") / "imagebind"
    main(
        [
            "imagebind",
            str(golden / "imagebind/imagebind_small.safetensors"),
            str(out),
            *(f"{o.split('=')[0]}=4" for o in imagebind.OPTIONS),
        ]
    )
    return Binder.load(out)


@pytest.fixture(scope="module")
def vectors(golden):
    with np.load(golden / "imagebind/golden.npz") as arrays:
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


TEXTS = ["a dog barks", "rain on a window", "The quick brown fox jumps over 13 lazy dogs"]


@pytest.mark.parametrize("modality", [*INPUTS, "image", "text"])
def test_vectors_are_those_of_the_authors_code(published, vectors, modality):
    name = "vision" if modality == "image" else modality
    key = {"image": "pixel_values", "text": "input_ids"}.get(modality)
    inputs = vectors[f"in_{name}"]
    with torch.no_grad():
        z = published.encode(modality, {key: inputs} if key else inputs)
    assert (z - vectors[f"out_{name}"]).abs().max() < 1e-5


def test_texts_have_the_token_ids_of_the_authors_tokenizer(published, vectors):
    tokens = published.anchor.text_transform.collate(TEXTS)
    assert torch.equal(tokens["input_ids"] * tokens["attention_mask"], vectors["in_text"])
    assert (published.embed("text", TEXTS) - vectors["out_text"]).abs().max() < 1e-5


def test_a_sound_file_is_read_as_the_authors_loader_reads_it(published, vectors, golden):
    sound = golden / "imagebind/sound_16k.wav"
    clips = torch.stack(published.transforms["audio"](Clip(Path(sound)), None))
    assert (clips - vectors["in_audio_file_mel"][0]).abs().max() < 1e-2  # of bands without energy
    assert (clips - vectors["in_audio_file_mel"][0]).abs().mean() < 1e-5
    assert (published.embed("audio", [sound]) - vectors["out_audio_file"]).abs().max() < 1e-4
