"""Concepts: an embedding as a sparse mixture of words, and what words that two embeddings share add to their cosine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from bind.model.binder import Binder

DEFAULT_L1 = 0.11
"""Of a mixture: a weak concept stays, and what a modality does not carry hardly comes in (docs/explain.md)."""
LEAST_EXPLAINED = 0.5
"""Reconstruction cosine below which a mixture says less than half of a vector, and is not to be relied on."""
MAX_WORDS = 2000
"""Of a vocabulary that is made of captions: the most frequent."""
MIN_CAPTIONS = 5
"""With a word, for their mean to be its vector: of fewer, the mean says what else these captions have."""
FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an the and or but of in on at to from by for with without as is are was were be been being it its this that "
        "these those there he she they his her their who which while into onto over under near",
    )
)
"""English words that stand in every caption and say nothing of what is seen or heard."""


@dataclass(frozen=True)
class ConceptMixture:
    """A vector as a mixture of concepts.

    Attributes:
        vector_D: the vector without the mean of its modality, of unit norm.
        weights_V: (V,), none below 0.
        reconstruction_cosine: of the mixture and `vector_D`.
    """

    vector_D: np.ndarray
    weights_V: np.ndarray
    reconstruction_cosine: float

    @property
    def is_enough(self) -> bool:
        """Whether it says at least half of the vector."""
        return self.reconstruction_cosine >= LEAST_EXPLAINED


@dataclass(frozen=True)
class SharedConcepts:
    """What concepts add to the cosine of two vectors whose means are taken off.

    The parts add up: `of_each_V.sum() + of_different + unexplained == centred_cosine`.

    Attributes:
        of_each_V: (V,), of each concept that both mixtures have.
        of_different: of concepts of the one with other concepts of the other.
        unexplained: of what the mixtures leave out.
    """

    of_each_V: np.ndarray
    of_different: float
    unexplained: float
    centred_cosine: float

    @property
    def is_enough(self) -> bool:
        """Whether what the mixtures leave out is no more than half of the cosine."""
        return self.unexplained <= (1 - LEAST_EXPLAINED) * self.centred_cosine


class ConceptVocabulary:
    """Words with their vectors, of which other vectors are mixtures (SpLiCE, Bhalla et al. 2024).

    Args:
        words: V of them.
        vectors_VD: of the space that is explained.
        mean_D: what is taken off them; None: their own mean.

    Raises:
        ValueError: for fewer than two words, or words that all have one vector.

    Examples:
        >>> import torch
        >>> vocabulary = ConceptVocabulary(["dog", "cat", "rain"], torch.eye(3))
        >>> mixture = vocabulary.decompose(normalize(torch.tensor([0.7, 0.7, 0.1]), dim=0), torch.full((3,), 1 / 3))
        >>> [word for word, weight in zip(vocabulary.words, mixture.weights_V, strict=True) if weight > 0]
        ['dog', 'cat']
    """

    def __init__(self, words: Sequence[str], vectors_VD: Tensor, mean_D: Tensor | None = None) -> None:
        if len(words) < 2:
            raise ValueError("concepts: a mixture needs at least two words; give more, one a line, with concepts=FILE")
        taken_off_D = vectors_VD.double().mean(dim=0) if mean_D is None else mean_D.double()
        centred_VD = vectors_VD.double() - taken_off_D
        if not bool((centred_VD.norm(dim=1) > 1e-6).any()):
            raise ValueError("concepts: all words have the same vector; give words that the anchor tells apart")
        self.words = tuple(words)
        self.concepts_VD = normalize(centred_VD, dim=1, eps=1e-6).numpy()

    @classmethod
    def embed(cls, binder: Binder, words: Sequence[str]) -> ConceptVocabulary:
        """The vocabulary of these words, embedded by the anchor's text tower.

        Raises:
            ValueError: where the anchor embeds no text.
        """
        _require_text(binder)
        return cls(words, binder.embed("text", words).float().cpu())

    @classmethod
    def embed_in_captions(
        cls, binder: Binder, words: Sequence[str], captions: Sequence[str]
    ) -> ConceptVocabulary | None:
        """The vocabulary of words, each as the mean of the captions that have it, less the mean of all captions.

        A tower that has learned sentences places a word in them better than a word alone.

        Returns:
            None where a word is in fewer than `MIN_CAPTIONS` captions.

        Raises:
            ValueError: where the anchor embeds no text.
        """
        _require_text(binder)
        if min(count_captions(word, captions) for word in words) < MIN_CAPTIONS:
            return None
        has_word_VN = np.array([[_has(caption, word) for caption in captions] for word in words])
        z_ND = binder.embed("text", captions).double().cpu()
        shares_VN = torch.from_numpy(has_word_VN).double()
        return cls(words, shares_VN @ z_ND / shares_VN.sum(dim=1, keepdim=True), z_ND.mean(dim=0))

    def decompose(self, z_D: Tensor, mean_D: Tensor, *, l1: float = DEFAULT_L1) -> ConceptMixture:
        """The mixture of a unit vector: positive Lasso, min |c - wX|² / 2 + l1 |w| over w of 0 and more.

        c is the vector without `mean_D`, the mean of its modality, scaled to unit norm. A concept whose cosine with c
        is below `l1` has no part.
        """
        from sklearn.linear_model import Lasso

        target_D = centre(z_D, mean_D)
        lasso = Lasso(alpha=l1 / len(target_D), positive=True, fit_intercept=False, max_iter=10_000)
        weights_V = lasso.fit(self.concepts_VD.T, target_D).coef_
        mixed_D = weights_V @ self.concepts_VD
        norm = float(np.linalg.norm(mixed_D))
        return ConceptMixture(target_D, weights_V, float(mixed_D @ target_D) / norm if norm > 0 else 0.0)

    def compare(self, a: ConceptMixture, b: ConceptMixture) -> SharedConcepts:
        """What the concepts of two mixtures add to the cosine of their vectors."""
        centred_cosine = float(a.vector_D @ b.vector_D)
        of_each_V = a.weights_V * b.weights_V * np.square(self.concepts_VD).sum(axis=1)
        of_mixtures = float((a.weights_V @ self.concepts_VD) @ (b.weights_V @ self.concepts_VD))
        of_different = of_mixtures - float(of_each_V.sum())
        return SharedConcepts(of_each_V, of_different, centred_cosine - of_mixtures, centred_cosine)


def _require_text(binder: Binder) -> None:
    if "text" not in binder.modalities:
        raise ValueError(f"concepts are words, and {binder.anchor.name} embeds no text: this run can't be explained")


def count_captions(word: str, captions: Iterable[str]) -> int:
    """How many captions have a word or phrase, in whole words, of any case.

    Examples:
        >>> count_captions("red star", ["A red star.", "stars that are red", "a Red  Star"])
        1
    """
    return sum(_has(caption, word) for caption in captions)


def _has(caption: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word.lower())}(?!\w)", caption.lower()) is not None


def centre(z_D: Tensor, mean_D: Tensor) -> np.ndarray:
    """A vector without the mean of its modality, with unit norm, in fp64."""
    centred: np.ndarray = normalize(z_D.double().cpu() - mean_D.double().cpu(), dim=0, eps=1e-6).numpy()
    return centred


def frequent_words(texts: Iterable[str], max_words: int = MAX_WORDS) -> list[str]:
    """The most frequent words of texts, without function words, in alphabetical order.

    Examples:
        >>> frequent_words(["A dog barks at the door.", "the dog sleeps"])
        ['barks', 'dog', 'door', 'sleeps']
    """
    counts = Counter(word for text in texts for word in re.findall(r"[^\W_]+(?:[-'’][^\W_]+)*", text.lower()))
    words = [(-count, word) for word, count in counts.items() if word not in FUNCTION_WORDS]
    return sorted(word for _, word in sorted(words)[:max_words])
