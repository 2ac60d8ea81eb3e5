import json

import numpy as np
import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from support import runs, tiny

from bind.anchors.clap import ClapAnchor
from bind.anchors.dual_encoder import PretrainedAnchor
from bind.build import ANY_CLASS
from bind.model.binder import Binder
from bind.runs.jobs import train
from bind.runs.parts import active_pairs, binder_config
from bind.types import Waveform

RNG = np.random.default_rng(0)
RATE_HZ = 8000
TEXTS = ["a red circle that rests", "a blue square", "a dog"]


def sound(seconds, seed=0, rate_hz=RATE_HZ):
    rng = np.random.default_rng(seed)
    return Waveform((rng.standard_normal(int(seconds * rate_hz)) * 0.1).astype(np.float32), rate_hz)


@pytest.fixture(scope="module", params=["rand_trunc", "fusion"])
def folder(request, tmp_path_factory):
    return tiny.write_clap(tmp_path_factory.mktemp(request.param), truncation=request.param)


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory):
    return tiny.write_clap(tmp_path_factory.mktemp("clap"))


def embed(anchor, modality, values):
    transform = anchor.transforms[modality]
    return anchor.embed(modality, transform.collate([transform(value, None) for value in values]))


@pytest.mark.slow
def test_vectors_are_those_of_the_library(folder):
    anchor = ClapAnchor(str(folder))
    model = tf.ClapModel.from_pretrained(folder).eval()
    extractor, tokenizer = tf.ClapFeatureExtractor.from_pretrained(folder), tf.AutoTokenizer.from_pretrained(folder)
    sounds = [sound(0.3), sound(1.0, 1), sound(0.55, 2)]
    features = extractor([s.samples for s in sounds], sampling_rate=RATE_HZ, return_tensors="pt")
    with torch.no_grad():
        # The fusion variant marks one of a batch of short sounds as longer, by chance: here none is.
        of_sounds = model.get_audio_features(
            input_features=features["input_features"].float(), is_longer=torch.zeros(3, 1, dtype=torch.bool)
        ).pooler_output
        of_texts = model.get_text_features(**tokenizer(TEXTS, padding=True, return_tensors="pt")).pooler_output
    assert anchor.modalities == ("audio", "text")
    torch.testing.assert_close(embed(anchor, "audio", sounds), of_sounds, atol=1e-5, rtol=0)
    torch.testing.assert_close(embed(anchor, "text", TEXTS), of_texts, atol=1e-5, rtol=0)
    assert torch.pdist(of_sounds).min() > 1e-3
    assert torch.pdist(of_texts).min() > 1e-3


@pytest.mark.slow
def test_a_long_sound_is_the_mean_of_its_windows_each_time(folder):
    anchor = ClapAnchor(str(folder), num_clips=3)
    long = sound(2.5)
    starts = [0, 6000, 12000]
    windows = [Waveform(long.samples[start : start + RATE_HZ], RATE_HZ) for start in starts]
    mean = torch.nn.functional.normalize(embed(anchor, "audio", windows).mean(dim=0), dim=0)
    z = embed(anchor, "audio", [sound(0.4, 5), long, sound(0.9, 6)])
    torch.testing.assert_close(z[1], mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(embed(anchor, "audio", [long])[0], z[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(embed(anchor, "audio", [sound(0.4, 5)])[0], z[0], atol=1e-5, rtol=0)
    assert ClapAnchor(str(folder), num_clips=None).transforms["audio"](long).shape[0] == 3
    assert ClapAnchor(str(folder), num_clips=1).fingerprint != anchor.fingerprint


@pytest.mark.slow
def test_training_steps_change_nothing(plain_folder):
    anchor = ClapAnchor(str(plain_folder)).train()
    fingerprint, buffers = anchor.fingerprint, {name: x.clone() for name, x in anchor.named_buffers()}
    embed(anchor, "audio", [sound(0.5)])
    assert anchor.fingerprint == fingerprint
    assert all(torch.equal(x, buffers[name]) for name, x in anchor.named_buffers()), "statistics of a BatchNorm"


@pytest.mark.slow
def test_a_saved_binder_takes_the_model_along(plain_folder, tmp_path):
    anchor = {"_target_": "bind.anchors.clap.ClapAnchor", "pretrained": str(plain_folder)}
    binder = Binder.from_config(tiny.binder_config(plain_folder) | {"anchor": anchor}).eval()
    saved = binder.save(tmp_path / "saved").rename(tmp_path / "moved")
    assert str(plain_folder) not in (saved / "binder.json").read_text()
    loaded = Binder.load(saved)
    assert torch.equal(loaded.embed("audio", [sound(0.5)]), binder.embed("audio", [sound(0.5)]))


@pytest.mark.slow
def test_a_sensor_is_bound_to_sounds(plain_folder, tmp_path):
    overrides = {"anchor.pretrained": str(plain_folder), "run_dir": str(tmp_path), "modalities": ["imu"]}
    quick = {key: value for key, value in runs.QUICK.items() if "encoder.audio" not in key}
    train(runs.config("anchor=clap", "debug=tiny", **quick | overrides))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["retrieval"]["imu_to_audio"]["trained"]
    assert metrics["retrieval"]["audio_to_text"]["kind"] == "anchor"
    assert {"imu", "audio"} <= set(metrics["zero_shot"])
    assert not any("image" in key for key in metrics["retrieval"])


@pytest.mark.slow
def test_a_folder_of_another_family_or_with_other_weights_is_refused(plain_folder, tmp_path, caplog):
    with pytest.raises(ValueError, match="family 'clip', and this is anchor=clap: choose anchor=clip"):
        ClapAnchor(str(tiny.write_anchor(tmp_path / "clip")))
    with pytest.raises(ValueError, match="family 'clap', and this is anchor=clip: choose anchor=clap"):
        PretrainedAnchor(str(plain_folder))
    for file in plain_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    save_file(weights | {"other.weight": torch.ones(1)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    ClapAnchor(str(tmp_path))
    assert "holds 1 weights that its ClapModel has no use for: other.weight" in caplog.text
    name = "audio_projection.linear2.weight"
    save_file(weights | {name: torch.ones(3, 3)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"lacks 1 of its ClapModel's weights.*{name} of another shape"):
        ClapAnchor(str(tmp_path))
    weights.pop(name)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks 1 of its ClapModel's weights"):
        ClapAnchor(str(tmp_path))


@pytest.mark.slow
def test_pairs_that_leave_the_anchor_out_are_warned_of(plain_folder, caplog):
    changed = {"anchor.pretrained": str(plain_folder), "modalities": ["audio", "imu"]}
    config = runs.OmegaConf.to_container(runs.config("anchor=clap", **runs.QUICK | changed), resolve=True)
    binder = Binder.from_config(binder_config(config), trust=ANY_CLASS)
    assert [pair.name for pair in active_pairs(config, binder)] == ["imu-audio"]
    assert "no pair has a side of the anchor's own (text)" in caplog.text
