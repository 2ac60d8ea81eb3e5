"""Every encoder config names a trunk and only arguments that it has."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from support.runs import config

from bind.build import build
from bind.encoders.audio_vit import AudioViT
from bind.encoders.imu_transformer import ImuTransformer
from bind.types import SensorRecording, Waveform

CONFIGS = Path(__file__).parents[2] / "configs" / "encoder"
WINDOWS = {
    "audio": (16000,),
    "imu": (6, 200),
    "depth": (1, 64, 64),
    "thermal": (1, 64, 64),
    "video": (8, 3, 64, 64),
}


PATHS = sorted(
    path
    for path in CONFIGS.glob("*/*.yaml")
    if path.stem not in ("vectors", "anchor_tower", "languagebind") and "\npretrained: " not in path.read_text()
)
"""Those with weights from elsewhere have tests of their own."""


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_the_config_makes_an_encoder_that_takes_the_toy_windows(path):
    windows = {
        "audio": {"sample_rate_hz": 16000, "window_seconds": 1.0},
        "imu": {"sample_rate_hz": 100, "window_seconds": 2.0, "patch_seconds": 0.2, "num_coefficients": 16},
        "depth": {"size_px": 64},
        "thermal": {"size_px": 64},
    }
    config = OmegaConf.merge({"transform": windows}, {"encoder": OmegaConf.load(path)})
    with torch.random.fork_rng():
        of_binder = [config.encoder.pop(name) for name in ("share", "train", "lora")]
        assert of_binder[:2] == [None, "full"], "they are for the Binder to see"
        for not_its_own in ("defaults", "head"):
            config.encoder.pop(not_its_own, None)
        encoder = instantiate(config.encoder).eval()
    x = torch.zeros(1, *WINDOWS[path.parent.name])
    if path.stem == "channels":
        transform = build(OmegaConf.to_container(OmegaConf.load(CONFIGS.parent / "transform/imu/channels.yaml")))
        values = np.random.default_rng(0).standard_normal((200, 1)).astype(np.float32)
        x = transform.collate([transform(SensorRecording(values, 100.0, ("acc_x",), ("g",)), None)])
    with torch.no_grad():
        assert encoder(x).shape == (1, encoder.num_features)


@pytest.mark.slow
@pytest.mark.parametrize("window_seconds", [0.2, 0.64, 3.0, 5.6])
@pytest.mark.parametrize("modality", ["audio", "imu"])
def test_the_window_alone_decides_how_long_a_clip_a_transformer_takes(modality, window_seconds):
    changed = {f"transform.{modality}.window_seconds": window_seconds, "transform.imu.sample_rate_hz": 200}
    options = OmegaConf.to_container(config(f"encoder/{modality}=transformer", **changed), resolve=True)
    for name in ("share", "train", "lora"):
        options["encoder"][modality].pop(name)
    encoder = build(options["encoder"][modality], "encoder").eval()
    window = build(options["transform"][modality], "transform")
    rng = np.random.default_rng(0)
    if modality == "audio":
        value = Waveform(rng.standard_normal(200_000).astype(np.float32) * 0.1, 16_000)
    else:
        names = (tuple(options["transform"]["imu"][name]) for name in ("channels", "units"))
        value = SensorRecording(rng.standard_normal((2000, 6)).astype(np.float32), 200.0, *names)
    with torch.no_grad():
        assert encoder(window(value, None)[None]).shape == (1, encoder.num_features)


@pytest.mark.parametrize(
    ("encoder", "options", "same"),
    [
        (AudioViT, {"num_mels": 16}, ({"num_frames": 204}, {"window_seconds": 2.0})),
        (AudioViT, {"num_mels": 16}, ({"num_frames": 98}, {"window_seconds": 1.0})),
        (ImuTransformer, {}, ({"num_steps": 200}, {"window_seconds": 2.0, "sample_rate_hz": 100.0})),
    ],
)
def test_binders_that_were_saved_with_a_number_of_frames_have_the_same_weights(encoder, options, same):
    with torch.device("meta"):
        saved, now = (encoder(width=8, num_layers=1, num_heads=1, **options, **length) for length in same)
    assert {name: x.shape for name, x in saved.state_dict().items()} == {
        name: x.shape for name, x in now.state_dict().items()
    }


def test_a_window_that_pieces_do_not_fill_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match=r"125 steps, which kernel=8 does not divide: set window_seconds=2.4"):
        ImuTransformer(sample_rate_hz=50, window_seconds=2.5)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["audio", "depth", "thermal", "imu"])
def test_the_published_encoders_come_with_their_transform_and_head(modality):
    made = config(f"encoder/{modality}=imagebind_huge")
    transform = {"audio": "imagebind_exact", "depth": "kinect", "thermal": "imagebind", "imu": "imagebind"}[modality]
    expected = OmegaConf.load(CONFIGS.parent / "transform" / modality / f"{transform}.yaml")
    assert made.transform[modality] == expected
    assert made.encoder[modality].head == {"norm": False}
    other = config(f"encoder/{modality}=imagebind_huge", f"transform/{modality}=default")
    assert other.transform[modality] == OmegaConf.load(CONFIGS.parent / "transform" / modality / "default.yaml")
