"""A binder goes to the hub and comes back as it was; what the hub refuses is one message."""

import pytest
import torch
from support import hub as stand_in
from support.tiny import write_anchor

from bind.model.binder import Binder
from bind.model.hub import push_folder

# huggingface_hub's own, where it uploads large files without its other protocol.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with stand_in.serve_hub(monkeypatch, tmp_path / "cache") as served:
        yield served


CONFIG = {
    "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
    "modalities": ["depth"],
    "encoder": {"depth": {"_target_": "bind.encoders.map_cnn.MapCNN", "width": 8, "num_layers": 2}},
    "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
    "transform": {"depth": {"_target_": "bind.data.transforms.depth.DepthTransform"}},
}


def test_a_binder_comes_back_from_the_hub_as_it_was(hub):
    binder = Binder.from_config(CONFIG).eval()
    assert binder.push_to_hub("lab/depth", token=stand_in.TOKEN, private=True) == f"{hub.url}/lab/depth"
    files = hub.repositories["lab/depth"]
    assert set(files) == {"binder.json", "model.safetensors", "README.md"}
    assert hub.visibility == {"lab/depth": "private"}
    loaded = Binder.load("lab/depth")
    own = loaded.own_state_dict()
    assert all(torch.equal(own[name], x) for name, x in binder.own_state_dict().items())


def test_an_enclosed_anchor_goes_along(hub, tmp_path):
    anchor = write_anchor(tmp_path / "clip")
    config = {**CONFIG, "anchor": {**CONFIG["anchor"], "pretrained": str(anchor)}}
    binder = Binder.from_config(config).eval()
    binder.push_to_hub("lab/depth", token=stand_in.TOKEN)
    loaded = Binder.load("lab/depth")
    assert loaded.anchor.fingerprint == binder.anchor.fingerprint
    assert str(tmp_path) not in "".join(
        content.decode(errors="replace") for name, content in hub.repositories["lab/depth"].items() if "json" in name
    )


def test_a_card_that_is_there_stays(hub):
    hub.repositories["lab/depth"] = {"README.md": b"# Ours"}
    Binder.from_config(CONFIG).push_to_hub("lab/depth", token=stand_in.TOKEN, message="Third try")
    assert hub.repositories["lab/depth"]["README.md"] == b"# Ours"
    assert "binder.json" in hub.repositories["lab/depth"]
    assert hub.messages == ["Third try"]


@pytest.mark.parametrize("token", ["hf_wrong", None])
def test_a_token_that_may_not_write_is_one_message(hub, token):
    with pytest.raises(ValueError, match=r"lab/depth: the hub .*token"):
        Binder.from_config(CONFIG).push_to_hub("lab/depth", token=token)
    assert hub.repositories == {}


@pytest.mark.parametrize("repo", ["depth", "lab/", "lab/depth/extra", "https://hub/lab/depth", "lab/de pth", "../x"])
def test_a_name_that_is_no_repository_is_refused_before_anything_is_sent(hub, repo, tmp_path):
    with pytest.raises(ValueError, match="is called ORG/NAME"):
        push_folder(tmp_path, repo, token=stand_in.TOKEN)
    assert hub.repositories == {}


def test_a_hub_that_is_not_there_is_one_message(monkeypatch, tmp_path):
    with stand_in.serve_hub(monkeypatch, tmp_path / "cache"):
        pass  # it has ended
    with pytest.raises(ValueError, match="lab/depth: the hub did not take it"):
        push_folder(tmp_path, "lab/depth", token=stand_in.TOKEN)
