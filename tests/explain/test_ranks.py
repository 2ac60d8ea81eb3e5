"""Ranks: copies of a thing count once, and none of b's own count before it."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from bind.explain.known import KnownSamples
from bind.explain.ranks import identity_of, rank_among
from bind.types import Clip, PackedFile, Sample, Waveform


def test_copies_of_b_do_not_stand_before_it_and_others_count_once():
    cosines, words = [0.5, 0.9, 0.9, 0.5, 0.2, 0.5], ["b", "near", "near", "b", "far", "as near as b"]
    rank = rank_among(0.5, "b", cosines, words, "6 of 6 samples")
    assert (rank.rank, rank.num_distinct, rank.num_pool, rank.pool) == (3, 4, 6, "6 of 6 samples")
    rank = rank_among(0.5, "b", cosines[1:3], words[1:3], "2 of 6 samples")
    assert (rank.rank, rank.num_distinct, rank.num_pool, rank.pool) == (2, 2, 3, "b and 2 of 6 samples")
    assert rank_among(0.5, "b", cosines, words, "", leave_out=["near"]).num_distinct == 3


def test_what_is_one_thing():
    span = Clip(Path("a.wav"), 0.0, 1.0)
    assert identity_of(span, "x") == identity_of(Clip(Path("./b/../a.wav").absolute(), 0.0, 1.0), None)
    assert identity_of(span, "x") != identity_of(Clip(Path("a.wav")), "x")
    assert identity_of(Clip(PackedFile("1.tar/a.wav", b"1")), "x") == identity_of(
        Clip(PackedFile("1.tar/a.wav", b"1")), "y"
    )
    sound = Waveform(np.zeros(3, np.float32), 8000)
    assert identity_of(sound, "x") == identity_of(dataclasses.replace(sound), "x")
    assert identity_of(sound, "x") != identity_of(sound, "y")
    assert identity_of(sound, None) != identity_of(dataclasses.replace(sound), None)


class Sentences:
    """A source of six samples with two sentences."""

    name = "sentences"

    def modalities(self):
        return ("text",)

    def samples(self, split):
        texts = ["a dog", "rain", "a dog", "a dog", "rain", "a dog"]
        return [Sample(f"key {n}", split, {"text": [text]}, group=text) for n, text in enumerate(texts)]

    def fetch(self, split, rows, modalities, rng):
        return [{"text": list(self.samples(split)[row].values["text"])} for row in rows]


class LetterBinder:
    def embed(self, modality, texts):
        return torch.tensor([[1.0, 0.0] if "dog" in text else [0.6, 0.8] for text in texts])


def test_a_sentence_of_many_samples_is_shown_once():
    known = KnownSamples.draw([Sentences()], "train", 6)
    known.embed(LetterBinder(), "text")
    dog, rain = known.nearest("text", torch.tensor([1.0, 0.0]), 3, leave_out="key 0")
    assert (dog.caption, dog.num_equal, rain.caption, rain.num_equal) == ("a dog", 2, "rain", 1)
    assert dog.as_json()["num_equal"] == 2
