"""Weights to start from: of the modalities that were chosen, and of the space that they were bound to."""

import logging
from types import SimpleNamespace

import pytest
import torch
from support import tiny

from bind.model.binder import Binder
from bind.training.checkpoints import init_weights

TOY = tiny.binder_config("toy")


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    return Binder.from_config(TOY).save(tmp_path / "saved")


def test_those_of_modalities_that_are_not_chosen_are_left_out_and_named(saved, caplog):
    binder = Binder.from_config(TOY | {"modalities": ["depth"]})
    with caplog.at_level(logging.INFO, "bind"):
        init_weights(SimpleNamespace(binder=binder), saved)
    assert "imu left out, since modalities=['depth']" in caplog.text
    expected = Binder.load(saved).encoders["depth"].state_dict()
    assert all(torch.equal(x, expected[name]) for name, x in binder.encoders["depth"].state_dict().items())


def test_a_run_that_goes_on_needs_all_of_them(saved):
    binder = Binder.from_config(TOY | {"modalities": ["depth"]})
    with pytest.raises(ValueError, match=r"unexpected \['encoders\.imu"):
        init_weights(SimpleNamespace(binder=binder), saved, exact=True)


def test_those_of_another_anchor_are_named_and_of_another_size_refused(saved, caplog, tmp_path):
    binder = Binder.from_config(tiny.binder_config(tiny.write_anchor(tmp_path / "anchor")))
    with pytest.raises(ValueError, match=r"Their space has other dimensions than the \d+ here: choose the anchor"):
        init_weights(SimpleNamespace(binder=binder), saved)
    assert "bound to another anchor" in caplog.text


def test_an_encoder_may_have_options_of_its_own_for_its_head():
    config = TOY | {"encoder": TOY["encoder"] | {"imu": TOY["encoder"]["imu"] | {"head": {"norm": False}}}}
    binder = Binder.from_config(config)
    assert isinstance(binder.heads["imu"].norm, torch.nn.Identity)
    assert isinstance(binder.heads["depth"].norm, torch.nn.LayerNorm)
