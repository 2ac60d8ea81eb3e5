"""Vocabulary of a run: the words that vectors are mixtures of, of training captions and labels or a user's own."""

from __future__ import annotations

from collections.abc import Sequence

from bind.explain.concepts import MIN_CAPTIONS, ConceptVocabulary, count_captions, frequent_words
from bind.explain.known import KnownSamples
from bind.model.binder import Binder


def make_vocabulary(
    binder: Binder, training: KnownSamples, words: Sequence[str] | None
) -> tuple[ConceptVocabulary, str]:
    """The concepts, each as the mean of training captions that have it, or by itself where these are too few; which.

    Args:
        words: None: those of the captions and labels of training samples.

    Raises:
        ValueError: where there are none.
    """
    captions = training.values("text", training.rows_with("text"))
    if words is None:
        words = frequent_words([*captions, *(sample.label for sample in training.samples if sample.label)])
        if len(words) < 2:
            raise ValueError("the training samples have no captions and labels to take concepts of: add concepts=FILE")
        in_captions = [word for word in words if count_captions(word, captions) >= MIN_CAPTIONS]
        words = in_captions if len(in_captions) > 1 else words
    vocabulary = ConceptVocabulary.embed_in_captions(binder, words, captions)
    if vocabulary is not None:
        return vocabulary, f"{len(words)} words, each as the mean of the training captions that have it"
    return ConceptVocabulary.embed(binder, words), f"{len(words)} words or phrases, each embedded by itself"
