"""How often captions by each remedy name the label of validation samples."""

import pytest
import torch
from support.bridges import anchor_binder, token_binder

from bind.bridge.bridge import Bridge
from bind.bridge.gap import Gap
from bind.bridge.language_model import LanguageModel
from bind.commands.bridge_remedies import named_label, remedy_cells
from bind.data.sources.toy.world import ToySource

QFORMER = {"_target_": "bind.bridge.mappers.QFormerMapper", "modality": "imu", "num_tokens": 4, "width": 32}


def test_a_label_is_named_in_whole_words():
    assert named_label("a person walking", ["walk", "walking"]) == "walking"
    assert named_label("a stone", ["one"]) is None
    assert named_label("a person walking", ["WALKING", "Lying"]) == "WALKING"
    assert named_label("", ["one"]) is None


@pytest.mark.slow
def test_each_remedy_that_the_bridge_has_is_counted(monkeypatch):
    binder = anchor_binder()
    z = binder.embed("text", ["a red star", "a dog"])
    bridge = Bridge(binder, LanguageModel.load("toy"), gap=Gap("memory", {}, z))
    toy = ToySource(num_train=4, modalities=["image", "text"])
    known = [sample.label for sample in toy.samples("val")]
    said = {"memory": lambda n: f"a thing {known[0]}", "noise": lambda n: ""}
    monkeypatch.setattr(bridge, "caption_vectors", lambda modality, z_ND, gap: [said[gap](n) for n in range(len(z_ND))])
    cells = remedy_cells(bridge, [toy], len(known))
    share = known.count(known[0]) / len(known)
    assert cells.sections[""] == [
        ("image", "memory*", f"{share:.2f}", "0.00"),
        ("image", "noise", "0.00", "1.00"),
    ]
    assert remedy_cells(bridge, [toy], 0) is None
    assert remedy_cells(bridge, [], 10) is None


@pytest.mark.slow
def test_a_bridge_of_tokens_has_no_remedies():
    torch.manual_seed(0)
    bridge = Bridge(token_binder(), LanguageModel.load("toy"), mapper=QFORMER)
    assert remedy_cells(bridge, [ToySource(num_train=4, modalities=["imu"])], 10) is None
