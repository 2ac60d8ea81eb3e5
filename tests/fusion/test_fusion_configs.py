"""Every fusion config names a fusion and only arguments that it has."""

from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

CONFIGS = Path(__file__).parents[2] / "configs" / "fusion"


@pytest.mark.parametrize("name", ["early", "late", "attention", "gated", "mlp", "low_rank_tensor", "qformer"])
def test_the_config_makes_a_fusion_once_inputs_are_named(name):
    config = OmegaConf.load(CONFIGS / f"{name}.yaml")
    dim = {"dim": 8} if name not in ("early", "late") else {}
    assert instantiate(config, inputs=["audio", "imu"], **dim).name == "audio_and_imu"
    with pytest.raises(Exception, match=r"fusion\.inputs=\[audio,imu\]"):
        instantiate(config, **dim)


def test_no_fusion_has_no_inputs_and_no_target():
    assert OmegaConf.load(CONFIGS / "none.yaml") == {"inputs": []}
