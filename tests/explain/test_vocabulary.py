import pytest

from bind.data.sources.toy.world import ToySource
from bind.explain.known import KnownSamples
from bind.explain.vocabulary import make_vocabulary
from bind.model.binder import Binder


@pytest.fixture(scope="module")
def binder():
    anchor = {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"}
    return Binder.from_config({"anchor": anchor, "modalities": [], "encoder": {}, "head": {}, "transform": {}})


@pytest.mark.slow
def test_concepts_are_words_of_captions_or_by_themselves_where_few_have_them(binder):
    training = KnownSamples.draw([ToySource(num_train=80, modalities=["image", "text"])], "train", 80)
    vocabulary, about = make_vocabulary(binder, training, None)
    assert {"red", "wooden", "bouncing"} <= set(vocabulary.words)
    assert about == f"{len(vocabulary.words)} words, each as the mean of the training captions that have it"
    vocabulary, about = make_vocabulary(binder, training, ["red", "a submarine"])
    assert vocabulary.words == ("red", "a submarine")
    assert about == "2 words or phrases, each embedded by itself"
