"""What the feature cache knows a frozen encoder by, and batches that hold its features."""

import copy
import pickle
from dataclasses import replace

import pytest
import torch
from support import pretrained, tiny
from support.batches import make_batch

from bind.model.binder import Binder
from bind.model.frozen import frozen_encoder_of, frozen_encoders


@pytest.fixture
def config(anchor_folder):
    config = tiny.binder_config(anchor_folder)
    config["encoder"]["imu"] |= {"train": "head", "lora": {"r": 4}}
    return copy.deepcopy(config)


def make(config):
    torch.manual_seed(0)
    return Binder.from_config(config)


@pytest.mark.slow
def test_encoders_of_which_something_trains_are_not_among_them(config):
    [imu] = frozen_encoders(make(config))
    assert (imu.modalities, imu.dim, imu.name) == (("imu",), make(config).encoders["imu"].num_features, "ImuCNN")
    config["encoder"]["imu"]["train"] = "last_1"
    assert frozen_encoders(make(config)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        (lambda config: config["encoder"]["imu"].update(lora={"r": 8}), False),
        (lambda config: config["head"].update(dropout=0.5), False),
        (lambda config: config["encoder"]["depth"].update(width=16), True),  # other random weights for all that follow
        (lambda config: config["encoder"]["imu"].update(channel_scales=[2.0] * 6), True),
        (lambda config: config["transform"]["imu"].update(window_seconds=0.5), True),
    ],
)
def test_the_fingerprint_is_of_what_decides_the_features(config, change, is_another):
    config["modalities"] = ["depth", "imu"]
    before = frozen_encoders(make(config))[0].fingerprint
    assert frozen_encoders(make(config))[0].fingerprint == before
    change(config)
    assert (frozen_encoders(make(config))[0].fingerprint != before) == is_another


@pytest.mark.slow
def test_one_weight_or_another_version_is_another_fingerprint(config, monkeypatch):
    binder = make(config)
    before = frozen_encoders(binder)[0].fingerprint
    monkeypatch.setattr("bind.model.frozen.__version__", "0.0.0")
    assert frozen_encoders(binder)[0].fingerprint != before
    monkeypatch.undo()
    with torch.no_grad():
        next(binder.encoders["imu"].parameters()).flatten()[0] += 1e-3
    assert frozen_encoders(binder)[0].fingerprint != before


@pytest.mark.slow
def test_a_batch_of_features_is_embedded_as_one_of_inputs(config):
    binder = make(config).train()
    batch = make_batch(binder)
    [imu] = frozen_encoders(binder)
    features = imu.embed("imu", batch.inputs["imu"])
    others = {m: x for m, x in batch.inputs.items() if m != "imu"}
    cached = replace(batch, inputs=others, cached={**batch.cached, "imu": features})
    binder.encoders["imu"].register_forward_hook(lambda *_: pytest.fail("the encoder ran"))
    z = binder(cached).z["imu"]
    binder.encoders["imu"]._forward_hooks.clear()
    assert torch.equal(z, binder(batch).z["imu"])
    assert z.requires_grad
    clips = {"imu": torch.tensor([2, 1])}
    rows = {**batch.rows, "imu": torch.tensor([0, 2])}
    by_features, by_inputs = (binder(replace(b, num_clips=clips, rows=rows)).z["imu"] for b in (cached, batch))
    assert torch.equal(by_features, by_inputs)
    assert len(by_features) == 2


@pytest.mark.slow
@pytest.mark.parametrize("family", ["speech", "tower"])
def test_it_is_sent_to_other_machines_as_it_is(config, tmp_path, family):
    options = {"_target_": "bind.encoders.pretrained.anchor_tower.MapTower", "size_px": 64}
    if family == "speech":  # whose convolution over positions has a weight that is computed of two others
        folder = pretrained.write_speech(tmp_path)
        options = {"_target_": "bind.encoders.pretrained.wav2vec2.Wav2Vec2AudioEncoder", "pretrained": folder}
    config["encoder"]["depth"] = options | {"train": "head", "head": {"norm": False}}
    config["modalities"] = ["depth"]
    frozen = frozen_encoder_of(config, "depth", make(config).anchor)
    sent = pickle.loads(pickle.dumps(frozen))
    x = pretrained.CASES["wav2vec2"].inputs(folder) if family == "speech" else torch.randn(2, 1, 64, 64)
    assert torch.equal(sent.embed("depth", x), frozen.embed("depth", x))
    assert sent.fingerprint == frozen.fingerprint
    assert not sent.encoder.train().training


@pytest.mark.slow
@pytest.mark.parametrize("tower", [True, False])
def test_an_encoder_alone_is_known_as_within_a_binder(config, anchor_folder, tmp_path, tower):
    family = "bind.encoders.pretrained"
    options = {"_target_": f"{family}.anchor_tower.MapTower", "size_px": 64, "head": {"norm": False}}
    if not tower:
        folder = pretrained.write(pretrained.dinov2, tmp_path / "files")
        options = {"_target_": f"{family}.vision.VisionEncoder", "pretrained": folder}
    config["encoder"]["depth"] = options | {"train": "head"}
    config["modalities"] = ["depth"]
    binder = make(config)
    [within] = frozen_encoders(binder)
    alone = frozen_encoder_of(config, "depth", binder.anchor)
    assert alone.fingerprint == within.fingerprint
