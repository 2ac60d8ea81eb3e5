"""A bridge over the binder that it was made of, and over another one of the same space."""

import json

import pytest
from support.bridges import anchor_binder, token_binder

from bind.bridge.bridge import Bridge
from bind.bridge.language_model import LanguageModel
from bind.bridge.origin import BridgeOrigin
from bind.files.checksums import checksum_of_values
from bind.model.binder import Binder

TEXTS = ["a person walking", "a person sitting"]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A saved binder and a bridge that was made of it."""
    folder = tmp_path_factory.mktemp("activities")
    binder = token_binder(0)
    binder.save(folder / "binder")
    bridge = Bridge(binder, LanguageModel.load("toy"), origin=BridgeOrigin.of(str(folder / "binder"), binder, TEXTS))
    return folder / "binder", bridge.save(folder / "bridge")


@pytest.mark.slow
def test_its_own_binder_is_known_again(places, caplog):
    folder, bridge = places
    loaded = Bridge.load(bridge, Binder.load(folder))
    assert not caplog.messages
    assert loaded.origin.example == TEXTS[0]
    assert loaded.origin.run.startswith("activities")
    assert "/" not in loaded.origin.run


@pytest.mark.slow
@pytest.mark.parametrize("other", [lambda: token_binder(1), anchor_binder], ids=["same modalities", "fewer"])
def test_over_another_binder_it_says_what_it_was_made_of(places, other, caplog):
    _, bridge = places
    loaded = Bridge.load(bridge, other())
    ((message),) = caplog.messages
    assert "was made of run activities" in message
    assert "such as 'a person walking'" in message
    with pytest.raises(ValueError, match=r"no mean of image and text: .* training samples of run activities"):
        loaded.caption("image", [], gap="mean")


@pytest.mark.slow
def test_an_older_bridge_says_nothing_and_a_wrong_origin_is_refused(places, tmp_path, caplog):
    _, bridge = places
    about = json.loads((bridge / "bridge.json").read_text())
    for origin, is_right in ((None, True), ({}, True), ({"run": 3}, False)):
        content = {name: value for name, value in about.items() if name not in ("checksums", "origin")}
        content |= {} if origin is None else {"origin": origin}
        checksums = about["checksums"] | {"bridge.json": checksum_of_values(content)}
        (tmp_path / "bridge.json").write_text(json.dumps({**content, "checksums": checksums}))
        (tmp_path / "bridge.safetensors").write_bytes((bridge / "bridge.safetensors").read_bytes())
        if is_right:
            assert Bridge.load(tmp_path, anchor_binder()).origin is None
        else:
            with pytest.raises(ValueError, match=r"bridge\.json: run is an? int"):
                Bridge.load(tmp_path, anchor_binder())
    assert not caplog.messages
