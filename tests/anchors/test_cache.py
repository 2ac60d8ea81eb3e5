import numpy as np
import pytest
import tiny
import torch

from bind.anchors.cache import InMemoryCache
from bind.anchors.dual_encoder import PretrainedAnchor
from bind.types import Batch

TEXTS = {"k0": ["a red circle", "a dog"], "k1": [], "k2": ["a blue square"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tiny.write_anchor(tmp_path_factory.mktemp("anchor")))


def batch(anchor, keys):
    texts = [text for key in keys for text in TEXTS[key]]
    rows = np.repeat(np.arange(len(keys)), [len(TEXTS[key]) for key in keys])
    inputs = {"text": anchor.transforms["text"].collate(texts)} if texts else {}
    return Batch(list(keys), torch.arange(len(keys)), inputs, {"text": torch.tensor(rows)} if texts else {})


def test_vectors_are_those_of_the_tower_by_key(folder):
    anchor, cache = PretrainedAnchor(folder), InMemoryCache()
    cache.fill(anchor, [batch(anchor, ["k0", "k1"]), batch(anchor, ["k2"])], ["text", "image"])
    found = cache.lookup("text", ["k2", "k1", "elsewhere", "k0"])
    assert [len(z) for z in found] == [1, 0, 0, 2]
    torch.testing.assert_close(found[3], anchor.embed_text(anchor.transforms["text"].collate(TEXTS["k0"])))
    torch.testing.assert_close(found[0], anchor.embed_text(anchor.transforms["text"].collate(TEXTS["k2"])))
    assert cache.lookup("image", ["k0"]) is None
    assert cache.lookup("audio", ["k0"]) is None


def test_a_second_fill_adds(folder):
    anchor, cache = PretrainedAnchor(folder), InMemoryCache()
    cache.fill(anchor, [batch(anchor, ["k0"])], ["text"])
    before = cache.lookup("text", ["k0"])[0]
    cache.fill(anchor, [batch(anchor, ["k2"])], ["text"])
    first, second = cache.lookup("text", ["k0", "k2"])
    assert torch.equal(first, before)
    torch.testing.assert_close(second, anchor.embed_text(anchor.transforms["text"].collate(TEXTS["k2"])))


def test_a_key_may_come_only_once(folder):
    anchor, cache = PretrainedAnchor(folder), InMemoryCache()
    with pytest.raises(ValueError, match="text of the key 'k0' comes twice"):
        cache.fill(anchor, [batch(anchor, ["k0"]), batch(anchor, ["k0"])], ["text"])
    cache.fill(anchor, [batch(anchor, ["k2"])], ["text"])
    with pytest.raises(ValueError, match="'k2' comes twice"):
        cache.fill(anchor, [batch(anchor, ["k2"])], ["text"])


def test_an_open_tower_is_not_cached(folder):
    anchor = PretrainedAnchor(folder, train=["text"])
    with pytest.raises(ValueError, match=r"anchor\.train=\['text'\]"):
        InMemoryCache().fill(anchor, [], ["text", "image"])
