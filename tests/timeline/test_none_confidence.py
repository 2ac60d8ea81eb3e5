"""Confidences with "none of these" among the answers are as high as such answers were right."""

from dataclasses import replace

import numpy as np
import pytest
from support import timelines

from bind.studies.timeline.measure import measure
from bind.timeline.fit import fit_parameters
from bind.timeline.none_confidence import NoneConfidence
from bind.timeline.smoothing import SmoothedSteps


def answers(seed, num=6000):
    """Three labels and none: labels are right as often as the probability of none leaves, none nearly always."""
    rng = np.random.default_rng(seed)
    p_NK = rng.dirichlet([4, 1, 1, 1], num)
    answers_N = p_NK.argmax(axis=1)
    chance_N = np.where(answers_N == 3, 0.95, 1 - np.sqrt(p_NK[:, 3]))
    steps = SmoothedSteps(answers_N, p_NK, np.full_like(p_NK, 0.25), np.full(num, np.inf))
    return steps, rng.random(num) < chance_N, chance_N


@pytest.mark.slow
def test_labels_and_none_are_each_as_sure_as_they_are_right():
    confidence = NoneConfidence.fitted(*answers(0)[:2])
    steps, _, chance_N = answers(1)
    sure_N = confidence.confidences(steps)
    assert np.abs(sure_N - chance_N).mean() < 0.02
    assert sure_N[steps.labels == 3] == pytest.approx(0.95, abs=0.05)


@pytest.mark.slow
def test_where_none_was_never_answered_its_share_stands_in():
    steps, is_right_N, _ = answers(0)
    is_label_N = steps.labels < 3
    confidence = NoneConfidence.fitted(steps.chosen(is_label_N), is_right_N[is_label_N])
    one = SmoothedSteps(np.array([3]), steps.probabilities[:1], steps.alone[:1], steps.to_change[:1])
    assert confidence.confidences(one).tolist() == [0.5]
    known = NoneConfidence.fitted(steps, is_right_N | ~is_label_N)
    number = int((~is_label_N).sum())
    assert known.confidences(one)[0] == pytest.approx((number + 1) / (number + 2))


def test_probabilities_of_zero_and_one_are_finite():
    confidence = NoneConfidence(1.0, -0.5, 0.2, 1.0, 0.0, 0.1, 0.1, 0.1)
    p_NK = np.array([[1.0, 0, 0], [0, 0, 1], [1, 0, 0]])
    sure_N = confidence.confidences(SmoothedSteps(np.array([0, 2, 1]), p_NK, p_NK, np.array([1, 8, np.inf])))
    assert np.isfinite(sure_N).all()
    assert (sure_N > 0.99).tolist() == [True, True, False]


@pytest.mark.slow
def test_from_answers_that_were_all_right_nothing_is_learned():
    steps, is_right_N, _ = answers(0)
    assert NoneConfidence.fitted(steps, np.ones_like(is_right_N)) is None


@pytest.mark.slow
def test_what_only_the_window_itself_shows_is_learned():
    """All answers are as probable by the windows around them; whether they are right depends on their own."""
    rng = np.random.default_rng(0)
    alone_N = rng.uniform(0.05, 0.95, 4000)
    p_NK = np.full((4000, 2), [0.99, 0.01])
    steps = SmoothedSteps(np.zeros(4000, dtype=int), p_NK, np.stack([alone_N, 1 - alone_N], axis=1), np.ones(4000))
    is_right_N = rng.random(4000) < alone_N
    sure_N = NoneConfidence.fitted(steps, is_right_N).confidences(steps)
    assert np.corrcoef(sure_N, alone_N)[0, 1] > 0.95
    assert sure_N.mean() == pytest.approx(is_right_N.mean(), abs=0.01)


@pytest.mark.slow
def test_answers_near_a_change_are_less_sure_where_they_were_wrong():
    rng = np.random.default_rng(0)
    to_change_N = rng.integers(1, 20, 4000).astype(float)
    p_NK = np.full((4000, 2), [0.99, 0.01])
    steps = SmoothedSteps(np.zeros(4000, dtype=int), p_NK, p_NK, to_change_N)
    is_right_N = rng.random(4000) < np.where(to_change_N < 3, 0.5, 0.95)
    sure_N = NoneConfidence.fitted(steps, is_right_N).confidences(steps)
    assert sure_N[to_change_N == 1].mean() < 0.6 < 0.9 < sure_N[to_change_N > 8].mean()


@pytest.mark.slow
def test_the_fit_of_recordings_is_calibrated_better_than_by_a_temperature():
    recordings, labels = timelines.annotated(8, seed=3, noise=2.5)
    fit = fit_parameters(recordings[:4], labels)
    assert fit.with_none.none_confidence is not None
    by_lines = measure(recordings[4:], labels, fit.with_none)
    by_temperature = measure(recordings[4:], labels, replace(fit.with_none, none_confidence=None))
    assert by_lines.counts == by_temperature.counts
    assert by_lines.calibration_error < by_temperature.calibration_error
    assert fit.without_none.none_confidence is None
