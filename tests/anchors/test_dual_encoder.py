import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support import runs, tiny
from transformers import AutoTokenizer, BertConfig, BertModel, Siglip2ImageProcessorPil

from bind.anchors.dual_encoder import DualEncoder, PretrainedAnchor
from bind.anchors.scratch import byte_level_tokenizer
from bind.runs.jobs import train

RNG = np.random.default_rng(0)
PICTURES = [Image.fromarray(RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)) for _ in range(3)]
TEXTS = ["a red circle that rests", "a blue square", "a dog"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """family → the folder of its anchor, written once."""
    written = {}

    def folder(family):
        if family not in written:
            written[family] = tiny.write_anchor(tmp_path_factory.mktemp(family), family)
        return written[family]

    return folder


@pytest.fixture(params=[f if f == "clip" else pytest.param(f, marks=pytest.mark.slow) for f in tiny.FAMILIES])
def folder(request, folders):
    return folders(request.param)


def embed(anchor, modality, values):
    return anchor.embed(modality, anchor.transforms[modality].collate(values))


VALUES = {"image": PICTURES, "text": TEXTS}


@pytest.mark.slow
def test_every_family_gives_unit_vectors_of_one_space(folder):
    anchor = PretrainedAnchor(str(folder))
    assert anchor.dim == tiny.DIM
    for modality, values in VALUES.items():
        z = embed(anchor, modality, values)
        assert z.shape == (3, tiny.DIM)
        assert z.dtype == torch.float32
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(3))
        assert torch.pdist(z).min() > 1e-3


@pytest.mark.slow
def test_a_frozen_anchor_stays_in_eval_mode_and_out_of_the_graph(folder):
    anchor = PretrainedAnchor(str(folder))
    torch.nn.Sequential(anchor).train()
    assert not any(module.training for module in anchor.model.modules())
    assert not any(parameter.requires_grad for parameter in anchor.parameters())
    for modality, values in VALUES.items():
        assert not embed(anchor, modality, values).requires_grad


@pytest.mark.slow
@pytest.mark.parametrize("opened", ["image", "text"])
def test_only_the_opened_tower_trains(folder, opened):
    anchor = PretrainedAnchor(str(folder), train=[opened])
    closed = {"image": "text", "text": "image"}[opened]
    assert embed(anchor, opened, VALUES[opened]).requires_grad
    assert not embed(anchor, closed, VALUES[closed]).requires_grad

    embed(anchor, opened, VALUES[opened]).sum().backward()
    names = {name for name, parameter in anchor.model.named_parameters() if parameter.requires_grad}
    sides = {"image": ("vision", "visual"), "text": ("text",)}
    assert names
    assert all(name.startswith(sides[opened]) for name in names)
    assert all(not name.startswith(sides[opened]) for name, _ in anchor.model.named_parameters() if name not in names)

    anchor.train()
    training = {name.split(".")[0] for name, module in anchor.model.named_modules() if module.training}
    assert training
    assert all(name.startswith(sides[opened]) for name in training)
    anchor.eval()
    assert not any(module.training for module in anchor.modules())


@pytest.mark.slow
def test_the_last_word_of_a_text_counts(folder):
    anchor = PretrainedAnchor(str(folder))
    z = embed(anchor, "text", ["a red circle that rests", "a red circle that spins", "a red circle that rests"])
    assert (z[0] - z[1]).abs().max() > 1e-3
    torch.testing.assert_close(z[0], z[2])


