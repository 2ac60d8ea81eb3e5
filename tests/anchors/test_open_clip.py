import json
import shutil
import sys

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support import runs, tiny

from bind.anchors.open_clip import OpenClipAnchor
from bind.anchors.open_clip_files import HUB_NAME, TEXT_CONFIG_NAME, find_hub_id
from bind.model.binder import Binder
from bind.runs.jobs import train

RNG = np.random.default_rng(0)
PICTURES = [Image.fromarray(RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)) for _ in range(3)]
TEXTS = ["a red circle, that rests", "A blue  square", "a dog"]


@pytest.fixture(scope="module", params=[name for name in tiny.OPEN_CLIP if name != "nllb"])
def folder(request, tmp_path_factory):
    return tiny.write_open_clip(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return tiny.write_open_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def copy(clip_folder, tmp_path):
    """A copy of the CLIP's folder to spoil."""
    for file in clip_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def embed(anchor, modality, values):
    return anchor.embed(modality, anchor.transforms[modality].collate(values))


def by_the_library(folder):
    """As open_clip loads it, but that a text tower of transformers is named by its place and not by a hub id."""
    text, place = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"], {}
    if "hf_model_name" in text:
        there = folder / "by_the_library"
        there.mkdir()
        (there / "config.json").write_bytes((folder / TEXT_CONFIG_NAME).read_bytes())
        place = {"text_cfg": text | {"hf_model_name": str(there), "hf_model_pretrained": False}}
    try:
        return open_clip.create_model_and_transforms(f"local-dir:{folder}", **place)
    finally:
        shutil.rmtree(folder / "by_the_library", ignore_errors=True)


@pytest.mark.slow
def test_vectors_are_those_of_the_library(folder):
    anchor = OpenClipAnchor(f"local-dir:{folder}")
    model, _, preprocess = by_the_library(folder)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    with torch.no_grad():
        of_pictures = model.encode_image(torch.stack([preprocess(picture) for picture in PICTURES]), normalize=True)
        of_texts = model.encode_text(tokenizer(TEXTS), normalize=True)
    assert anchor.dim == of_pictures.shape[1] == tiny.DIM
    torch.testing.assert_close(embed(anchor, "image", PICTURES), of_pictures, atol=1e-5, rtol=0)
    torch.testing.assert_close(embed(anchor, "text", TEXTS), of_texts, atol=1e-5, rtol=0)
    assert torch.pdist(of_texts).min() > 1e-3
    for modality, values in {"image": PICTURES, "text": TEXTS}.items():
        alone = torch.cat([embed(anchor, modality, [value]) for value in values])
        torch.testing.assert_close(embed(anchor, modality, values), alone, atol=1e-5, rtol=0)
    anchor.train()
    assert not any(module.training for module in anchor.model.modules())
    assert not any(parameter.requires_grad for parameter in anchor.parameters())


@pytest.mark.slow
def test_texts_that_are_cut_are_named(folder):
    transform = OpenClipAnchor(str(folder)).transforms["text"]
    just, longer = "a " * 40, "a dog"
    lengths = [n for n in range(1, 40) if not transform.find_cut(["a " * n])]
    assert lengths == list(range(1, len(lengths) + 1)), "texts up to one length fit"
    assert transform.find_cut([just, longer]) == [just]
    fitting, cut = (transform.tokenize(["a " * n])["input_ids"] for n in (len(lengths), len(lengths) + 1))
    assert transform.tokenize(["a " * 40])["input_ids"].tolist() == cut.tolist()
    assert len(lengths) >= transform.max_tokens - 3
    assert fitting.shape == cut.shape == (1, 12)


@pytest.mark.slow
def test_the_fingerprint_follows_weights_preprocessing_and_tokenizer(folder, tmp_path):
    anchor = OpenClipAnchor(str(folder))
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert OpenClipAnchor(f"local-dir:{tmp_path}").fingerprint == anchor.fingerprint
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    clean = "whitespace" if "tokenizer_kwargs" in config["model_cfg"]["text_cfg"] else "canonicalize"
    changed = [
        config | {"preprocess_cfg": config["preprocess_cfg"] | {"mean": [0.1, 0.2, 0.3]}},
        config
        | {
            "model_cfg": config["model_cfg"]
            | {"text_cfg": config["model_cfg"]["text_cfg"] | {"tokenizer_kwargs": {"clean": clean}}}
        },
    ]
    found = {anchor.fingerprint}
    for other in changed:
        (tmp_path / "open_clip_config.json").write_text(json.dumps(other))
        found.add(OpenClipAnchor(str(tmp_path)).fingerprint)
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    weights = load_file(tmp_path / "open_clip_model.safetensors")
    next(x for x in weights.values() if x.ndim == 2)[0, 0] += 1
    save_file(weights, tmp_path / "open_clip_model.safetensors")
    found.add(OpenClipAnchor(str(tmp_path)).fingerprint)
    assert len(found) == 4


@pytest.mark.slow
def test_a_saved_binder_takes_the_model_along(folder, tmp_path):
    anchor = {"_target_": "bind.anchors.open_clip.OpenClipAnchor", "pretrained": f"local-dir:{folder}"}
    binder = Binder.from_config(tiny.binder_config(folder) | {"anchor": anchor}).eval()
    saved = binder.save(tmp_path / "saved")
    assert str(folder) not in (saved / "binder.json").read_text()
    described = json.loads((saved / "binder.json").read_text())
    assert described["anchor"]["pretrained"] == "./anchor"
    moved = saved.rename(tmp_path / "moved")
    loaded = Binder.load(moved)
    assert loaded.anchor.name == folder.name
    torch.testing.assert_close(loaded.embed("text", TEXTS), binder.embed("text", TEXTS), atol=0, rtol=0)
    again = Binder.load(loaded.save(tmp_path / "again"))
    assert again.anchor.fingerprint == binder.anchor.fingerprint


@pytest.fixture
def no_hub(monkeypatch):
    """The hub is not reachable, and the list of what was asked of it."""
    requests = []

    def find_hub_error(name):
        requests.append(name)
        return OSError("no route")

    monkeypatch.setattr("bind.encoders.pretrained.sources.find_hub_error", find_hub_error)
    monkeypatch.setattr("bind.anchors.open_clip_files.find_hub_error", find_hub_error)
    return requests


@pytest.mark.slow
@pytest.mark.parametrize("family", ["roberta", "nllb"])
def test_the_sizes_of_a_text_tower_are_in_the_folder_or_asked_of_the_hub(tmp_path, no_hub, family):
    folder = tiny.write_open_clip(tmp_path / "model", family)
    anchor = OpenClipAnchor(str(folder))
    assert no_hub == []
    model = by_the_library(folder)[0].eval()
    tokens_BL = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    expected = model.encode_text(tokens_BL, normalize=True)
    torch.testing.assert_close(embed(anchor, "text", TEXTS), expected, atol=1e-5, rtol=0)
    (folder / TEXT_CONFIG_NAME).rename(tmp_path / "kept.json")
    with pytest.raises(
        ValueError, match=rf"sizes of someone/{family}, .*\(no route\).*config\.json.*{TEXT_CONFIG_NAME}"
    ):
        OpenClipAnchor(str(folder))
    assert no_hub == [f"someone/{family}"]
    (tmp_path / "saved").mkdir()
    anchor.enclose(tmp_path / "saved")
    again = OpenClipAnchor(str(tmp_path / "saved"))
    assert torch.equal(embed(again, "text", TEXTS), embed(anchor, "text", TEXTS))
    assert again.fingerprint == anchor.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"model_type": "of_tomorrow"}, "'of_tomorrow', which this transformers does not know"),
        ({"model_type": "xlm-roberta", "hidden_size": "wide"}, "can't be read as that of a xlm-roberta"),
        ({"model_type": "xlm-roberta", "num_hidden_layers": 2, "hidden_size": 24}, "could not be loaded"),
        ({"model_type": "gpt2"}, "could not be loaded"),
        ([], "kept.json|text_model_config.json"),
    ],
)
def test_sizes_of_another_text_tower_are_refused(tmp_path, described, message):
    folder = tiny.write_open_clip(tmp_path, "roberta")
    (folder / TEXT_CONFIG_NAME).write_text(json.dumps(described))
    with pytest.raises(ValueError, match=message):
        OpenClipAnchor(str(folder))


