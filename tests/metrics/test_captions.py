"""Scores of captions: equal to the COCO evaluation's, and of known values."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bind.metrics.captions import bleu, caption_words, cider_d, rouge_l, score_captions

GOLDEN = json.loads((Path(__file__).parent / "caption_scores.json").read_text())
"""Captions, references, and what pycocoevalcap 1.2 scores them with."""


@pytest.mark.parametrize(
    ("rows", "scores"), [(slice(None), "scores"), (slice(5), "scores_of_first_five"), (slice(7, 8), "scores_of_eighth")]
)
def test_scores_equal_those_of_the_coco_evaluation(rows, scores):
    captions = [text.split() for text in GOLDEN["captions"][rows]]
    references = [[text.split() for text in texts] for texts in GOLDEN["references"][rows]]
    expected = GOLDEN[scores]
    np.testing.assert_allclose(bleu(captions, references), expected["bleu"], atol=1e-6)
    np.testing.assert_allclose(rouge_l(captions, references), expected["rouge_l"], atol=1e-6)
    np.testing.assert_allclose(cider_d(captions, references), expected["cider_d"], atol=1e-6)


words = st.lists(st.sampled_from("abcde"), min_size=1, max_size=8)


@given(st.lists(words, min_size=2, max_size=4))
def test_a_caption_that_is_its_reference_is_best(captions):
    same = [[one] for one in captions]
    other = [[one] for one in [*captions[1:], captions[0]]]
    assert rouge_l(captions, same) == pytest.approx(1)
    assert (rouge_l(captions, other) <= 1 + 1e-9).all()
    assert bleu(captions, same)[0] == pytest.approx(1)
    assert bleu(captions, other)[0] <= 1 + 1e-9
    assert (cider_d(captions, same) >= cider_d(captions, other) - 1e-9).all() or captions[0] in captions[1:]


def test_texts_become_words():
    assert caption_words("The well-known star; 3 times") == ["the", "well-known", "star", "3", "times"]
    scores = score_captions(["A dog.", ""], [["a dog"], ["a cat"]])
    assert scores.rouge_l == pytest.approx(0.5)
    assert scores.bleu[0] == pytest.approx(np.exp(-1))


def test_captions_without_references_are_refused():
    for captions, references in (([], []), (["a"], [[]]), (["a"], [])):
        with pytest.raises(ValueError, match="each needs one or more"):
            score_captions(captions, references)
