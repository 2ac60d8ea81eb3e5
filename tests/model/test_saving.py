import pytest
import torch
from support import tiny
from support.batches import RECORDINGS, attention, make_batch

from bind.anchors.scratch import ScratchAnchor
from bind.model.binder import Binder


@pytest.mark.slow
@pytest.mark.parametrize("fused", [False, True])
def test_what_is_saved_loads_bit_for_bit(config, tmp_path, fused):
    binder = Binder.from_config({**config, "fusion": attention("imu", "depth") if fused else None})
    with torch.no_grad():
        for parameter in binder.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    folder = binder.save(tmp_path / "run" / "binder")
    (tmp_path / "new").touch()
    assert {path.stat().st_mode for path in folder.rglob("*.*")} == {(tmp_path / "new").stat().st_mode}
    for place in (folder, tmp_path / "run", str(folder)):
        loaded = Binder.load(place)
        assert not loaded.training
        assert torch.equal(loaded.embed("imu", RECORDINGS), binder.embed("imu", RECORDINGS))
        assert torch.equal(loaded.embed("text", ["a dog"]), binder.embed("text", ["a dog"]))
        batches = [model.eval()(make_batch(model)) for model in (loaded, binder)]
        assert all(torch.equal(batches[0].z[m], batches[1].z[m]) for m in batches[1].z)
    assert not any(name.startswith("anchor.") for name in loaded.own_state_dict())


@pytest.mark.slow
def test_an_open_anchor_is_saved_with_the_rest(config, tmp_path):
    config["anchor"]["train"] = ["text"]
    binder = Binder.from_config(config)
    with torch.no_grad():
        binder.anchor.model.text_projection.weight.add_(0.1)
    loaded = Binder.load(binder.save(tmp_path))
    assert torch.equal(loaded.embed("text", ["a dog"]), binder.embed("text", ["a dog"]))


@pytest.mark.slow
def test_a_binder_put_together_by_hand_can_not_be_saved(tmp_path):
    anchor = ScratchAnchor(tiny.CORPUS, dim=4, image_widths=(8, 8, 8, 8), text_width=8, text_num_layers=1)
    with pytest.raises(ValueError, match=r"Binder\.from_config"):
        Binder(anchor, {}, {}, {}).save(tmp_path)
