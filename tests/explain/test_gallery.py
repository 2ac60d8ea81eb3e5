import pytest
import torch
from torch.nn.functional import normalize

from bind.explain.concepts import ConceptVocabulary
from bind.explain.gallery import share_concepts
from bind.report.nearest import Gallery, GalleryHit, GalleryQuery

WORDS = ["dog", "cat", "rain", "wind"]


def gallery(pool, positions, words=()):
    hits = [GalleryHit(position, 0.5, relevant=True) for position in positions]
    return Gallery("audio", pool, [GalleryQuery(0, hits)], words)


def vectors(*mixtures):
    return normalize(torch.tensor(mixtures), dim=1)


@pytest.mark.slow
def test_a_hit_has_the_words_that_it_shares_with_the_query_and_what_they_add():
    vocabulary = ConceptVocabulary(WORDS, torch.eye(4), torch.zeros(4))
    sounds = vectors([1.0, 0.0, 1.0, 0.0], [-1.0, 0.0, -1.0, 0.0])  # their mean is 0
    pictures = vectors([1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [-1.0, -1.0, -2.0, 0.0])
    z = {"audio": sounds, "image": pictures - pictures.mean(dim=0)}
    concepts = share_concepts([gallery("image", [0, 1])], z, vocabulary)
    same = concepts["audio", 0, "image", 0]
    assert [word for word, _ in same] == ["dog", "rain"]
    assert sum(value for _, value in same) < 1
    assert [word for word, _ in concepts["audio", 0, "image", 1]] == ["rain"]


@pytest.mark.slow
def test_a_word_that_adds_next_to_nothing_is_no_reason():
    vocabulary = ConceptVocabulary(WORDS, torch.eye(4), torch.zeros(4))
    sounds = vectors([1.0, 0.0, 0.1, 0.0], [-1.0, 0.0, -0.1, 0.0])
    concepts = share_concepts([gallery("image", [0])], {"audio": sounds, "image": sounds}, vocabulary, l1=0.01)
    [(word, value)] = concepts["audio", 0, "image", 0]
    assert (word, value > 0.5) == ("dog", True)


def test_where_a_mixture_says_less_than_half_there_are_no_words():
    vocabulary = ConceptVocabulary(WORDS, torch.eye(8)[:4], torch.zeros(8))
    other = torch.eye(8)[[6, 7]]
    concepts = share_concepts([gallery("image", [0])], {"audio": other, "image": other}, vocabulary)
    assert concepts == {("audio", 0, "image", 0): []}


def test_a_gallery_of_words_has_none():
    vocabulary = ConceptVocabulary(WORDS, torch.eye(4), torch.zeros(4))
    z = {"audio": torch.eye(4), "text": torch.eye(4)}
    assert share_concepts([gallery("text", [0], words=WORDS)], z, vocabulary) == {}
