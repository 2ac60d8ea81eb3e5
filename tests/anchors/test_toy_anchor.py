"""The anchor that the package ships: its weights are the measured ones, and they do what is said of them."""

import hashlib
import re

import numpy as np
import pytest
import torch

from bind.anchors.dual_encoder import TOY_FOLDER, PretrainedAnchor
from bind.data.sources.digits import DIGIT_WORDS
from bind.data.sources.scans import ScanSource
from bind.data.sources.toy.world import ToySource
from bind.metrics import class_embeddings, retrieval, zero_shot

WEIGHTS = TOY_FOLDER / "model.safetensors"


def embed(anchor, modality, values):
    transform = anchor.transforms[modality]
    parts = [values[i : i + 128] for i in range(0, len(values), 128)]
    return torch.cat([anchor.embed(modality, transform.collate([transform(v, None) for v in p])) for p in parts])


def test_weights_are_small_and_are_those_of_the_readme():
    assert WEIGHTS.stat().st_size <= 4_000_000
    stated = re.search(r"[0-9a-f]{64}", (TOY_FOLDER / "README.md").read_text())
    assert stated is not None
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == stated.group()


@pytest.mark.slow
def test_pictures_of_held_out_combinations_find_their_captions():
    source = ToySource(num_test_queries=2)
    num_pool = 115
    samples = source.samples("test")
    values = source.fetch("test", range(len(samples)), ["image", "text"], None)
    anchor = PretrainedAnchor("toy")
    z_image = embed(anchor, "image", [v["image"][0] for v in values[num_pool:]])
    z_text = embed(anchor, "text", [v["text"][0] for v in values[:num_pool]])
    groups = torch.tensor([s.group_id for s in samples])
    figures = retrieval(z_image, z_text, groups[num_pool:], groups[:num_pool])
    assert figures["pool"] == num_pool
    assert (figures["R@1"] - figures["chance_R@1"]) / (1 - figures["chance_R@1"]) >= 0.9


@pytest.mark.slow
def test_unseen_scans_find_their_digit():
    source = ScanSource()
    samples = source.samples("test")
    values = source.fetch("test", range(len(samples)), ["image"], None)
    anchor = PretrainedAnchor("toy")
    z_class = class_embeddings([embed(anchor, "text", [f"a handwritten {word}"]) for word in DIGIT_WORDS])
    labels = torch.from_numpy(np.array([DIGIT_WORDS.index(s.label) for s in samples]))
    assert zero_shot(embed(anchor, "image", [v["image"][0] for v in values]), labels, z_class)["top1"] >= 0.9


@pytest.mark.slow
def test_words_never_seen_stay_apart():
    z = embed(PretrainedAnchor("toy"), "text", ["a person yodelling", "a person unicycling", "Ein Mensch läuft 🏃"])
    cosines = z @ z.T - torch.eye(3)
    assert float(cosines.max()) < 0.999
