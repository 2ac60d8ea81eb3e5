"""Every encoder config names a trunk and only arguments that it has."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

CONFIGS = Path(__file__).parents[2] / "configs" / "encoder"
WINDOWS = {
    "audio": (16000,),
    "imu": (6, 200),
    "depth": (1, 64, 64),
    "thermal": (1, 64, 64),
    "video": (8, 3, 64, 64),
}


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}={path.stem}")
def test_the_config_makes_an_encoder_that_takes_the_toy_windows(path):
    windows = {"audio": {"sample_rate_hz": 16000}, "depth": {"size_px": 64}, "thermal": {"size_px": 64}}
    config = OmegaConf.merge({"transform": windows}, {"encoder": OmegaConf.load(path)})
    with torch.random.fork_rng():
        assert config.encoder.pop("share") is None, "it is for the Binder to see"
        encoder = instantiate(config.encoder).eval()
    with torch.no_grad():
        assert encoder(torch.zeros(1, *WINDOWS[path.parent.name])).shape == (1, encoder.num_features)
