import json
import sys

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support import runs, tiny

from bind.anchors.open_clip import OpenClipAnchor
from bind.model.binder import Binder
from bind.runs.jobs import train

RNG = np.random.default_rng(0)
PICTURES = [Image.fromarray(RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)) for _ in range(3)]
TEXTS = ["a red circle, that rests", "A blue  square", "a dog"]


@pytest.fixture(scope="module", params=tiny.OPEN_CLIP)
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


@pytest.mark.slow
def test_vectors_are_those_of_the_library(folder):
    anchor = OpenClipAnchor(f"local-dir:{folder}")
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
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
    changed = [
        config | {"preprocess_cfg": config["preprocess_cfg"] | {"mean": [0.1, 0.2, 0.3]}},
        config
        | {
            "model_cfg": config["model_cfg"]
            | {"text_cfg": config["model_cfg"]["text_cfg"] | {"tokenizer_kwargs": {"clean": "whitespace"}}}
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


def test_a_folder_of_another_family_and_one_that_is_not_there_are_refused(tmp_path, monkeypatch):
    tiny.write_anchor(tmp_path)
    with pytest.raises(ValueError, match="choose anchor=clip"):
        OpenClipAnchor(str(tmp_path))
    with pytest.raises(ValueError, match="no such folder"):
        OpenClipAnchor(f"local-dir:{tmp_path}/nothing")
    monkeypatch.setattr("bind.encoders.pretrained.sources.find_hub_error", lambda name: OSError("no route"))
    with pytest.raises(ValueError, match=r"reachable on the hub \(no route\)"):
        OpenClipAnchor("hf-hub:no-one/nothing")


def test_the_extra_is_named_where_it_is_missing(monkeypatch, clip_folder):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ValueError, match=r"bindspace\[open_clip\]"):
        OpenClipAnchor(str(clip_folder))
