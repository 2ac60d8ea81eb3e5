"""Scores of captions against reference captions: BLEU, ROUGE-L and CIDEr-D.

They equal those of the COCO evaluation (Chen et al. 2015), down to its constants. Words are what blanks separate: lower
case, and without punctuation, is for the caller, see `caption_words`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MAX_N = 4
NO_MATCHES, NO_GUESSES = 1e-15, 1e-9
"""In place of a division by zero, and of the logarithm of none, in BLEU."""
ROUGE_BETA = 1.2
"""How much more recall counts than precision."""
CIDER_SIGMA = 6.0
"""Of the Gaussian over differences of length, in n-grams."""
CIDER_SCALE = 10.0

NGrams = Counter[tuple[str, ...]]


class CaptionScores(NamedTuple):
    """BLEU-1 to BLEU-4 of the corpus, and the means of ROUGE-L and CIDEr-D."""

    bleu: tuple[float, ...]
    rouge_l: float
    cider_d: float


def score_captions(captions: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """All scores of N captions, each with one or more references; texts are brought to words first.

    Raises:
        ValueError: without captions, or where one has no reference.

    Examples:
        >>> scores = score_captions(["A dog runs.", "a red star"], [["a dog runs"], ["a blue star", "the star is red"]])
        >>> [round(score, 3) for score in (scores.bleu[0], scores.rouge_l)]
        [1.0, 0.833]
    """
    words = [caption_words(caption) for caption in captions]
    of_references = [[caption_words(text) for text in texts] for texts in references]
    return CaptionScores(
        bleu(words, of_references),
        float(rouge_l(words, of_references).mean()),
        float(cider_d(words, of_references).mean()),
    )


def caption_words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation.

    Examples:
        >>> caption_words("A man's dog, small.")
        ['a', "man's", 'dog', 'small']
    """
    return re.findall(r"\w+(?:['’-]\w+)*", text.lower())


def bleu(captions: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> tuple[float, ...]:
    """BLEU-1 to BLEU-4 of a corpus, with the reference of the closest length for the brevity penalty.

    Source: Papineni et al. 2002, section 2.3.
    """
    _require_references(captions, references)
    matches, guesses = [0] * MAX_N, [0] * MAX_N
    caption_length = reference_length = 0
    for words, of_item in zip(captions, references, strict=True):
        caption_length += len(words)
        reference_length += min((abs(len(one) - len(words)), len(one)) for one in of_item)[1]
        for n in range(1, MAX_N + 1):
            guessed = _count(words, n)
            allowed: NGrams = Counter()
            for one in of_item:
                allowed |= _count(one, n)
            matches[n - 1] += (guessed & allowed).total()
            guesses[n - 1] += guessed.total()
    ratio = (caption_length + NO_MATCHES) / (reference_length + NO_GUESSES)
    penalty = math.exp(min(0.0, 1 - 1 / ratio))
    products = np.cumprod([(m + NO_MATCHES) / (g + NO_GUESSES) for m, g in zip(matches, guesses, strict=True)])
    return tuple(float(product ** (1 / n)) * penalty for n, product in enumerate(products, start=1))


def rouge_l(captions: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> np.ndarray:
    """ROUGE-L (N,): an F of the longest common subsequence, of the best precision and recall over references.

    Source: Lin 2004, section 3.
    """
    _require_references(captions, references)
    scores = np.zeros(len(captions))
    for row, (words, of_item) in enumerate(zip(captions, references, strict=True)):
        common = [_longest_common(words, one) for one in of_item]
        precision = max(common) / max(1, len(words))
        recall = max(length / max(1, len(one)) for length, one in zip(common, of_item, strict=True))
        if precision and recall:
            scores[row] = (1 + ROUGE_BETA**2) * precision * recall / (recall + ROUGE_BETA**2 * precision)
    return scores


def cider_d(captions: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> np.ndarray:
    """CIDEr-D (N,): clipped cosines of n-grams weighted by how rare they are among the references of the corpus.

    A corpus of one item has no rare n-grams, and its score is 0.

    Source: Vedantam et al. 2015, section 4 and equation 4.
    """
    _require_references(captions, references)
    counted = [[[_count(one, n) for n in range(1, MAX_N + 1)] for one in of_item] for of_item in references]
    frequency: NGrams = Counter()
    for of_item in counted:
        frequency.update({ngram for one in of_item for of_length in one for ngram in of_length})

    def weigh(counts: NGrams) -> dict[tuple[str, ...], float]:
        rarest = math.log(len(captions))
        return {ngram: count * (rarest - math.log(max(1, frequency[ngram]))) for ngram, count in counts.items()}

    scores = np.zeros(len(captions))
    for row, (words, of_item) in enumerate(zip(captions, counted, strict=True)):
        own = [_count(words, n) for n in range(1, MAX_N + 1)]
        weighed = [weigh(counts) for counts in own]
        for one in of_item:
            # The number of bigrams stands for the length, as in the original.
            penalty = math.exp(-((own[1].total() - one[1].total()) ** 2) / (2 * CIDER_SIGMA**2))
            similarities = [_clipped_cosine(a, weigh(b)) for a, b in zip(weighed, one, strict=True)]
            scores[row] += CIDER_SCALE * penalty * float(np.mean(similarities)) / len(of_item)
    return scores


def _clipped_cosine(a: dict[tuple[str, ...], float], b: dict[tuple[str, ...], float]) -> float:
    product = sum(min(weight, b[ngram]) * b[ngram] for ngram, weight in a.items() if ngram in b)
    norms = [math.sqrt(sum(weight**2 for weight in side.values())) for side in (a, b)]
    return product / (norms[0] * norms[1]) if all(norms) else product


def _count(words: Sequence[str], n: int) -> NGrams:
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))


def _longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    lengths = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for place, other in enumerate(b, start=1):
            before, lengths[place] = (
                lengths[place],
                before + 1 if word == other else max(lengths[place], lengths[place - 1]),
            )
    return lengths[-1]


def _require_references(captions: Sequence[object], references: Sequence[Sequence[object]]) -> None:
    if not captions or len(captions) != len(references) or not all(references):
        raise ValueError(
            f"{len(captions)} captions and {len(references)} items with references: each needs one or more"
        )
