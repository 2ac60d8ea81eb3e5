import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bind.timeline.parameters import Parameters
from bind.timeline.smoothing import FixedLagSmoother, joined_steps


def brute_force(log_likelihoods_TK, log_transitions_KK):
    """The best path by trying all, and the probability of each label at each step."""
    num_steps, num_labels = log_likelihoods_TK.shape
    paths = np.array(list(itertools.product(range(num_labels), repeat=num_steps)))
    scores = log_likelihoods_TK[np.arange(num_steps), paths].sum(axis=1)
    scores += log_transitions_KK[paths[:, :-1], paths[:, 1:]].sum(axis=1)
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    probabilities = np.array([[weights[paths[:, t] == k].sum() for k in range(num_labels)] for t in range(num_steps)])
    return paths[scores.argmax()], probabilities, scores


def random_case(seed, num_steps, num_labels):
    rng = np.random.default_rng(seed)
    log_likelihoods = 2 * rng.standard_normal((num_steps, num_labels))
    transitions = rng.random((num_labels, num_labels)) + 3 * np.eye(num_labels)
    return log_likelihoods, np.log(transitions / transitions.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("num_labels", [2, 3])
def test_with_a_long_lag_it_is_the_best_path_of_all(seed, num_labels):
    log_likelihoods, log_transitions = random_case(seed, 6, num_labels)
    path, probabilities, _ = brute_force(log_likelihoods, log_transitions)
    smoother = FixedLagSmoother(log_transitions, num_lag_steps=6, num_block_steps=2)
    assert len(smoother.push(log_likelihoods)) == 0
    steps = smoother.finish()
    assert steps.labels.tolist() == path.tolist()
    np.testing.assert_allclose(steps.probabilities, probabilities, atol=1e-12)
    likelihoods = np.exp(log_likelihoods)
    np.testing.assert_allclose(steps.alone, likelihoods / likelihoods.sum(axis=1, keepdims=True), atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_each_block_is_decided_by_what_is_known_a_lag_later(seed):
    log_likelihoods, log_transitions = random_case(seed, 9, 2)
    steps = FixedLagSmoother(log_transitions, num_lag_steps=3, num_block_steps=2).push(log_likelihoods)
    assert len(steps) == 6
    for first in (0, 2, 4):
        path, probabilities, _ = brute_force(log_likelihoods[: first + 5], log_transitions)
        assert steps.labels[first : first + 2].tolist() == path[first : first + 2].tolist()
        np.testing.assert_allclose(steps.probabilities[first : first + 2], probabilities[first : first + 2], atol=1e-12)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.integers(0, 1000), st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_how_steps_are_pushed_changes_nothing(seed, sizes):
    log_likelihoods, log_transitions = random_case(seed, 40, 3)
    whole = FixedLagSmoother(log_transitions, num_lag_steps=4, num_block_steps=3)
    expected = [whole.push(log_likelihoods), whole.finish()]
    pieces = np.split(log_likelihoods, np.clip(np.cumsum(sizes), 0, 40))
    smoother = FixedLagSmoother(log_transitions, num_lag_steps=4, num_block_steps=3)
    parts = [*(smoother.push(piece) for piece in pieces), smoother.finish()]
    for name in ("labels", "probabilities", "alone", "to_change"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(joined, np.concatenate([getattr(part, name) for part in expected]))


def test_what_is_pending_is_what_an_end_would_decide():
    log_likelihoods, log_transitions = random_case(1, 12, 3)
    smoother = FixedLagSmoother(log_transitions, num_lag_steps=20, num_block_steps=1)
    smoother.push(log_likelihoods)
    pending = smoother.pending()
    assert pending.labels.tolist() == smoother.finish().labels.tolist()
    assert len(smoother.pending()) == 0
    smoother.push(log_likelihoods[:2])  # a new sequence
    assert len(smoother.finish()) == 2


@pytest.mark.parametrize(("num_lag_steps", "num_block_steps"), [(12, 1), (4, 2), (4, 3)])
def test_steps_to_the_nearest_change_of_label(num_lag_steps, num_block_steps):
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 2])
    likely = np.where(np.eye(3)[labels] > 0, 0.0, -50.0)
    smoother = FixedLagSmoother(
        Parameters().transitions(3), num_lag_steps=num_lag_steps, num_block_steps=num_block_steps
    )
    for _ in range(2):  # the second sequence knows nothing of the first
        steps = joined_steps([*(smoother.push(row[None]) for row in likely), smoother.finish()])
        assert steps.labels.tolist() == labels.tolist()
        assert steps.to_change.tolist() == [3, 2, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7]
    smoother.push(likely[:2])
    assert np.isinf(smoother.finish().to_change).all()


def test_millions_of_nats_keep_probabilities():
    log_likelihoods = np.where(np.eye(3)[np.arange(60) // 20] > 0, 0.0, -1e6)
    smoother = FixedLagSmoother(Parameters(switch_cost=500.0).transitions(3), num_lag_steps=5, num_block_steps=5)
    steps = [smoother.push(log_likelihoods), smoother.finish()]
    assert np.concatenate([part.labels for part in steps]).tolist() == (np.arange(60) // 20).tolist()
    assert np.isfinite(np.concatenate([part.probabilities for part in steps])).all()