@pytest.mark.slow
def test_code_that_the_sizes_of_a_text_tower_name_is_not_run(tmp_path):
    folder = tiny.write_open_clip(tmp_path, "roberta")
    before = OpenClipAnchor(str(folder)).fingerprint
    described = json.loads((folder / TEXT_CONFIG_NAME).read_text())
    named = {"auto_map": {"AutoModel": "code.Model", "AutoConfig": "code.Config"}}
    (folder / TEXT_CONFIG_NAME).write_text(json.dumps(described | named))
    (folder / "code.py").write_text("raise SystemExit('this ran')")
    assert OpenClipAnchor(str(folder)).fingerprint == before


def test_an_architecture_and_a_tag_are_the_hub_id_of_the_table(no_hub):
    with pytest.raises(ValueError, match=r"reachable on the hub \(no route\)"):
        OpenClipAnchor("ViT-B-32+laion2b_s34b_b79k")
    assert no_hub == ["laion/CLIP-ViT-B-32-laion2B-s34B-b79K"]
    names = [f"{architecture}+{tag}" for architecture, tag in open_clip.list_pretrained()]
    ids = {name: find_hub_id(name) for name in names if not name.startswith("ViTamin")}  # which are pickles
    assert all(HUB_NAME.fullmatch(name) and "/" in name for name in ids.values())
    assert ids["PE-Core-B-16+meta"] == "timm/PE-Core-B-16"
    assert len(ids) > 150


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-23+openai", r"no weights of ViT-B-23; it has .*ViT-B-32"),
        ("ViT-B-32+laion", r"ViT-B-32 has the tags openai, .*laion2b_s34b_b79k"),
        ("ViT-B-32+", r"ViT-B-32 has the tags openai, "),
        ("ViTamin-S+datacomp1b", r"a pickle, .*local-dir:FOLDER.*create_model\('ViTamin-S', pretrained='datacomp1b'"),
    ],
)
def test_names_that_are_in_no_table_and_pickles_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        OpenClipAnchor(name)