@pytest.mark.slow
def test_an_embedding_does_not_depend_on_its_neighbours(folder):
    anchor = PretrainedAnchor(str(folder))
    for modality, values in VALUES.items():
        alone = torch.cat([embed(anchor, modality, [value]) for value in values])
        torch.testing.assert_close(embed(anchor, modality, values), alone, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_texts_longer_than_the_tower_are_cut(folder):
    z = embed(PretrainedAnchor(str(folder)), "text", ["a dog " * 50])
    assert z.isfinite().all()


@pytest.mark.slow
def test_the_fingerprint_is_stable_and_follows_weights_and_preprocessing(folder, tmp_path):
    anchor = PretrainedAnchor(str(folder))
    fingerprint = anchor.fingerprint
    anchor.tokenizer(["another call"], truncation=True, padding=True, max_length=5)
    assert anchor.fingerprint == fingerprint
    assert PretrainedAnchor(str(folder)).fingerprint == fingerprint
    assert PretrainedAnchor(str(shutil.copytree(folder, tmp_path / "moved"))).fingerprint == fingerprint
    assert PretrainedAnchor(str(folder), max_text_tokens=10).fingerprint != fingerprint

    other = shutil.copytree(folder, tmp_path / "weights")
    weights = load_file(other / "model.safetensors")
    name = next(name for name in weights if name.startswith("text_model") and weights[name].ndim == 2)
    weights[name][0, 0] += 1
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    assert PretrainedAnchor(str(other)).fingerprint != fingerprint

    other = shutil.copytree(folder, tmp_path / "preprocessing")
    described = json.loads((other / "preprocessor_config.json").read_text())
    described["image_mean"] = [0.1, 0.2, 0.3]
    (other / "preprocessor_config.json").write_text(json.dumps(described))
    assert PretrainedAnchor(str(other)).fingerprint != fingerprint


@pytest.mark.slow
def test_saving_keeps_the_vectors_to_half_precision_and_saving_again_changes_nothing(folder, tmp_path):
    anchor = PretrainedAnchor(str(folder))
    before = {modality: embed(anchor, modality, values) for modality, values in VALUES.items()}
    fingerprint = anchor.fingerprint
    anchor.save(tmp_path / "once")
    assert anchor.fingerprint == fingerprint
    saved = PretrainedAnchor(str(tmp_path / "once"))
    for modality, values in VALUES.items():
        z = embed(saved, modality, values)
        assert z.dtype == torch.float32
        torch.testing.assert_close(z, before[modality], atol=0.02, rtol=0)
    saved.save(tmp_path / "twice")
    assert PretrainedAnchor(str(tmp_path / "twice")).fingerprint == saved.fingerprint


@pytest.mark.slow
def test_an_image_tower_for_any_resolution_takes_what_its_processor_gives():
    tokenizer = byte_level_tokenizer(tiny.CORPUS, 300, tiny.NUM_TEXT_TOKENS)
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=4)
    anchor = DualEncoder("naflex", tiny.siglip2(tokenizer), tokenizer, processor)
    for modality, values in VALUES.items():
        z = embed(anchor, modality, values)
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(3))
        assert not z.requires_grad


@pytest.mark.slow
def test_a_tokenizer_that_gives_no_mask_is_fine(folders, tmp_path):
    folder = shutil.copytree(folders("siglip"), tmp_path / "siglip")
    AutoTokenizer.from_pretrained(folder, model_input_names=["input_ids"]).save_pretrained(folder)
    anchor = PretrainedAnchor(str(folder))
    assert list(anchor.transforms["text"].collate(["a dog"])) == ["input_ids"]
    assert embed(anchor, "text", TEXTS).shape == (3, tiny.DIM)


@pytest.mark.slow
def test_an_id_that_can_not_be_had_says_how_to_pass_a_folder(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"(?s)anchor\.pretrained=no-one/nothing .*anchor\.pretrained=/path/to/folder"):
        PretrainedAnchor("no-one/nothing")


def test_the_hub_gets_one_request_before_anything_is_loaded(monkeypatch):
    requests = []

    def no_network(self, repo_id, **_):
        requests.append(repo_id)
        raise ConnectionError("Name or service not known")

    def no_request(*_, **__):
        raise AssertionError("a second request went out")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_network)
    monkeypatch.setattr("huggingface_hub.utils._http.http_backoff", no_request)
    with pytest.raises(ValueError, match="Name or service not known"):
        PretrainedAnchor("no-one/nothing")
    assert requests == ["no-one/nothing"]


