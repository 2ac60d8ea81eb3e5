from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from bind.commands.checkout import CONFIG_DIR
from bind.runs.interpolations import resolved

OF_ENCODERS = [
    pytest.param(path, id=f"{path.parent.name}={path.stem}")
    for path in sorted((CONFIG_DIR / "transform").rglob("*.yaml"))
    if "${encoder." in path.read_text()
]


@pytest.mark.parametrize("path", OF_ENCODERS)
def test_a_transform_without_its_encoder_names_the_encoder(path: Path):
    """Each transform that takes a value from its encoder, beside an encoder that has none of it."""
    modality = path.parent.name
    config = OmegaConf.create(
        {"encoder": {modality: {"width": 8}}, "transform": {modality: yaml.safe_load(path.read_text())}}
    )
    assert (CONFIG_DIR / "encoder" / modality / path.name).is_file(), "a transform has the name of its encoder"
    for part in (config, config.transform):
        with pytest.raises(ValueError, match=f"Choose encoder/{modality}={path.stem} and leave transform/{modality}="):
            resolved(part)


def test_there_are_such_transforms():
    assert len(OF_ENCODERS) > 5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"encoder": {"audio": {"rate": "${transform.audio.rate}"}}, "transform": {"audio": {}}}, "another transform"),
        ({"a": {"b": "${c.d}"}}, r"a.b is taken from c.d, .*: set a.b=VALUE, or \+c.d=VALUE"),
        (
            {"encoder": {"x": {}}, "transform": {"x": {"_target_": "mylab.T", "p": "${encoder.x.p}"}}},
            "Choose encoder/x=NAME .* or set transform.x.p=VALUE",
        ),
    ],
)
def test_any_other_value_that_is_not_there_is_explained(config, message):
    with pytest.raises(ValueError, match=message):
        resolved(OmegaConf.create(config))


def test_values_that_are_there_are_put_in():
    config = OmegaConf.create({"a": {"b": [1, "${c.d}"]}, "c": {"d": 2}})
    assert resolved(config) == {"a": {"b": [1, 2]}, "c": {"d": 2}}
