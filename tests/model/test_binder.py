import json

import numpy as np
import pytest
import torch
from PIL import Image
from support import tiny
from support.batches import CHANNELS, RECORDINGS, RNG, depth_map, make_batch

from bind.model.binder import WEIGHTS_NAME, Binder
from bind.model.places import CONFIG_NAME


@pytest.mark.slow
def test_files_and_values_become_unit_vectors(config, tmp_path):
    binder = Binder.from_config(config)
    pixels = RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    lines = [",".join(("time_seconds", *CHANNELS))]
    lines += [",".join(map(str, (i / 50, *row))) for i, row in enumerate(RECORDINGS[0].values)]
    (tmp_path / "motion.csv").write_text("\n".join(lines))

    from_files = binder.embed("image", [tmp_path / "picture.png", str(tmp_path / "picture.png")])
    assert torch.equal(from_files, binder.embed("image", [pixels, pixels]))
    texts = binder.embed("text", ["a dog", "a red circle"])
    motion = binder.embed("imu", RECORDINGS)
    depth = binder.embed("depth", [depth_map(0), depth_map(1)])
    for z, num_values in ((from_files, 2), (texts, 2), (motion, 5), (depth, 2)):
        assert z.shape == (num_values, binder.dim)
        assert not z.requires_grad
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(num_values))
    assert binder.embed("text", []).shape == (0, binder.dim)


@pytest.mark.slow
def test_embedding_is_deterministic_in_any_batch_size_and_leaves_the_mode(config):
    binder = Binder.from_config(config).train()
    one, two = binder.embed("imu", RECORDINGS), binder.embed("imu", RECORDINGS, batch_size=2)
    torch.testing.assert_close(one, two)
    assert binder.training
    with pytest.raises(ValueError, match="nowhere"):
        binder.embed("image", ["nowhere.png"])
    assert binder.training
    binder.eval().embed("imu", RECORDINGS[:1])
    assert not binder.training


@pytest.mark.slow
def test_what_can_not_be_embedded_is_refused(config):
    binder = Binder.from_config(config)
    with pytest.raises(ValueError, match=r"no encoder for 'audio'.*'image', 'text', 'video', 'imu', 'depth'"):
        binder.embed("audio", ["a.wav"])
    with pytest.raises(ValueError, match=r"pass a list.*\['a dog'\]"):
        binder.embed("text", "a dog")


@pytest.mark.slow
def test_a_batch_is_embedded_with_its_missing_modalities(config):
    binder = Binder.from_config(config)
    embeddings = binder(make_batch(binder, depth=()))
    assert set(embeddings.z) == {"image", "imu", "depth"}
    assert embeddings.z["imu"].shape == (3, tiny.DIM)
    assert embeddings.rows["imu"].tolist() == [0, 2, 3]
    assert embeddings.z["depth"].shape == (0, tiny.DIM)
    assert embeddings.z["depth"].requires_grad
    assert embeddings.rows["depth"].tolist() == []
    assert not embeddings.z["image"].requires_grad
    empty = binder(make_batch(binder, carried=("image", "text")))
    assert set(empty.z) == {"image", "text"}
    assert not empty.z["text"].requires_grad


@pytest.mark.slow
def test_late_fusion_has_no_vector(config):
    late = {"_target_": "bind.fusion.late.LateFusion", "inputs": ["imu", "depth"]}
    binder = Binder.from_config({**config, "fusion": late})
    assert set(binder(make_batch(binder)).z) == {"image", "imu", "depth"}


@pytest.mark.slow
@pytest.mark.parametrize("part", ["anchor", "head"])
def test_a_config_that_names_foreign_classes_is_refused(config, tmp_path, part):
    folder = Binder.from_config(config).save(tmp_path)
    described = json.loads((folder / CONFIG_NAME).read_text())
    described[part] = {"_target_": "subprocess.Popen", "args": ["touch", str(tmp_path / "owned")]}
    (folder / CONFIG_NAME).write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"subprocess\.Popen is outside the trusted packages"):
        Binder.load(folder)
    assert not (tmp_path / "owned").exists()


@pytest.mark.slow
def test_another_anchor_is_refused(config, tmp_path):
    folder = Binder.from_config(config).save(tmp_path / "binder")
    described = json.loads((folder / CONFIG_NAME).read_text())
    described["anchor"]["pretrained"] = str(tiny.write_anchor(tmp_path / "other", seed=1))
    (folder / CONFIG_NAME).write_text(json.dumps(described))
    with pytest.raises(ValueError, match="bound to an anchor with fingerprint"):
        Binder.load(folder)


@pytest.mark.slow
def test_what_is_no_binder_is_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=rf"{tmp_path.name} holds no {CONFIG_NAME}"):
        Binder.load(tmp_path)
    with pytest.raises(ValueError, match="no-one/nothing: no such folder"):
        Binder.load("no-one/nothing")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(ValueError, match=r"holds no binder\.json"):
        Binder.load("someone/something_else")
    folder = Binder.from_config(config).save(tmp_path / "binder")
    (folder / WEIGHTS_NAME).unlink()
    with pytest.raises(ValueError, match=WEIGHTS_NAME):
        Binder.load(folder)
    described = json.loads((folder / CONFIG_NAME).read_text())
    (folder / CONFIG_NAME).write_text(json.dumps({**described, "version": 99}))
    with pytest.raises(ValueError, match="version 99"):
        Binder.load(folder)


@pytest.mark.parametrize("name", ["gone", "./me/binder", "~/gone", "/gone/run", "runs/mine", "here/mine", "a/b/c"])
def test_what_looks_like_a_path_makes_no_request_to_the_hub(name, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(ValueError, match=f"{name}: no such folder; pass a run directory, or"):
        Binder.load(name)


@pytest.mark.slow
def test_weights_of_another_architecture_are_refused(config):
    binder = Binder.from_config(config)
    state = binder.own_state_dict()
    name = next(name for name in state if name.startswith("heads.imu") and state[name].ndim == 2)
    with pytest.raises(ValueError, match=r"missing.*heads\.imu"):
        binder.load_own_state_dict({key: x for key, x in state.items() if key != name})
    with pytest.raises(ValueError, match=r"unexpected.*stray"):
        binder.load_own_state_dict({**state, "stray": torch.zeros(1)})
    with pytest.raises(ValueError, match="another architecture"):
        binder.load_own_state_dict({**state, name: state[name][:, :-1]})
