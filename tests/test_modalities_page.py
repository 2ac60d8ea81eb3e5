"""The example of docs/modalities.md, as it stands there."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from support import runs, tiny

from bind.model.binder import Binder
from bind.types import Encoder, Transform

PAGE = (Path(__file__).parents[1] / "docs" / "modalities.md").read_text()


def blocks():
    """Path → text of the files that the page shows."""
    return dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL))


@pytest.fixture
def own(tmp_path, monkeypatch):
    for name, text in blocks().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "mypackage"]:
        del sys.modules[name]


@pytest.mark.slow
def test_the_example_of_an_own_modality_embeds_files(own):
    chosen = {
        part: {"radar": OmegaConf.load(own / "conf" / part / "radar" / name)}
        for part, name in (("transform", "default.yaml"), ("encoder", "small.yaml"))
    }
    config = OmegaConf.to_container(OmegaConf.create(chosen), resolve=True)
    config = tiny.binder_config(tiny.write_anchor(own / "anchor"), modalities=["radar"], **config)
    binder = Binder.from_config(config, trust=["mypackage"])
    assert isinstance(binder.encoders["radar"], Encoder)
    assert isinstance(binder.transforms["radar"], Transform)
    np.save(own / "a.npy", np.arange(64))
    z = binder.embed("radar", [own / "a.npy"])
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(1))


@pytest.mark.slow
def test_the_choices_that_the_page_names_exist():
    for group, names in re.findall(r"`?((?:transform|encoder)/\w+)=`?((?:`?\w+`?)(?:, `\w+`)*)", PAGE):
        for name in re.findall(r"\w+", names):
            if "radar" not in group and name:
                runs.config(f"{group}={name}")
    for name in re.findall(r"^\| `(\w+)`(?:, `(\w+)`)? \| (?:0\.|1 )", PAGE, flags=re.MULTILINE):
        for choice in filter(None, name):
            assert runs.config(f"transform/depth={choice}").transform.depth.std > 0