@pytest.mark.slow
def test_a_hub_id_is_saved_as_one(clip_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("bind.anchors.open_clip.locate_model", lambda place, files: clip_folder)
    anchor = {"_target_": "bind.anchors.open_clip.OpenClipAnchor", "pretrained": "hf-hub:someone/model"}
    saved = Binder.from_config(tiny.binder_config(clip_folder) | {"anchor": anchor}).save(tmp_path / "saved")
    assert json.loads((saved / "binder.json").read_text())["anchor"]["pretrained"] == "someone/model"
    assert not (saved / "anchor").exists()
    assert Binder.load(saved).anchor.dim == tiny.DIM


@pytest.mark.slow
def test_a_training_binds_to_a_local_folder(clip_folder, tmp_path):
    overrides = {"anchor.pretrained": f"local-dir:{clip_folder}", "run_dir": str(tmp_path), "trainer.max_steps": 2}
    train(runs.config("anchor=open_clip", "debug=tiny", **runs.QUICK | overrides))
    assert Binder.load(tmp_path).anchor.dim == tiny.DIM
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["retrieval"]["image_to_text"]["kind"] == "anchor"
    assert {"audio", "imu", "image"} <= set(metrics["zero_shot"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"vision_cfg": {"timm_model_name": "hf-hub:someone/model"}},
            "timm_model_name is 'hf-hub:someone/model', a place",
        ),
        ({"vision_cfg": {"timm_model_name": "../model"}}, "timm_model_name is '../model', a place"),
        ({"text_cfg": {"hf_model_name": "/etc"}}, "hf_model_name is '/etc', a place"),
        ({"text_cfg": {"tokenizer_kwargs": {"trust_remote_code": True}}}, "tokenizer_kwargs has"),
        ({"vision_cfg": {"width": 48}}, "could not be loaded"),
        ({"text_cfg": {"layers": 3}}, "could not be loaded"),
        ({"vision_cfg": {"width": 2**20, "layers": 2}}, "asks for tensors"),
    ],
)
def test_a_config_that_does_not_fit_or_names_places_is_one_message(copy, change, message):
    config = json.loads((copy / "open_clip_config.json").read_text())
    for part, options in change.items():
        config["model_cfg"][part] |= options
    (copy / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        OpenClipAnchor(str(copy))


@pytest.mark.slow
def test_weights_that_lack_a_key_or_are_a_pickle_are_refused(copy):
    path = copy / "open_clip_model.safetensors"
    weights = load_file(path)
    save_file({name: x for name, x in weights.items() if name != "ln_final.weight"}, path)
    with pytest.raises(ValueError, match=r"could not be loaded: .*\n"):
        OpenClipAnchor(str(copy))
    path.unlink()
    with pytest.raises(ValueError, match="has no weights"):
        OpenClipAnchor(str(copy))
    torch.save(weights, copy / "open_clip_pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pickle \(\.bin\).*save_file"):
        OpenClipAnchor(str(copy))


@pytest.mark.slow
def test_a_folder_of_another_family_and_one_that_is_not_there_are_refused(tmp_path, no_hub):
    tiny.write_anchor(tmp_path)
    with pytest.raises(ValueError, match="choose anchor=clip"):
        OpenClipAnchor(str(tmp_path))
    with pytest.raises(ValueError, match="no such folder"):
        OpenClipAnchor(f"local-dir:{tmp_path}/nothing")
    with pytest.raises(ValueError, match=r"reachable on the hub \(no route\)"):
        OpenClipAnchor("hf-hub:no-one/nothing")


def test_the_extra_is_named_where_it_is_missing(monkeypatch, clip_folder):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ValueError, match=r"bindspace\[open_clip\]"):
        OpenClipAnchor(str(clip_folder))
