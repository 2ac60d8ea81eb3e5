"""Confidences with "none of these" among the answers are as high as such answers were right."""

from dataclasses import replace

import numpy as np
import pytest
from support import timelines

from bind.studies.timeline.measure import measure
from bind.timeline.fit import fit_parameters
from bind.timeline.none_confidence import NoneConfidence


def answers(seed, num=6000):
    """Three labels and none: labels are right as often as the probability of none leaves, none nearly always."""
    rng = np.random.default_rng(seed)
    p_NK = rng.dirichlet([4, 1, 1, 1], num)
    answers_N = p_NK.argmax(axis=1)
    chance_N = np.where(answers_N == 3, 0.95, 1 - np.sqrt(p_NK[:, 3]))
    return answers_N, p_NK, rng.random(num) < chance_N, chance_N


@pytest.mark.slow
def test_labels_and_none_are_each_as_sure_as_they_are_right():
    confidence = NoneConfidence.fitted(*answers(0)[:3])
    answers_N, p_NK, _, chance_N = answers(1)
    sure_N = confidence.confidences(answers_N, p_NK)
    assert np.abs(sure_N - chance_N).mean() < 0.02
    assert sure_N[answers_N == 3] == pytest.approx(0.95, abs=0.05)


@pytest.mark.slow
def test_where_none_was_never_answered_its_share_stands_in():
    answers_N, p_NK, is_right_N, _ = answers(0)
    labels = answers_N < 3
    confidence = NoneConfidence.fitted(answers_N[labels], p_NK[labels], is_right_N[labels])
    assert confidence.confidences(np.array([3]), p_NK[:1]).tolist() == [0.5]
    always = np.ones_like(is_right_N)
    known = NoneConfidence.fitted(answers_N, p_NK, np.where(answers_N == 3, always, is_right_N))
    number = int((answers_N == 3).sum())
    assert known.confidences(np.array([3]), p_NK[:1])[0] == pytest.approx((number + 1) / (number + 2))


def test_probabilities_of_zero_and_one_are_finite():
    confidence = NoneConfidence(1.0, -0.5, 0.2, 1.0, 0.0)
    sure_N = confidence.confidences(np.array([0, 2, 1]), np.array([[1.0, 0, 0], [0, 0, 1], [1, 0, 0]]))
    assert np.isfinite(sure_N).all()
    assert (sure_N > 0.99).tolist() == [True, True, False]


@pytest.mark.slow
def test_from_answers_that_were_all_right_nothing_is_learned():
    answers_N, p_NK, is_right_N, _ = answers(0)
    assert NoneConfidence.fitted(answers_N, p_NK, np.ones_like(is_right_N)) is None


@pytest.mark.slow
def test_the_fit_of_recordings_is_calibrated_better_than_by_a_temperature():
    recordings, labels = timelines.annotated(8, seed=3, noise=2.5)
    parameters = fit_parameters(recordings[:4], labels).with_none
    assert parameters.none_confidence is not None
    by_lines = measure(recordings[4:], labels, parameters)
    by_temperature = measure(recordings[4:], labels, replace(parameters, none_confidence=None))
    assert by_lines.counts == by_temperature.counts
    assert by_lines.calibration_error < by_temperature.calibration_error
    assert fit_parameters(recordings[:4], labels).without_none.none_confidence is None
