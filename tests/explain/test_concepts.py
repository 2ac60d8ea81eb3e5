"""Concepts: mixtures of the toy world's words, what they add to a cosine, and lists that can't be used."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from bind.explain.concepts import MIN_CAPTIONS, ConceptVocabulary, count_captions, frequent_words


def unit(num, dim=12, seed=0):
    return normalize(torch.randn(num, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.slow
@settings(max_examples=20)
@given(st.integers(0, 50), st.floats(0.05, 0.4))
def test_the_parts_add_up_to_the_cosine_without_means(seed, l1):
    vocabulary = ConceptVocabulary([f"word {n}" for n in range(8)], unit(8))
    z, mean = unit(2, seed=seed), unit(5, seed=99).mean(dim=0)
    a, b = (vocabulary.decompose(row, mean, l1=l1) for row in z)
    shared = vocabulary.compare(a, b)
    centred = normalize(z - mean, dim=1)
    assert shared.of_each_V.sum() + shared.of_different + shared.unexplained == pytest.approx(shared.centred_cosine)
    assert shared.centred_cosine == pytest.approx(float(centred[0] @ centred[1]), abs=1e-5)
    assert (a.weights_V >= 0).all()


def test_a_mixture_has_the_words_that_it_was_made_of():
    words_VD = torch.eye(6)
    z = normalize(words_VD[1] + 0.8 * words_VD[4], dim=0)
    mixture = ConceptVocabulary(list("abcdef"), words_VD).decompose(z, torch.full((6,), 1 / 6) * 0.9)
    assert {"abcdef"[n] for n in np.flatnonzero(mixture.weights_V)} == {"b", "e"}
    assert mixture.weights_V[1] > mixture.weights_V[4]
    assert mixture.reconstruction_cosine > 0.95
    assert mixture.is_enough


def test_a_concept_that_is_weak_but_there_has_a_part():
    words_VD = torch.eye(6)
    strong, weak, weakest = 0.98, 0.13, 0.08
    z = normalize(strong * words_VD[0] + weak * words_VD[1] + weakest * words_VD[2], dim=0)
    mixture = ConceptVocabulary(list("abcdef"), words_VD, torch.zeros(6)).decompose(z, torch.zeros(6))
    assert np.flatnonzero(mixture.weights_V).tolist() == [0, 1]


def test_a_vector_that_no_word_says_is_not_enough():
    words_VD = torch.eye(6)[:3]
    mixture = ConceptVocabulary(list("abc"), words_VD).decompose(torch.eye(6)[5], torch.zeros(6))
    assert mixture.reconstruction_cosine < 0.5
    assert not mixture.is_enough


@pytest.mark.parametrize(
    ("words", "vectors", "message"),
    [(["one"], torch.eye(3)[:1], "at least two words"), (["a", "b"], torch.ones(2, 3), "the same vector")],
)
def test_words_that_tell_nothing_apart_are_refused(words, vectors, message):
    with pytest.raises(ValueError, match=message):
        ConceptVocabulary(words, vectors)


def test_the_most_frequent_words_of_captions():
    texts = ["A red star, that is spinning", "the red well-known star", "x_y 3 times"]
    assert frequent_words(texts) == ["3", "red", "spinning", "star", "times", "well-known", "x", "y"]
    assert frequent_words(texts, max_words=2) == ["red", "star"]
    assert frequent_words(["of the"]) == []


class TwoWordBinder:
    """Embeds a text as what it says of red, star and rain, and a part that all texts have."""

    modalities = ("text",)

    def embed(self, modality, texts):
        return normalize(
            torch.tensor([[float(w in text) for w in ("red", "star", "rain")] + [3.0] for text in texts]), dim=1
        )


def test_a_word_is_what_captions_with_it_have_more_than_others():
    captions = ["a red star", "a red dog", "a Star, dark", "rain"] * MIN_CAPTIONS
    vocabulary = ConceptVocabulary.embed_in_captions(TwoWordBinder(), ["red", "star", "rain"], captions)
    assert [int(row.argmax()) for row in vocabulary.concepts_VD] == [0, 1, 2]
    assert np.abs(np.linalg.norm(vocabulary.concepts_VD, axis=1) - 1).max() < 1e-9


@pytest.mark.parametrize("captions", [[], ["a red star"] * (MIN_CAPTIONS - 1), ["a red star"] * 9 + ["a staring dog"]])
def test_words_that_too_few_captions_have_are_not_taken_from_captions(captions):
    assert ConceptVocabulary.embed_in_captions(TwoWordBinder(), ["red", "star", "rain"], captions) is None


def test_only_whole_words_of_a_caption_count():
    captions = ["redder", "a RED-brown dog", "well, red.", "(red)"]
    assert count_captions("red", captions) == 3
    assert count_captions("a red", captions) == 1
    assert count_captions("red.*", captions) == 0