@pytest.mark.slow
def test_a_folder_without_a_model_is_refused(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"(?s)empty could not be loaded.*config\.json, model\.safetensors"):
        PretrainedAnchor(str(tmp_path / "empty"))
    folder = shutil.copytree(folders("clip"), tmp_path / "no_weights")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"no_weights could not be loaded.*model\.safetensors"):
        PretrainedAnchor(str(folder))
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="no_weights could not be loaded"):
        PretrainedAnchor(str(folder))


@pytest.mark.slow
def test_pickled_weights_are_not_read(folders, tmp_path, capsys):
    class Command:
        def __reduce__(self):
            return print, ("this ran",)

    folder = shutil.copytree(folders("clip"), tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Command()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pickle \(\.bin\).*save_pretrained"):
        PretrainedAnchor(str(folder))
    assert "this ran" not in capsys.readouterr().out


def test_an_adapter_leads_to_no_other_model(folders, tmp_path):
    folder = shutil.copytree(folders("clip"), tmp_path / "adapter")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/etc", "peft_type": "LORA"}')
    with pytest.raises(ValueError, match="adapter of another model"):
        PretrainedAnchor(str(folder))


def test_code_of_a_model_is_neither_run_nor_advised(folders, tmp_path):
    folder = shutil.copytree(folders("clip"), tmp_path / "code")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit")
    with pytest.raises(ValueError, match="could not be loaded") as refused:
        PretrainedAnchor(str(folder))
    assert "trust_remote_code" not in str(refused.value)


@pytest.mark.slow
def test_weights_that_would_be_random_are_refused(folder, tmp_path):
    folder = shutil.copytree(folder, tmp_path / "partial")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("layers.1.mlp.fc1.weight") or "layer.1.intermediate" in name)
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 of its .* weights"):
        PretrainedAnchor(str(folder))


@pytest.mark.slow
def test_a_model_without_two_towers_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders("clip"), tmp_path / "bert")
    BertModel(BertConfig(**tiny.BLOCKS, vocab_size=300)).save_pretrained(folder)
    with pytest.raises(ValueError, match="family 'bert', and this is anchor=clip: it has no two towers"):
        PretrainedAnchor(str(folder))


@pytest.mark.slow
def test_an_unknown_tower_is_refused(folders):
    with pytest.raises(ValueError, match=r"anchor\.train=\['audio'\]"):
        PretrainedAnchor(str(folders("clip")), train=["audio"])


@pytest.fixture
def num_hashed(monkeypatch):
    """How often the weights of any anchor have been hashed."""
    hashed, compute = [], DualEncoder._hash
    monkeypatch.setattr(DualEncoder, "_hash", lambda anchor: hashed.append(anchor.name) or compute(anchor))
    return lambda: len(hashed)


@pytest.mark.slow
def test_weights_are_hashed_again_only_where_they_were_written(folder, num_hashed):
    anchor = PretrainedAnchor(str(folder))
    fingerprint = anchor.fingerprint
    assert (anchor.eval().to("cpu").fingerprint, num_hashed()) == (fingerprint, 1)
    with torch.no_grad():
        next(anchor.model.parameters()).add_(1.0)
    changed = anchor.fingerprint
    assert (changed != fingerprint, num_hashed()) == (True, 2)
    anchor.model.load_state_dict({name: x.clone() for name, x in anchor.model.state_dict().items()})
    assert (anchor.fingerprint, num_hashed()) == (changed, 3)
    assert anchor.half().fingerprint != changed


@pytest.mark.slow
def test_weights_made_in_inference_mode_have_a_fingerprint(folder):
    with torch.inference_mode():
        inside = PretrainedAnchor(str(folder)).fingerprint
    assert inside == PretrainedAnchor(str(folder)).fingerprint


@pytest.mark.slow
def test_a_run_hashes_its_anchor_once(num_hashed, tmp_path, no_pictures):
    train(runs.config("debug=tiny", **runs.QUICK | {"run_dir": str(tmp_path), "callbacks.last.every_n_train_steps": 1}))
    assert num_hashed() == 1
